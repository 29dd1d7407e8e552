//! A new tree on one device against the old one on another, with packets flowing through the classes of both.
//!
//! Both devices get the old tree. Then the new one is brought about on the canary's (the *rollout*), as a deployment would. Then come pairs of
//! blocks, one of each side in random order (a randomised block design: what the machine does meanwhile meets both): the tree is built
//! where there is nothing, and its classes are changed and read. Where the verdict is critical the old tree can be brought back; the kernel
//! is read afterwards, and what it says counts.

mod budget;
mod judge;
mod measure;
pub mod model;
mod trees;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tc_adapter::Connection;
use tc_adapter::tree::{ApplyError, Tree};

use super::model::GateResult;
use crate::budget::Budget;
use crate::load::Stop;
use crate::report::sheet::Verdict;
use crate::traffic::TrafficError;
use measure::{Bench, Tally};
use model::CanaryReport;

pub use measure::Place;
pub use trees::put_on;

/// How a canary is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Pairs of blocks. Fewer than six give no interval.
    pub pairs: u32,
    /// Classes that packets go through, at most.
    pub streams: usize,
    /// Packets a second through each.
    pub rate: f64,
    /// Changes and reads of single classes in each block.
    pub requests: u32,
    /// Seed of the order and of the choice of classes.
    pub seed: u64,
    /// Whether the old tree is brought back where the verdict is critical.
    pub rollback: bool,
}

/// Why a canary could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// Not even the old tree is taken here: nothing can be said of the new one.
    #[error("the old tree cannot be applied: {0}")]
    Old(#[source] Box<ApplyError>),
    /// The tree is wrong; nothing was sent.
    #[error("the new tree: {0}")]
    New(#[source] Box<ApplyError>),
    /// The kernel could not be asked.
    #[error(transparent)]
    Kernel(#[from] tc_adapter::Error),
    /// No packets flow.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
}

/// The two devices. Each tree is placed on its own: see [`put_on`].
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// Keeps the old tree.
    pub control: &'a Place,
    /// Gets the new one.
    pub canary: &'a Place,
    /// The old tree.
    pub old: &'a Tree,
    /// The new tree.
    pub new: &'a Tree,
}

/// Measures and judges, and adds what came of it to `gate`. `say` hears how it goes on.
///
/// # Errors
///
/// [`CanaryError`]: nothing was judged.
pub fn run(
    sides: Sides<'_>,
    budget: &Budget,
    settings: Settings,
    stop: &Stop,
    gate: &mut GateResult,
    say: &dyn Fn(&str),
) -> Result<(), CanaryError> {
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut bench = Bench { connection: Connection::connect()?, settings, stop, sides };
    let mut report = CanaryReport {
        seed: settings.seed,
        rollout: None,
        blocks: Vec::new(),
        ratios: Vec::new(),
        restoration: None,
    };
    say("old tree on both devices");
    bench.old_on_both()?;
    say("rollout of the new tree");
    let rollout = bench.rollout()?;
    gate.checks.extend(judge::rollout(&rollout));
    let refused = rollout.refused.is_some();
    report.rollout = Some(rollout);
    let mut tally = Tally::default();
    if !refused {
        'pairs: for pair in 0..settings.pairs {
            for side in measure::order(&mut rng) {
                if stop.is_set() {
                    break 'pairs;
                }
                let block = match bench.block(side, pair, &mut rng, &mut tally)? {
                    Ok(block) => block,
                    Err(refused) => {
                        gate.checks.push(judge::refused(&refused));
                        break 'pairs;
                    }
                };
                say(&format!(
                    "pair {} of {}, {side} tree: built in {:.0} ms, {} packets lost while it stood",
                    pair + 1,
                    settings.pairs,
                    block.apply_ms,
                    block.steady.lost
                ));
                report.blocks.push(block);
            }
        }
        report.ratios = judge::ratios(&report.blocks);
        let [old, new] = [sides.old, sides.new].map(|tree| trees::classes(tree).len() as u64);
        gate.checks.push(judge::class_counts(&report.blocks, old, new));
        gate.checks.extend(judge::comparison(&report));
        let (checks, notes) = budget::judge(budget, &tally, gate);
        gate.checks.extend(checks);
        gate.notes.extend(notes);
    }
    let verdict = Verdict::of(gate.checks.iter().map(|check| check.verdict));
    if verdict == Verdict::Critical {
        report.restoration = bench.restore(refused, say)?;
    }
    gate.checks.extend(report.restoration.iter().map(judge::restoration));
    gate.interrupted = stop.is_set();
    if gate.interrupted {
        gate.notes.push("Interrupted: what is here is what was measured until then.".into());
    }
    gate.canary = Some(report);
    gate.judge();
    Ok(())
}
