//! The disturbances of a run: ready before it, each at its time, and taken back at its end.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::descriptors::DescriptorLimit;
use super::leak::Leak;
use super::memory::MemoryLimit;
use super::rtnl::{Held, Holder, Pattern};
use super::{DisturbError, Disturbance, device};

/// How often it is looked whether the run has ended, while a hold is waited for.
const LOOK: Duration = Duration::from_millis(20);

/// What is ready to begin.
enum Ready {
    Rtnl(Holder),
    Memory(MemoryLimit),
    /// Nothing has to be prepared.
    Simple,
}

/// What has begun, and can be taken back.
enum Active {
    Rtnl(Holder),
    Memory(MemoryLimit),
    Leak(Leak),
    Descriptors(DescriptorLimit),
    Over,
}

/// What a disturbance really did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Which.
    pub disturbance: Disturbance,
    /// When it began, seconds after the run did. Null where the run had ended before, or it could not begin.
    pub began_seconds: Option<f64>,
    /// When it was over.
    pub ended_seconds: Option<f64>,
    /// What it did, where that is to be measured.
    pub effect: Option<Effect>,
    /// Why it did not begin, or did not end as it should have.
    pub error: Option<String>,
}

/// What was measured of a disturbance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// RTNL was held.
    Held(Held),
    /// So many bytes were kept.
    KeptBytes(u64),
}

/// A run's disturbances. Dropping them takes them back, too, but does not wait for it.
#[derive(Default)]
pub struct Course {
    ready: Vec<(Disturbance, Ready)>,
    running: Vec<(Sender<()>, JoinHandle<Outcome>)>,
}

impl Course {
    /// Checks them, and prepares what can be prepared: what cannot be had here is told now.
    pub fn prepare(disturbances: &[Disturbance]) -> Result<Self, DisturbError> {
        disturbances.iter().try_for_each(Disturbance::check)?;
        let ready = disturbances
            .iter()
            // It is the socket's, from its beginning.
            .filter(|disturbance| !matches!(disturbance, Disturbance::ReceiveBuffer { .. }))
            .map(|disturbance| Ok((disturbance.clone(), prepare(disturbance)?)))
            .collect::<Result<_, DisturbError>>()?;
        Ok(Self { ready, running: Vec::new() })
    }

    /// Begins the run: `at` counts from now. The devices are interface indices in the calling thread's network namespace.
    pub fn begin(&mut self, devices: &[u32]) -> Result<(), DisturbError> {
        let start = Instant::now();
        for (disturbance, ready) in self.ready.drain(..) {
            let (end, ended) = channel();
            let devices = devices.to_vec();
            let thread = thread::Builder::new()
                .name("qdiscope-disturb".into())
                .spawn(move || run(disturbance, ready, &devices, start, &ended))
                .map_err(DisturbError::failed("start a thread"))?;
            self.running.push((end, thread));
        }
        Ok(())
    }

    /// Ends the run: takes back what has begun, and says what was.
    pub fn end(mut self) -> Vec<Outcome> {
        let (ends, threads): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running).into_iter().unzip();
        drop(ends);
        // A thread that panicked has said so.
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    }
}

fn prepare(disturbance: &Disturbance) -> Result<Ready, DisturbError> {
    Ok(match *disturbance {
        Disturbance::RtnlHold { length, .. } => {
            Ready::Rtnl(Holder::prepare(Pattern { hold: length.0, percent: None })?)
        }
        Disturbance::RtnlShare { percent, hold, .. } => {
            Ready::Rtnl(Holder::prepare(Pattern { hold: hold.0, percent: Some(percent) })?)
        }
        Disturbance::Memory { limit_mib, .. } => Ready::Memory(MemoryLimit::prepare(limit_mib)?),
        _ => Ready::Simple,
    })
}

