//! Measuring a canary: trees on devices, packets through them, and requests.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tc_adapter::tree::{ApplyError, State, Tree, apply, apply_unless};
use tc_adapter::{Connection, Device, Error, Handle, Request};

use super::judge::packets_needed;
use super::model::{Block, Flow, Restoration, Rollout, Side};
use super::{CanaryError, Settings, Sides, trees};
use crate::load::Stop;
use crate::record::{nanoseconds, percentiles, record};
use crate::traffic::{Traffic, TrafficError};

/// Packets flow for so long before and after a change.
const SETTLE: Duration = Duration::from_millis(200);

/// The longest that is waited for packets of which there are few a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// The sender begins a little later than it is asked to.
const MORE_THAN_ENOUGH: f64 = 1.1;

/// Between two requests to single classes: packets are to have time to go wrong.
const PAUSE: Duration = Duration::from_millis(1);

/// A device with its peer, both up.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Its index.
    pub device: u32,
    /// The index of the peer, where packets arrive.
    pub peer: u32,
}

impl Place {
    /// A veth device by its name and that of its peer.
    pub fn by_name(name: &str, peer: &str) -> Result<Self, Error> {
        let [device, peer] = [Device::by_name(name)?.index, Device::by_name(peer)?.index];
        Ok(Self { name: name.to_owned(), device, peer })
    }
}

/// Requests to single classes of the new tree, over all its blocks.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// By operation, nanoseconds.
    pub(super) latency: BTreeMap<&'static str, Histogram<u64>>,
    /// By errno and the kernel's words.
    pub(super) errors: BTreeMap<(Option<i32>, String), u64>,
    /// How long the blocks' requests took in all.
    pub(super) measured: Duration,
}

/// Both sides, first one of them or the other.
pub(super) fn order(rng: &mut ChaCha8Rng) -> [Side; 2] {
    if rng.random_bool(0.5) { [Side::Old, Side::New] } else { [Side::New, Side::Old] }
}

/// What is measured, and with what.
pub(super) struct Bench<'a> {
    pub(super) connection: Connection,
    pub(super) settings: Settings,
    pub(super) stop: &'a Stop,
    pub(super) sides: Sides<'a>,
}

