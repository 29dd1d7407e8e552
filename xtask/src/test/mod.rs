//! `cargo xtask test`: every test there is, each with the rights it needs, and one sum at the end.
//!
//! `cargo test` cannot do this: it runs all executables as one user, stops at the first that fails, and its
//! many summaries leave it to the reader to notice that half of the tests were skipped.

pub(crate) mod libtest;
pub(crate) mod tally;

use std::{
    ffi::OsString,
    io::{Read, Write, stdout},
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use self::{
    libtest::{Reader, Report},
    tally::{Row, Tally},
};
use crate::{
    cargo::{self, Executable, Package, Workspace},
    error::Error,
    privilege::{self, Privilege},
};

/// The package whose tests make network namespaces and load probes.
const PRIVILEGED_PACKAGE: &str = "qdiscope-tests";

/// Run unit tests, privileged tests (through sudo where needed) and doc tests, and sum them up.
///
/// Exit code 1: a test failed, died, or reported fewer tests than it lists.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose names contain this.
    filter: Option<String>,
    /// A test that does not run must have been forced to by the kernel or the machine, and say why.
    ///
    /// Implied by CI=1 or CI=true; sets `QDISCOPE_NO_SKIP=1` for the tests. Missing root is a failure then.
    #[arg(long)]
    no_skip: bool,
    /// How many minutes a test executable may take before it is ended, and counts as failed.
    #[arg(long, default_value_t = 15, value_name = "MINUTES")]
    timeout: u32,
}

