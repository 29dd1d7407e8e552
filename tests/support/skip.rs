//! Skips that say why, and that CI can forbid.

use std::env;
use std::fmt;
use std::process::Command;
use std::sync::OnceLock;

use libtest_mimic::{Completion, Failed, Trial};
use nix::unistd::Uid;
use tc_adapter::{Client, Device, Error, Handle, HtbQdisc, Request};

use crate::namespace::{in_namespace, veth};

/// The variable that, set to 1, makes failures of the skips that the machine did not force.
pub const NO_SKIP: &str = "QDISCOPE_NO_SKIP";

/// Something that a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// User 0, for namespaces and devices.
    Root,
    /// A program in the path, such as `tc`.
    Program(&'static str),
    /// `strace`, and a machine that lets it trace.
    Strace,
    /// A kernel with virtual Ethernet devices and HTB.
    Htb,
}

/// Why a test does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// What is missing.
    pub reason: String,
    /// Whether no setting up of this machine could change it, as with a kernel that was built without HTB.
    pub forced: bool,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Skip {
    fn forced(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), forced: true }
    }

    fn avoidable(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), forced: false }
    }

    /// The result of a test that is skipped for this: a failure where skipping is forbidden and was not forced.
    pub fn into_result(self) -> Result<Completion, Failed> {
        let forbidden = env::var(NO_SKIP).is_ok_and(|value| value == "1");
        if forbidden && !self.forced {
            return Err(format!("{self} (and {NO_SKIP}=1 forbids to skip)").into());
        }
        Ok(Completion::ignored_with(self))
    }
}

/// The first need that is not met.
pub fn require(needs: &[Need]) -> Result<(), Skip> {
    needs.iter().try_for_each(|need| need.check())
}

/// A test in a namespace of its own, skipped when a need is not met.
pub fn trial(name: &str, needs: &'static [Need], test: fn() -> Result<(), Failed>) -> Trial {
    trial_with(name, needs, test)
}

/// As [`trial`], for a test that brings data along.
pub fn trial_with(
    name: &str,
    needs: &'static [Need],
    test: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || match require(needs) {
        Ok(()) => in_namespace(test).map(|()| Completion::Completed),
        Err(skip) => skip.into_result(),
    })
}

impl Need {
    fn check(self) -> Result<(), Skip> {
        static STRACE: OnceLock<Result<(), Skip>> = OnceLock::new();
        static HTB: OnceLock<Result<(), Skip>> = OnceLock::new();
        match self {
            Self::Root if Uid::effective().is_root() => Ok(()),
            Self::Root => Err(Skip::avoidable("needs root")),
            Self::Program(name) => installed(name),
            Self::Strace => STRACE.get_or_init(can_trace).clone(),
            Self::Htb => HTB.get_or_init(has_htb).clone(),
        }
    }
}

fn installed(program: &str) -> Result<(), Skip> {
    let found = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if found { Ok(()) } else { Err(Skip::avoidable(format!("{program} is not installed"))) }
}

fn can_trace() -> Result<(), Skip> {
    installed("strace")?;
    match Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Skip::forced(format!("this machine does not let strace trace ({status})"))),
        Err(error) => Err(Skip::avoidable(format!("strace: {error}"))),
    }
}

/// Tries it: whether HTB is built in, a module, or missing cannot be told from the outside.
fn has_htb() -> Result<(), Skip> {
    Need::Root.check()?;
    installed("ip")?;
    let tried = in_namespace(|| {
        if let Err(failed) = veth("try0", "try1") {
            let message = failed.message().unwrap_or_default().to_owned();
            return Ok(Err(Skip::forced(format!("this kernel makes no veth devices: {message}"))));
        }
        let device = Device::by_name("try0")?.index;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let request = Request::AddQdisc {
            device,
            parent: Handle::ROOT,
            handle: Handle::qdisc(1),
            qdisc: HtbQdisc::new().into(),
        };
        Ok(match runtime.block_on(Client::connect()?.request(&request)) {
            Ok(_) => Ok(()),
            Err(error @ Error::Kernel { errno: nix::libc::ENOENT, .. }) => {
                Err(Skip::forced(format!("this kernel has no HTB: {error}")))
            }
            Err(error) => return Err(error.into()),
        })
    });
    match tried {
        Ok(result) => result,
        // Not a reason to skip, but a fault that the test itself is to meet and to show.
        Err(_) => Ok(()),
    }
}
