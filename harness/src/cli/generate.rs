//! `qdiscope generate`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use askama::Template;
use clap::{Args, Subcommand};

use super::print;
use crate::exit::{Exit, Failure};

/// `qdiscope generate …`
#[derive(Subcommand)]
pub(super) enum Command {
    /// A GitHub workflow that builds, measures, compares with the last run, fails at 120 %, and keeps the run
    ///
    /// It needs no secret, no branch for figures and no rights but to read the sources. An existing file is not overwritten without --force.
    #[command(
        after_help = "Exit codes:\n    0  written\n    1  internal error\n    2  usage\n    3  the file cannot be written, or is there already"
    )]
    GithubWorkflow(Workflow),
}

#[derive(Args)]
pub(super) struct Workflow {
    /// Where to write it, as .github/workflows/qdiscope.yml [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A budget file, by its path in the repository
    #[arg(long, value_name = "FILE", value_parser = parse_path)]
    budget: Option<String>,
    /// Measure in a virtual machine with Debian's kernel (`cargo xtask vm bench`), which does not see files of the repository
    #[arg(long, conflicts_with_all = ["privileged", "budget"])]
    vm: bool,
    /// Measure as root on the runner, through its sudo, in a network namespace of its own [default]
    #[arg(long)]
    privileged: bool,
    /// Overwrite a file that is there
    #[arg(long, requires = "out")]
    force: bool,
}

/// It goes into a line of shell in YAML in which GitHub replaces expressions: what means something to any of these is refused.
fn parse_path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/+@-".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with(['-', '/']) {
        Ok(text.to_owned())
    } else {
        Err("give a path relative to the repository, of letters, digits and . _ / + @ - only".into())
    }
}

/// The kernel of the guest: Debian stable's.
const SERIES: &str = "6.12";

#[derive(Template)]
#[template(path = "github-workflow.yml", escape = "none")]
struct Page {
    vm: bool,
    /// The command line that measures.
    measure: String,
    /// Sets `run` to where the run is.
    find: String,
    /// The command line that reports.
    report: &'static str,
    /// What is kept.
    folder: String,
}

const REPORT: &str = "target/release/qdiscope report \"$run\" --quiet --github --junit qdiscope.xml --markdown qdiscope.md \
                      --benchmark-json qdiscope.json";

fn workflow(vm: bool, budget: Option<&str>) -> Result<String, askama::Error> {
    let page = if vm {
        let folder = format!("target/vm/{SERIES}/bench");
        Page {
            vm,
            measure: format!("cargo xtask vm --kernel {SERIES} --install bench --quick"),
            find: format!("run=$(find {folder} -name result.json | head -n 1)"),
            report: REPORT,
            folder,
        }
    } else {
        let budget = budget.map_or_else(String::new, |budget| format!(" --budget {budget}"));
        Page {
            vm,
            measure: format!("cargo xtask bench --quick{budget}"),
            find: "run=target/qdiscope/latest".into(),
            report: REPORT,
            folder: "target/qdiscope".into(),
        }
    };
    page.render().map(|text| text.trim_end().to_owned() + "\n")
}

pub(super) fn run(command: &Command) -> Result<Exit, Failure> {
    let Command::GithubWorkflow(arguments) = command;
    let text = workflow(arguments.vm, arguments.budget.as_deref())
        .map_err(|error| Failure::internal(format!("write the workflow: {error}")))?;
    match &arguments.out {
        None => print(&text)?,
        Some(file) => write(file, &text, arguments.force)?,
    }
    Ok(Exit::Pass)
}

fn write(file: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        let advice = match error.kind() {
            ErrorKind::AlreadyExists => "--force overwrites it",
            ErrorKind::NotFound => "make its folder first",
            _ => "name another file with --out",
        };
        Failure::environment(format!("cannot write {}: {error}; {advice}", file.display()))
    };
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(file).and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use yaml_rust2::{Yaml, YamlLoader};

    use super::*;
    use crate::cli::Cli;

    fn all() -> [String; 3] {
        [workflow(false, None), workflow(false, Some("ci/budget.toml")), workflow(true, None)]
            .map(|text| text.unwrap())
    }

    fn yaml(text: &str) -> Yaml {
        let mut documents = YamlLoader::load_from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    fn steps(workflow: &Yaml) -> &[Yaml] {
        workflow["jobs"]["bench"]["steps"].as_vec().unwrap()
    }

    #[test]
    fn they_are_yaml_with_pinned_actions_and_few_rights() {
        for text in all() {
            let workflow = yaml(&text);
            assert_eq!(workflow["permissions"]["contents"].as_str(), Some("read"));
            assert_eq!(workflow["permissions"].as_hash().unwrap().len(), 1);
            let mut compared = 0;
            for step in steps(&workflow) {
                assert!(step["run"].as_str().is_some() != step["uses"].as_str().is_some(), "{step:?}");
                let Some(uses) = step["uses"].as_str() else { continue };
                let (action, commit) = uses.split_once('@').unwrap();
                assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{uses}");
                if action == "benchmark-action/github-action-benchmark" {
                    compared += 1;
                    assert_eq!(step["with"]["alert-threshold"].as_str(), Some("120%"));
                    assert_eq!(step["with"]["fail-on-alert"].as_bool(), Some(true));
                }
            }
            assert_eq!(compared, 2);
            // One secret, which every workflow has.
            assert_eq!(text.matches("secrets.").count(), text.matches("secrets.GITHUB_TOKEN").count());
            assert!(!text.contains("{%") && !text.contains("raw"), "{text}");
        }
        assert!(yaml(&all()[2])["jobs"]["bench"]["container"]["image"].as_str().is_some());
    }

    /// The command lines of the steps, without what the shell makes of their ends.
    fn commands(text: &str) -> Vec<Vec<String>> {
        let workflow = yaml(text);
        let lines = steps(&workflow).iter().filter_map(|step| step["run"].as_str()).flat_map(str::lines);
        lines
            .map(|line| line.split("||").next().unwrap_or(line).trim())
            .filter(|line| line.starts_with("cargo xtask") || line.starts_with("target/release/qdiscope"))
            .map(|line| line.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect())
            .collect()
    }

    /// `cargo xtask bench` hands its arguments on. That xtask takes its own is for its own test.
    #[test]
    fn our_own_parser_takes_the_command_lines() {
        for text in all() {
            let commands = commands(&text);
            assert_eq!(commands.len(), 2, "{commands:?}");
            for words in commands {
                let ours: Vec<_> = match words.iter().position(|word| word == "bench") {
                    Some(at) => std::iter::once("qdiscope".to_owned()).chain(words[at..].to_vec()).collect(),
                    None => words,
                };
                if let Err(error) = Cli::try_parse_from(&ours) {
                    panic!("{ours:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn a_budget_is_a_plain_path() {
        assert!(
            workflow(false, Some("ci/budget.toml"))
                .unwrap()
                .contains("--quick --budget ci/budget.toml || code=$?")
        );
        for text in ["", "/etc/x", "-x", "a b", "a;b", "${{ secrets.X }}", "a\nb", "$(x)"] {
            parse_path(text).expect_err(text);
        }
    }

    #[test]
    fn what_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("qdiscope.yml");
        write(&file, "first and longer", false).unwrap();
        let failure = write(&file, "second", false).unwrap_err();
        assert!(failure.to_string().contains("--force") && failure.exit == Exit::Environment, "{failure}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "first and longer");
        write(&file, "second", true).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "second");
        assert!(
            write(&folder.path().join("no/x.yml"), "", false).unwrap_err().to_string().contains("folder")
        );
    }
}