/// A test executable and the tests it lists.
struct Suite<'a> {
    package: &'a Package,
    executable: Executable,
    tests: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Error> {
    let no_skip = options.no_skip || skips_are_forbidden();
    let filter = options.filter.as_deref();
    let workspace = Workspace::load()?;
    let mut vars = Vec::new();
    if no_skip {
        vars.push(("QDISCOPE_NO_SKIP", OsString::from("1")));
    }

    let executables = workspace.build(&["test", "--workspace", "--no-run"])?;
    let mut suites = Vec::new();
    for executable in executables.into_iter().filter(|executable| executable.test) {
        let package = workspace.package_of(&executable)?;
        let tests = list(&executable, filter)?;
        if !tests.is_empty() {
            suites.push(Suite { package, executable, tests });
        }
    }
    let (privileged, unprivileged): (Vec<_>, Vec<_>) =
        suites.into_iter().partition(|suite| suite.package.name == PRIVILEGED_PACKAGE);

    // Now, so that a password is asked for at once and not after minutes of other tests.
    let privilege = if privileged.is_empty() { Ok(Privilege::Own) } else { Privilege::acquire() };
    if let (true, Err(reason)) = (no_skip, &privilege) {
        let command = "cargo xtask test --no-skip".to_owned();
        return Err(Error::Privileges { reason: reason.clone(), command });
    }

    let mut rows = Vec::new();
    for suite in unprivileged {
        rows.push(suite.run(Privilege::Own, &vars, options)?);
    }
    if !privileged.is_empty() {
        vars.push(("QDISCOPE_BIN", workspace.build_qdiscope()?.into_os_string()));
        vars.push(("QDISCOPE_TARGET_DIR", workspace.target_dir.clone().into_os_string()));
        for suite in privileged {
            rows.push(match &privilege {
                Ok(privilege) => suite.run(*privilege, &vars, options)?,
                Err(reason) => suite.skip(reason, &vars, filter),
            });
        }
    }
    rows.extend(run_doc_tests(&workspace, filter)?);

    if let (true, Some(filter)) = (rows.is_empty(), filter) {
        return Err(Error::NoTest(filter.to_owned()));
    }
    let tally = Tally { rows, no_skip };
    print!("\n{}", tally.render());
    Ok(if tally.passed() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Whether the environment forbids skips that nothing forces.
pub(crate) fn skips_are_forbidden() -> bool {
    let set = |name, values: &[&str]| std::env::var(name).is_ok_and(|value| values.contains(&value.as_str()));
    set("CI", &["1", "true"]) || set("QDISCOPE_NO_SKIP", &["1"])
}

impl Suite<'_> {
    fn name(&self) -> String {
        let Executable { target, kind, .. } = &self.executable;
        match kind.as_str() {
            "test" => format!("{} tests/{target}", self.package.name),
            kind => format!("{} ({kind})", self.package.name),
        }
    }

    fn run(self, privilege: Privilege, vars: &[(&str, OsString)], options: &Options) -> Result<Row, Error> {
        let Package { name, version, dir, .. } = self.package;
        // What cargo sets when it runs a test, as far as tests use it.
        let cargos = [
            ("CARGO_MANIFEST_DIR", dir.into()),
            ("CARGO_PKG_NAME", name.into()),
            ("CARGO_PKG_VERSION", version.into()),
        ];
        // timeout(1), because it ends a test that hangs behind `sudo` too, whose children are root's; in the
        // foreground, so that Ctrl-C still reaches the tests.
        let mut command = privilege.command("timeout".as_ref(), &[&cargos, vars].concat());
        command.args(["--foreground", "--kill-after=10s", &format!("{}m", options.timeout)]);
        command.arg(&self.executable.path).args(["--color", "never"]).args(&options.filter).current_dir(dir);
        let (report, died) = watch(&mut command)?;
        let died = died.map(|status| match status.code() {
            Some(124 | 137) => {
                format!("{status}, most likely for not ending within {} minutes", options.timeout)
            }
            _ => status.to_string(),
        });
        Ok(Row::judge(self.name(), self.tests.len() as u64, report, died).blaming(self.tests))
    }

    /// Says loudly, and for each test again at the end, that it was not run and how to run it.
    fn skip(self, reason: &str, vars: &[(&str, OsString)], filter: Option<&str>) -> Row {
        let name = self.name();
        let mut wanted = privilege::by_hand(self.executable.path.as_os_str(), vars);
        let command = cargo::shown(wanted.args(filter));
        eprintln!("\nSKIPPED: {name}: {} tests: root is needed and {reason}.", self.tests.len());
        eprintln!("         As root, run: {command}\n");
        let reason = format!("root is needed and {reason}; as root, run: cargo xtask test");
        Row::not_run(name, self.tests, &reason)
    }
}

/// Asks a test executable which tests it has, under its filter.
pub(crate) fn list(executable: &Executable, filter: Option<&str>) -> Result<Vec<String>, Error> {
    let mut command = Command::new(&executable.path);
    command.arg("--list").args(filter).stderr(Stdio::inherit());
    let output = command.output().map_err(|source| cargo::start(&command, source))?;
    if !output.status.success() {
        return Err(Error::List { executable: executable.path.clone(), status: output.status });
    }
    Ok(libtest::listed(&String::from_utf8_lossy(&output.stdout)))
}

/// Runs the doc tests; `None` when there are none.
///
/// Those of all packages at once: cargo unites the features of the packages it is asked for, and would compile
/// the dependencies anew for each set.
fn run_doc_tests(workspace: &Workspace, filter: Option<&str>) -> Result<Option<Row>, Error> {
    let mut command = cargo::command();
    command.current_dir(&workspace.root).args(["test", "--doc", "--workspace", "--no-fail-fast", "--"]);
    command.args(["--color", "never"]).args(filter);
    let (report, died) = watch(&mut command)?;
    let died = died.map(|status| status.to_string());
    let row = Row::judge("doc tests".to_owned(), report.announced, report, died);
    Ok((row.report.reported() > 0 || row.fault.is_some()).then_some(row))
}

/// Runs a command, passes its output on as it comes, and reads it. The second value is how the command ended,
/// unless it ended well.
fn watch(command: &mut Command) -> Result<(Report, Option<ExitStatus>), Error> {
    let program = cargo::shown(command);
    eprintln!("{:>12} `{program}`", "Running");
    let lost = |source| Error::Output { program: program.clone(), source };
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|source| cargo::start(command, source))?;
    let mut reader = Reader::default();
    if let Some(mut output) = child.stdout.take() {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = output.read(&mut buffer).map_err(lost)?;
            if count == 0 {
                break;
            }
            stdout().write_all(&buffer[..count]).and_then(|()| stdout().flush()).map_err(lost)?;
            reader.push(&buffer[..count]);
        }
    }
    let status = child.wait().map_err(lost)?;
    Ok((reader.finish(), (!status.success()).then_some(status)))
}
