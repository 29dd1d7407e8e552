//! `qdiscope tc`: traffic control as a file says it, in the network namespace that this is started in.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tc_adapter::tree::{ApplyError, Plan, Rounding, Standing, State, Tree, Warning, apply_unless};
use tc_adapter::{Connection, Device, Error};

use super::{print, runtime, stop_on_signal};
use crate::exit::{Exit, Failure};
use crate::load::Stop;

/// `qdiscope tc …`
#[derive(Subcommand)]
pub(super) enum Command {
    /// Change the devices that FILE names until they have what it says, by as few changes as it takes
    ///
    /// Of each device and hook (root, ingress) that FILE describes it is the whole: what else is there goes. Everything else stays
    /// as it is. When the kernel refuses a change, what was before is restored.
    ///
    /// Bursts in a `tc -batch` file are read as the `tc` of this machine reads them: before iproute2 6.15 it rounds their
    /// times down to whole microseconds. In TOML and JSON they are exact.
    #[command(after_help = "Exit codes:
    0  the kernel has what FILE says (also when it had before)
    2  usage: FILE is wrong; nothing was sent
    3  this environment cannot do it: no permission, no such device; nothing was changed
    7  all was carried out, but the kernel has something else
    8  the kernel refused a change; what was before has been restored
    9  the kernel refused a change, and what was before could not be restored; what stands is said
  130  interrupted; what was before has been restored")]
    Apply {
        #[command(flatten)]
        source: Source,
        /// Only print what would be done, as `tc` commands, in their order
        #[arg(long)]
        dry_run: bool,
    },
    /// Print what would have to change for the kernel to have what FILE says, as `tc` commands
    #[command(after_help = "Exit codes:
    0  no difference
    2  usage: FILE is wrong
    3  this environment cannot do it: no such device
    7  there are differences")]
    Diff {
        #[command(flatten)]
        source: Source,
        /// Machine-readable: a list of {device, reason, command}
        #[arg(long)]
        json: bool,
    },
}

/// Where the tree comes from.
#[derive(Args)]
pub(super) struct Source {
    /// A `tc -batch` file, or a tree as TOML or JSON; `-`: standard input
    file: PathBuf,
    /// What FILE is; otherwise its name says it: .toml, .json, and a `tc -batch` file for all others
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `tc -batch`
    Batch,
    Toml,
    Json,
}

/// One difference, as JSON.
#[derive(Serialize)]
struct Difference<'a> {
    device: &'a str,
    /// `missing`, `different`, `surplus`, `rebuilt`
    reason: String,
    command: String,
}

pub(super) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Apply { source, dry_run: true } => {
            let plan = plan(&source.tree()?)?;
            print(&plan.to_string())?;
            tracing::info!("{} changes", plan.steps.len());
            Ok(Exit::Pass)
        }
        Command::Apply { source, dry_run: false } => {
            let tree = source.tree()?;
            let _lock = lock()?;
            let mut connection = Connection::connect().map_err(|error| environment(&error))?;
            let (stop, runtime) = (Stop::default(), runtime()?);
            runtime.block_on(async { stop_on_signal(&stop, "what was before will be restored") })?;
            let applied = apply_unless(&mut connection, &tree, || stop.is_set())
                .map_err(|error| failure(source, error))?;
            warn(&applied.warnings);
            let done = match applied.steps {
                0 => "nothing to change\n".to_owned(),
                1 => "1 change\n".to_owned(),
                steps => format!("{steps} changes\n"),
            };
            // What was asked for is done, whether or not it can be said.
            print(&done).unwrap_or_else(|failure| tracing::warn!("{}, but: {failure}", done.trim_end()));
            Ok(Exit::Pass)
        }
        Command::Diff { source, json } => {
            let plan = plan(&source.tree()?)?;
            print(&if *json { to_json(&plan)? } else { to_text(&plan) })?;
            Ok(if plan.is_empty() { Exit::Pass } else { Exit::Differs })
        }
    }
}

/// The tree in a file, whose name says what it is: as [`Command::Apply`] reads it.
pub(super) fn read_tree(file: &Path) -> Result<Tree, Failure> {
    Source { file: file.to_owned(), format: None }.tree()
}

/// Held by whoever applies: two at a time would undo each other. A name of abstract sockets belongs to the network namespace, and is
/// free again as soon as the process has ended, however it ended.
fn lock() -> Result<UnixDatagram, Failure> {
    let name = SocketAddr::from_abstract_name("qdiscope tc apply")
        .map_err(|error| Failure::internal(format!("the name of a lock: {error}")))?;
    UnixDatagram::bind_addr(&name).map_err(|error| {
        Failure::environment(match error.kind() {
            ErrorKind::AddrInUse => {
                "another `qdiscope tc apply` is at work in this network namespace; wait for it".to_owned()
            }
            _ => format!("take the lock of this network namespace: {error}"),
        })
    })
}

/// What the kernel remarked: the first ones, since it may do so for every class.
fn warn(warnings: &[Warning]) {
    const SHOWN: usize = 3;
    for Warning { command, text } in warnings.iter().take(SHOWN) {
        tracing::warn!("tc {command}: {text}");
    }
    if warnings.len() > SHOWN {
        tracing::warn!("and {} more remarks of the kernel", warnings.len() - SHOWN);
    }
}

