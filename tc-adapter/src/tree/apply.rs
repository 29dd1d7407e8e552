//! Bringing a tree about.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use super::{Plan, State, Step, Tree};
use crate::checks::{Check, Checks};
use crate::connection::{Answer, Connection, OnError};
use crate::device::Device;
use crate::error::Error;
use crate::request::Request;

/// How many steps go out before their outcomes are looked at.
const STEPS_AT_ONCE: usize = 256;

/// What the plan does on purpose: it replaces qdiscs, and adds children to classes that had a leaf qdisc.
const PLANNED: Checks = Checks::ALL.without(Check::LeafLoss).without(Check::RootReplacement);

/// What was there before may have been odd.
const RESTORED: Checks = Checks::NONE.with(Check::MissingParent);

/// What [`apply`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Requests carried out; 0: all was as it is to be.
    pub steps: usize,
    /// What the kernel remarked about steps that it carried out; see [`Answer::warning`](crate::Answer::warning).
    pub warnings: Vec<Warning>,
}

/// A remark of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The step, as a `tc` command.
    pub command: String,
    /// The remark.
    pub text: String,
}

/// Why a tree was not brought about, and what stands now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The tree cannot be. Nothing was sent.
    #[error(transparent)]
    Tree(#[from] super::TreeError),
    /// The kernel could not be asked for what there is. Nothing was changed.
    #[error(transparent)]
    Read(Error),
    /// The kernel refused a step.
    #[error("{command}: {error}; {standing}")]
    Step {
        /// The step, as a `tc` command.
        command: String,
        /// What the kernel said to it.
        #[source]
        error: Error,
        /// What there is now.
        standing: Box<Standing>,
    },
    /// The caller wanted no more.
    #[error("stopped; {standing}")]
    Stopped {
        /// What there is now.
        standing: Box<Standing>,
    },
    /// All steps were carried out, and yet the kernel has something else: somebody edits the same devices, or this kernel makes of a
    /// setting something that this crate does not know.
    #[error("carried out, but the kernel has something else; these would be needed still:\n{}", first_of(.0))]
    Differs(Plan),
}

/// What there is after a step failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Standing {
    /// As it was before.
    Restored,
    /// Something in between.
    Between {
        /// What was carried out for the tree, as `tc` commands.
        done: Vec<String>,
        /// Why what was before could not be brought back.
        because: String,
        /// What would still be needed to bring it back, where that is known.
        missing: Plan,
    },
}

fn first_of(plan: &Plan) -> String {
    let text = plan.to_string();
    let mut lines: Vec<&str> = text.lines().take(SHOWN).collect();
    let more = format!("and {} more", plan.steps.len().saturating_sub(SHOWN));
    if plan.steps.len() > SHOWN {
        lines.push(&more);
    }
    lines.join("\n")
}

/// How many commands a message shows; [`Standing::Between`] has all.
const SHOWN: usize = 20;

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored => f.write_str("what was before has been restored"),
            Self::Between { done, because, missing } => {
                write!(
                    f,
                    "what was before could not be restored ({because}). Carried out and not undone, {} in all:",
                    done.len()
                )?;
                done.iter().take(SHOWN).try_for_each(|command| write!(f, "\n{command}"))?;
                if done.len() > SHOWN {
                    write!(f, "\nand {} more", done.len() - SHOWN)?;
                }
                if missing.is_empty() {
                    return Ok(());
                }
                write!(f, "\nTo have back what was before:\n{}", first_of(missing))
            }
        }
    }
}

/// Changes what must be changed until the kernel has what `tree` says, and looks whether it does. Of devices and hooks that the tree
/// does not name nothing is touched.
///
/// When the kernel refuses a step, what was before is brought back. Others who edit the same devices meanwhile are not noticed before
/// the end.
pub fn apply(connection: &mut Connection, tree: &Tree) -> Result<Applied, ApplyError> {
    apply_unless(connection, tree, || false)
}