impl Bench<'_> {
    fn of(&self, side: Side) -> (&Place, &Tree) {
        match side {
            Side::Old => (self.sides.control, self.sides.old),
            Side::New => (self.sides.canary, self.sides.new),
        }
    }

    /// The old tree as it is on the canary's device.
    fn old_on_canary(&self) -> Tree {
        let placed = self.sides.old.devices.values().cloned();
        Tree { devices: std::iter::once(self.sides.canary.name.clone()).zip(placed).collect() }
    }

    fn traffic(&self, place: &Place, own: &Tree, other: &Tree) -> Result<Traffic, TrafficError> {
        let streams = trees::streams(own, other, self.settings.streams);
        Traffic::start(place.device, place.peer, &streams, self.settings.rate)
    }

    pub(super) fn old_on_both(&mut self) -> Result<(), CanaryError> {
        let failed = |error| CanaryError::Old(Box::new(error));
        apply(&mut self.connection, self.sides.old).map_err(failed)?;
        let old = self.old_on_canary();
        apply(&mut self.connection, &old).map_err(failed)?;
        Ok(())
    }

    /// How long packets flow until there are so many, at most [`PATIENCE`].
    fn until_sent(&self, own: &Tree, other: &Tree, packets: f64) -> Duration {
        let streams = trees::streams(own, other, self.settings.streams).len().max(1);
        let seconds = packets / (self.settings.rate * streams as f64);
        Duration::try_from_secs_f64(seconds).unwrap_or(PATIENCE).min(PATIENCE)
    }

    /// From the old tree to the new one on the canary's device.
    pub(super) fn rollout(&mut self) -> Result<Rollout, CanaryError> {
        let Sides { control, canary, old, new } = self.sides;
        let [on_control, on_canary] = [self.traffic(control, old, new)?, self.traffic(canary, old, new)?];
        thread::sleep(SETTLE);
        let begun = Instant::now();
        let outcome = apply_unless(&mut self.connection, new, || self.stop.is_set());
        let apply_ms = millis(begun);
        // A change of a few classes is over after a few packets, of which nothing could be said.
        let enough = self.until_sent(old, new, MORE_THAN_ENOUGH * packets_needed() as f64);
        thread::sleep(enough.saturating_sub(begun.elapsed()).max(SETTLE));
        let (canary, control) = (on_canary.stop()?.into(), on_control.stop()?.into());
        let (steps, refused) = match outcome {
            Ok(applied) => (Some(applied.steps as u64), None),
            Err(error @ ApplyError::Tree(_)) => return Err(CanaryError::New(Box::new(error))),
            Err(ApplyError::Read(error)) => return Err(error.into()),
            // Of somebody's own accord: no fault of the tree's.
            Err(ApplyError::Stopped { .. }) => (None, None),
            Err(error) => (None, Some(first_line(&error))),
        };
        Ok(Rollout { apply_ms, steps, refused, canary, control })
    }

    /// Builds a tree where there is nothing, then changes and reads its classes. The inner error: the kernel does not take the new tree that
    /// way, though it took it as a change.
    pub(super) fn block(
        &mut self,
        side: Side,
        pair: u32,
        rng: &mut ChaCha8Rng,
        tally: &mut Tally,
    ) -> Result<Result<Block, String>, CanaryError> {
        let (place, tree) = self.of(side);
        let (place, tree) = (place.clone(), tree.clone());
        let other = if side == Side::Old { self.sides.new } else { self.sides.old };
        let failed = |error: ApplyError| match error {
            ApplyError::Read(error) => CanaryError::Kernel(error),
            error if side == Side::Old => CanaryError::Old(Box::new(error)),
            error => CanaryError::New(Box::new(error)),
        };
        apply(&mut self.connection, &trees::nothing_on(&place.name)).map_err(failed)?;
        let flowing = self.traffic(&place, &tree, other)?;
        thread::sleep(SETTLE);
        let begun = Instant::now();
        let applied = match apply(&mut self.connection, &tree) {
            Err(error @ (ApplyError::Step { .. } | ApplyError::Differs(_))) if side == Side::New => {
                return Ok(Err(first_line(&error)));
            }
            outcome => outcome.map_err(failed)?,
        };
        let apply_ms = millis(begun);
        thread::sleep(SETTLE);
        let building = flowing.stop()?.into();

        let flowing = self.traffic(&place, &tree, other)?;
        let begun = Instant::now();
        let mut own = Tally::default();
        self.requests(place.device, &trees::classes(&tree), rng, &mut own);
        own.measured = begun.elapsed();
        // Without a class there is nothing to ask, and packets are to flow as long. All blocks together must say something.
        let enough = MORE_THAN_ENOUGH * packets_needed() as f64 / f64::from(self.settings.pairs.max(1));
        let enough = self.until_sent(&tree, other, enough).max(SETTLE);
        thread::sleep(enough.saturating_sub(own.measured));
        let steady = flowing.stop()?.into();

        let of = |operation| own.latency.get(operation).and_then(percentiles);
        let block = Block {
            side,
            pair,
            apply_ms,
            steps: applied.steps as u64,
            classes: count(&mut self.connection, place.device)?,
            building,
            steady,
            change_us: of(CHANGE),
            read_us: of(READ),
            failed: own.errors.values().sum(),
        };
        if side == Side::New {
            tally.add(own);
        }
        Ok(Ok(block))
    }

    /// Changes classes, chosen at random, to what they are, and reads them.
    fn requests(
        &mut self,
        device: u32,
        classes: &[(Handle, &tc_adapter::tree::PlacedClass)],
        rng: &mut ChaCha8Rng,
        tally: &mut Tally,
    ) {
        if classes.is_empty() {
            return;
        }
        for _ in 0..self.settings.requests {
            if self.stop.is_set() {
                return;
            }
            let (classid, placed) = classes[rng.random_range(0..classes.len())];
            let change =
                Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class: placed.class.clone() };
            for (operation, request) in [(CHANGE, change), (READ, Request::GetClass { device, classid })] {
                let begun = Instant::now();
                match self.connection.request(&request) {
                    Ok(_) => {
                        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
                        record(tally.latency.entry(operation).or_insert_with(nanoseconds), nanos);
                    }
                    Err(error) => {
                        let words = (error.errno(), first_line(&error));
                        *tally.errors.entry(words).or_default() += 1;
                    }
                }
            }
            thread::sleep(PAUSE);
        }
    }

    /// Makes sure that the old tree stands on the canary's device again: looks whether `apply` has brought it back, or brings it back itself
    /// where that was asked for. `None`: neither.
    pub(super) fn restore(
        &mut self,
        refused: bool,
        say: &dyn Fn(&str),
    ) -> Result<Option<Restoration>, CanaryError> {
        let old = self.old_on_canary();
        if refused {
            let restoration = self.verified(&old, "apply", None);
            if restoration.verified || !self.settings.rollback {
                return Ok(Some(restoration));
            }
        }
        if !self.settings.rollback {
            return Ok(None);
        }
        say("critical: bringing the old tree back");
        let canary = self.sides.canary;
        let flowing = self.traffic(canary, self.sides.old, self.sides.new)?;
        thread::sleep(SETTLE);
        let begun = Instant::now();
        // To the end, whatever signals come: half a tree is worse than a late one.
        let outcome = apply(&mut self.connection, &old);
        let apply_ms = millis(begun);
        thread::sleep(SETTLE);
        let traffic: Flow = flowing.stop()?.into();
        let mut restoration = self.verified(&old, "rollback", outcome.as_ref().err().map(first_line));
        restoration.apply_ms = Some(apply_ms);
        restoration.steps = outcome.ok().map(|applied| applied.steps as u64);
        restoration.traffic = Some(traffic);
        Ok(Some(restoration))
    }

    /// Reads the kernel back, and compares it with the old tree.
    fn verified(&mut self, old: &Tree, by: &str, failed: Option<String>) -> Restoration {
        let classes = count(&mut self.connection, self.sides.canary.device);
        let rest = State::read(&mut self.connection, old)
            .and_then(|state| old.plan(&state, |name| Device::by_name(name).map(|device| device.index)));
        let because = match rest {
            Ok(plan) if plan.is_empty() => None,
            Ok(plan) => plan.to_string().lines().next().map(|line| {
                format!("{} changes would be needed still, the first: tc {line}", plan.steps.len())
            }),
            Err(error) => Some(first_line(&error)),
        };
        let expected = trees::classes(old).len() as u64;
        let counted = classes.as_ref().ok().copied();
        Restoration {
            by: by.to_owned(),
            apply_ms: None,
            steps: None,
            verified: because.is_none() && counted == Some(expected),
            because: failed.or(because),
            classes_expected: expected,
            classes: counted,
            traffic: None,
        }
    }
}

/// The operations' names, as `bench` has them.
pub(super) const CHANGE: &str = "class-change";
pub(super) const READ: &str = "class-read";

impl Tally {
    fn add(&mut self, other: Self) {
        for (operation, histogram) in other.latency {
            let sum = self.latency.entry(operation).or_insert_with(nanoseconds);
            // Both grow with what they hold.
            sum.add(&histogram).expect("an auto-resizing histogram takes any other of the same digits");
        }
        for (words, count) in other.errors {
            *self.errors.entry(words).or_default() += count;
        }
        self.measured += other.measured;
    }
}

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// HTB classes, by asking the kernel.
fn count(connection: &mut Connection, device: u32) -> Result<u64, Error> {
    let classes = connection.classes(device)?;
    Ok(classes.iter().filter(|class| class.kind == "htb").count() as u64)
}

/// What was wrong; the rest is a list of commands.
fn first_line(error: &impl std::fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