impl Source {
    fn tree(&self) -> Result<Tree, Failure> {
        let name = self.file.display();
        let text = read(&self.file).map_err(|error| {
            Failure::usage(match error.kind() {
                ErrorKind::InvalidData => format!("{name}: this is no text, and so no tc commands"),
                _ => format!("{name}: {error}"),
            })
        })?;
        let tree = match self.format() {
            Format::Batch => {
                let tree = Tree::from_batch(&text, rounding_of_tc());
                return tree
                    .map_err(|error| usage(format!("{name}, {error}")))
                    .and_then(|tree| some(&name, tree));
            }
            Format::Toml => toml::from_str::<Tree>(&text).map_err(|error| error.to_string()),
            Format::Json => serde_json::from_str::<Tree>(&text).map_err(|error| error.to_string()),
        };
        let tree = tree.map_err(|error| usage(format!("{name}: {}", error.trim_end())))?;
        tree.check().map_err(|error| usage(format!("{name}: {error}")))?;
        some(&name, tree)
    }

    fn format(&self) -> Format {
        self.format.unwrap_or_else(|| match self.file.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Format::Toml,
            Some("json") => Format::Json,
            _ => Format::Batch,
        })
    }
}

/// A tree that names nothing is most likely what is left of a pipe that broke.
fn some(name: &impl std::fmt::Display, tree: Tree) -> Result<Tree, Failure> {
    if tree.devices.is_empty() {
        return Err(usage(format!("{name}: it names no device; to empty one: qdisc del dev NAME root")));
    }
    Ok(tree)
}

/// However long the words are that are wrong.
fn usage(mut message: String) -> Failure {
    const LONGEST: usize = 600;
    if message.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
        message.push_str(" …");
    }
    Failure::usage(message)
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(TREE_BYTES + 1).read_to_string(&mut text)
    } else {
        File::open(file)?.take(TREE_BYTES + 1).read_to_string(&mut text)
    }?;
    if read as u64 > TREE_BYTES {
        return Err(std::io::Error::other(format!("larger than {TREE_BYTES} bytes")));
    }
    Ok(text)
}

/// Ten devices with all the classes that they can have are a tenth of it.
const TREE_BYTES: u64 = 1 << 29;

/// As the `tc` of this machine would read the bursts in its batch file: that is what the file was written for. Without one, exactly.
fn rounding_of_tc() -> Rounding {
    // "tc utility, iproute2-6.1.0, libbpf 1.1.2"
    let told = process::Command::new("tc").arg("-V").output().ok();
    let version = told.as_ref().and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        let (_, version) = text.split_once("iproute2-")?;
        let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    if version.is_some_and(|version| version < (6, 15)) { Rounding::Microseconds } else { Rounding::Exact }
}

/// What would have to change in this network namespace.
pub(super) fn plan(tree: &Tree) -> Result<Plan, Failure> {
    let mut connection = Connection::connect().map_err(|error| environment(&error))?;
    let state = State::read(&mut connection, tree).map_err(|error| environment(&error))?;
    let index_of = |name: &str| Device::by_name(name).map(|device| device.index);
    tree.plan(&state, index_of).map_err(|error| environment(&error))
}

fn environment(error: &Error) -> Failure {
    Failure::environment(explain(error))
}

fn explain(error: &Error) -> String {
    match error {
        Error::NoSuchDevice { .. } => format!("{error} in this network namespace; see: ip link"),
        _ if error.errno() == Some(libc::EPERM) => {
            format!("{error}; changing traffic control needs root (CAP_NET_ADMIN)")
        }
        _ => error.to_string(),
    }
}

fn failure(source: &Source, error: ApplyError) -> Failure {
    match error {
        ApplyError::Tree(error) => Failure::usage(format!("{}: {error}", source.file.display())),
        ApplyError::Read(error) => environment(&error),
        ApplyError::Step { command, error, standing } => {
            let exit = match *standing {
                // Nothing of it can have been carried out.
                Standing::Restored if error.errno() == Some(libc::EPERM) => return environment(&error),
                Standing::Restored => Exit::Refused,
                _ => Exit::HalfApplied,
            };
            Failure::refused(exit, format!("tc {command}: {}; {standing}", explain(&error)))
        }
        ApplyError::Stopped { standing } if matches!(*standing, Standing::Restored) => {
            Failure::refused(Exit::Interrupted, "stopped; what was before has been restored")
        }
        error @ ApplyError::Stopped { .. } => Failure::refused(Exit::HalfApplied, error.to_string()),
        error => Failure::refused(Exit::Differs, error.to_string()),
    }
}

fn to_text(plan: &Plan) -> String {
    let mut text = String::new();
    for (step, command) in plan.steps.iter().zip(plan.to_string().lines()) {
        let _ = writeln!(text, "{command}  # {}", step.reason);
    }
    text
}

fn to_json(plan: &Plan) -> Result<String, Failure> {
    let commands = plan.to_string();
    let list: Vec<Difference> = plan
        .steps
        .iter()
        .zip(commands.lines())
        .map(|(step, command)| Difference {
            device: &step.device,
            reason: step.reason.to_string(),
            command: command.to_owned(),
        })
        .collect();
    let json = serde_json::to_string_pretty(&list)
        .map_err(|error| Failure::internal(format!("encode the differences: {error}")))?;
    Ok(json + "\n")
}