/// As [`apply`], but `stop` is asked now and then, and when it says so, what was before is brought back.
pub fn apply_unless(
    connection: &mut Connection,
    tree: &Tree,
    mut stop: impl FnMut() -> bool,
) -> Result<Applied, ApplyError> {
    tree.check()?;
    let before = State::read(connection, tree).map_err(ApplyError::Read)?;
    let plan = tree.plan(&before, index_of).map_err(ApplyError::Read)?;
    if plan.is_empty() {
        return Ok(Applied::default());
    }
    let mut done = Applied::default();
    for steps in at_once(&plan.steps) {
        if stop() {
            let standing = Box::new(restore(connection, tree, &before, &plan, done.steps));
            return Err(ApplyError::Stopped { standing });
        }
        let mut failed = None;
        for (step, outcome) in steps.iter().zip(carry_out(connection, steps, PLANNED)) {
            match outcome {
                Ok(answer) => {
                    let remark =
                        answer.warning.map(|text| Warning { command: command_of(&plan, step), text });
                    done.warnings.extend(remark);
                }
                Err(error) if is_gone_anyway(step, &error) => {}
                // Those after it may well have failed because of it.
                Err(error) => failed = failed.or(Some((step, error))),
            }
        }
        done.steps += steps.len();
        if let Some((step, error)) = failed {
            let command = command_of(&plan, step);
            let standing = Box::new(restore(connection, tree, &before, &plan, done.steps));
            return Err(ApplyError::Step { command, error, standing });
        }
    }
    let after = State::read(connection, tree).map_err(ApplyError::Read)?;
    let rest = tree.plan(&after, index_of).map_err(ApplyError::Read)?;
    if rest.is_empty() { Ok(done) } else { Err(ApplyError::Differs(rest)) }
}

/// The steps in groups; what others must wait for is alone.
fn at_once(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps
        .chunk_by(|one, next| !deletes_a_table(one) && !deletes_a_table(next))
        .flat_map(|steps| steps.chunks(STEPS_AT_ONCE))
}

/// Whether it removes a hash table of `u32`.
fn deletes_a_table(step: &Step) -> bool {
    match &step.request {
        Request::DeleteFilter { name, .. } => {
            name.kind.as_deref() == Some("u32") && name.handle != 0 && name.handle.trailing_zeros() >= 20
        }
        _ => false,
    }
}

/// Whether the step was to remove what is not there: with its last filter the kernel may have removed a whole prio with its tables
/// (`u32_delete`), and others may have been at it.
fn is_gone_anyway(step: &Step, error: &Error) -> bool {
    let removes = matches!(
        step.request,
        Request::DeleteFilter { .. } | Request::DeleteClass { .. } | Request::DeleteQdisc { .. }
    );
    removes && error.errno() == Some(libc::ENOENT)
}

fn carry_out(connection: &mut Connection, steps: &[Step], checks: Checks) -> Vec<Result<Answer, Error>> {
    /// The kernel counts a filter that led to a table as gone only some time after it was deleted (`u32_destroy_key` runs after
    /// an RCU grace period).
    const PATIENCE: Duration = Duration::from_secs(2);
    let requests: Vec<Request> = steps.iter().map(|step| step.request.clone()).collect();
    let begun = Instant::now();
    loop {
        let outcomes = connection.batch_with(&requests, OnError::Continue, checks);
        let busy = |outcome: &Result<Answer, Error>| {
            outcome.as_ref().is_err_and(|error| error.errno() == Some(libc::EBUSY))
        };
        let waits = steps.iter().all(deletes_a_table) && outcomes.iter().any(busy);
        if !waits || begun.elapsed() > PATIENCE {
            return outcomes;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn index_of(name: &str) -> Result<u32, Error> {
    Device::by_name(name).map(|device| device.index)
}

fn command_of(plan: &Plan, step: &Step) -> String {
    plan.command(step).map_or_else(String::new, |command| command.to_string())
}

/// Brings `before` about again, and says whether that worked.
fn restore(connection: &mut Connection, tree: &Tree, before: &State, plan: &Plan, sent: usize) -> Standing {
    let (last_good, unknown) = before.to_tree(tree);
    let done = || plan.steps[..sent].iter().map(|step| command_of(plan, step)).collect();
    let rest = |connection: &mut Connection| -> Result<Plan, Error> {
        let state = State::read(connection, &last_good)?;
        last_good.plan(&state, index_of)
    };
    let outcome = rest(connection).and_then(|plan| {
        for steps in at_once(&plan.steps) {
            for (step, outcome) in steps.iter().zip(carry_out(connection, steps, RESTORED)) {
                if let Err(error) = outcome
                    && !is_gone_anyway(step, &error)
                {
                    return Err(error);
                }
            }
        }
        rest(connection)
    });
    let (because, missing) = match outcome {
        Ok(missing) if missing.is_empty() && unknown.is_empty() => return Standing::Restored,
        Ok(missing) if unknown.is_empty() => ("the kernel has something else".to_owned(), missing),
        Ok(missing) => (format!("of a kind that is not supported: {}", unknown.join(", ")), missing),
        Err(error) => (error.to_string(), rest(connection).unwrap_or_default()),
    };
    Standing::Between { done: done(), because, missing }
}
