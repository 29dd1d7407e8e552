//! Subscriber churn on a tree from a file: subscribers join, change their rates and leave, as on the shaper that the file is for.
//!
//! A *subscriber* is an HTB leaf class of the tree with what hangs on it (its leaf qdisc, and all below that) and with the filters that
//! lead to it. The first HTB counts: what is below one of its leaves belongs to that leaf. All else, the inner classes above all, stands
//! for as long as the run does. Joining and leaving are a request after the other, as a shaper's daemon sends them:
//!
//! | | |
//! |---|---|
//! | join | `tc class add`, `tc qdisc add` for what hangs on it, `tc filter add` for each filter |
//! | leave | `tc filter del` for each filter, then `tc class del`: HTB refuses to delete a class that a filter leads to (`htb_delete`) |
//! | change | `tc class change`, with a share of the rate and the ceil that the file says |
//!
//! Everybody comes back with what the file says. All stand at first; from then on a worker keeps all but a twentieth of its subscribers.

mod build;
mod estate;
mod names;
mod worker;

use tc_adapter::Request;

pub use build::requests;
pub use estate::{Estate, Subscriber};
pub use names::Obstacle;

use super::{Mix, OperationKind, Scene, Source, share, worker_rng};
use worker::Worker;

/// What a mix may ask of a tree. A filter comes and goes with its subscriber, and what is refused has no place in a file.
const ASKED: [OperationKind; 8] = [
    OperationKind::ClassCreate,
    OperationKind::ClassChange,
    OperationKind::ClassRead,
    OperationKind::ClassDelete,
    OperationKind::ClassDump,
    OperationKind::ClassDumpCold,
    OperationKind::FilterDump,
    OperationKind::FilterDumpCold,
];

/// Why nobody can come and go on a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It has nobody who could.
    #[error("it has no HTB leaf class, which is what joins and leaves")]
    NoSubscriber,
    /// A device that is none of the tree's.
    #[error(
        "a filter names the device {0}, which is not in the tree: describe it there too, if only as: qdisc del dev {0} root"
    )]
    Stranger(String),
    /// The tree does not fit the devices.
    #[error("{0}")]
    Unplanned(String),
    /// Something of a device.
    #[error("{obstacle}")]
    At {
        /// Interface index.
        device: u32,
        /// What.
        obstacle: Obstacle,
    },
}

/// Refuses what a mix may not ask of a tree, in words.
///
/// # Errors
///
/// The first such operation.
pub fn check_mix(mix: Mix) -> Result<(), String> {
    match mix.chosen().find(|(_, kind)| !ASKED.contains(kind)) {
        None => Ok(()),
        Some((name, _)) => Err(format!(
            "mix: `{name}` is not for a tree, whose filters come and go with their subscribers: it takes create (a subscriber joins), \
             change, delete (it leaves), read, dump and filter-dump, dump-cold and filter-dump-cold"
        )),
    }
}

/// The scene on a tree that `requests` build on new devices, in this order (see [`requests`]). Each of `workers` has subscribers of its
/// own, so that no outcome depends on how they interleave; with more workers than subscribers, some have none and nothing to do.
///
/// # Errors
///
/// [`Unusable`].
pub fn scene(requests: Vec<Request>, workers: u32, mix: Mix, seed: u64) -> Result<Scene, Unusable> {
    let Estate { setup, subscribers, population } = Estate::of(requests)?;
    let all = subscribers.len() as u64;
    let mut hands: Vec<Vec<_>> = (0..workers)
        .map(|worker| share(all, workers.into(), worker.into()))
        .map(|share| Vec::with_capacity(usize::try_from(share).unwrap_or(0)))
        .collect();
    // In turn: those of a device are everybody's.
    for (index, subscriber) in subscribers.into_iter().enumerate() {
        hands[index % workers.max(1) as usize].push(subscriber);
    }
    let source = |(worker, subscribers)| -> Box<dyn Source> {
        Box::new(Worker::new(subscribers, mix, worker_rng(seed, worker)))
    };
    Ok(Scene { setup, sources: (0..).zip(hands).map(source).collect(), population_max: population })
}

#[cfg(test)]
mod tests;