/// One disturbance, from its time to its end.
fn run(
    disturbance: Disturbance,
    ready: Ready,
    devices: &[u32],
    start: Instant,
    ended: &Receiver<()>,
) -> Outcome {
    let at = disturbance.at();
    let length = disturbance.length();
    let mut outcome =
        Outcome { disturbance, began_seconds: None, ended_seconds: None, effect: None, error: None };
    if passes(start + at, ended) {
        return outcome;
    }
    let mut active = match begin(&outcome.disturbance, ready, devices) {
        Ok(active) => active,
        Err(error) => {
            outcome.error = Some(error.to_string());
            return outcome;
        }
    };
    outcome.began_seconds = Some(start.elapsed().as_secs_f64());
    match (length, &mut active) {
        // Its holder may have to wait for RTNL itself, and holds it as long as it is to from then on.
        (Some(_), Active::Rtnl(holder)) if matches!(outcome.disturbance, Disturbance::RtnlHold { .. }) => {
            while !holder.is_over(LOOK) && matches!(ended.try_recv(), Err(TryRecvError::Empty)) {}
        }
        (Some(length), _) => {
            passes(Instant::now() + length, ended);
        }
        (None, _) => {
            let _ = ended.recv();
        }
    }
    match finish(active) {
        Ok(effect) => outcome.effect = effect,
        Err(error) => outcome.error = Some(error.to_string()),
    }
    outcome.ended_seconds = Some(start.elapsed().as_secs_f64());
    outcome
}

/// Waits until then; true if the run ends before.
fn passes(until: Instant, ended: &Receiver<()>) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    !matches!(ended.recv_timeout(left), Err(RecvTimeoutError::Timeout))
}

fn begin(disturbance: &Disturbance, ready: Ready, devices: &[u32]) -> Result<Active, DisturbError> {
    match (ready, disturbance) {
        (Ready::Rtnl(mut holder), _) => {
            holder.begin()?;
            Ok(Active::Rtnl(holder))
        }
        (Ready::Memory(limit), _) => {
            limit.begin()?;
            Ok(Active::Memory(limit))
        }
        (Ready::Simple, Disturbance::Leak { megabytes_per_hour, .. }) => {
            Leak::start(*megabytes_per_hour).map(Active::Leak).map_err(DisturbError::failed("start a thread"))
        }
        (Ready::Simple, Disturbance::Descriptors { limit, .. }) => DescriptorLimit::start(*limit)
            .map(Active::Descriptors)
            .map_err(DisturbError::failed("setrlimit RLIMIT_NOFILE")),
        (Ready::Simple, Disturbance::DeviceGone { device: number, .. }) => {
            let none = || io::Error::other(format!("the run has {} devices, from 0", devices.len()));
            let index = devices.get(*number).ok_or_else(none);
            index
                .and_then(|index| device::delete(*index))
                .map(|()| Active::Over)
                .map_err(DisturbError::failed(format!("delete device {number}")))
        }
        (Ready::Simple, _) => Ok(Active::Over),
    }
}

fn finish(active: Active) -> Result<Option<Effect>, DisturbError> {
    Ok(match active {
        Active::Rtnl(holder) => Some(Effect::Held(holder.end()?)),
        Active::Leak(leak) => leak.end().map(Effect::KeptBytes),
        Active::Memory(limit) => {
            limit.end()?;
            None
        }
        Active::Descriptors(limit) => {
            drop(limit);
            None
        }
        Active::Over => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duration::Span;

    #[test]
    fn each_comes_at_its_time_and_what_it_did_is_told() {
        let leak = Disturbance::Leak {
            megabytes_per_hour: 36_000.0,
            at: Span(Duration::from_millis(50)),
            length: Some(Span(Duration::from_millis(300))),
        };
        let late =
            Disturbance::Leak { megabytes_per_hour: 1.0, at: Span(Duration::from_mins(1)), length: None };
        let gone = Disturbance::DeviceGone { device: 3, at: Span::default() };
        let mut course = Course::prepare(&[leak, late, gone]).unwrap();
        course.begin(&[]).unwrap();
        thread::sleep(Duration::from_millis(500));
        let outcomes = course.end();
        let [leak, late, gone] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert!(matches!(leak.effect, Some(Effect::KeptBytes(1..))), "{leak:?}");
        assert!(leak.began_seconds.unwrap() >= 0.05 && leak.ended_seconds > leak.began_seconds, "{leak:?}");
        assert_eq!((late.began_seconds, &late.error), (None, &None));
        assert!(gone.error.as_ref().unwrap().contains("the run has 0 devices"), "{gone:?}");
    }

    #[test]
    fn nonsense_is_refused_before_anything_begins() {
        let nonsense = Disturbance::ReceiveBuffer { bytes: 1 };
        assert!(matches!(Course::prepare(&[nonsense]), Err(DisturbError::Invalid { .. })));
    }
}
