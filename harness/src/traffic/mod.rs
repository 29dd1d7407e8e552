//! Packets through the classes of a device while these are changed: what is lost, reordered or late meanwhile.
//!
//! One thread sends, a stream a class, through the device that has the qdisc; another receives at the device's peer. HTB finds the class
//! by the packet's priority (`SO_PRIORITY`), so that no filter is needed. Of a class that is not there the packets go where the qdisc's
//! default leads, as everybody's do.

pub mod frame;
mod report;
pub mod sequence;
mod socket;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::time::{ClockId, clock_gettime};
use tc_adapter::{Connection, Handle};

use crate::record::{nanoseconds, percentiles, record};
use frame::Payload;
use sequence::Sequence;
use socket::PacketSocket;

pub use report::{StreamReport, TrafficReport};

/// All streams together; one thread sends hardly more.
const MOST_PER_SECOND: f64 = 500_000.0;

/// How long is waited at the end for what is queued.
const DRAIN: Duration = Duration::from_secs(2);

/// How often the receiver looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(10);

/// After so many glances at the end without a packet, it is asked whether the device keeps any still.
const IDLE_GLANCES: u32 = 10;

/// The sender's longest nap.
const NAP: Duration = Duration::from_millis(20);

/// Everybody at the other end: the devices' own addresses do not matter.
const BROADCAST: [u8; 6] = [0xFF; 6];

/// An address that was assigned locally.
const SENDER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// `sent` of a sender that has not ended.
const UNKNOWN: u64 = u64::MAX;

/// Why no traffic flows.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// No stream at all.
    #[error("traffic needs a class to flow through")]
    NoStream,
    /// Not a rate, or one that no thread could keep.
    #[error(
        "a rate of {rate} packets a second for each of {streams} streams: it must be above 0, and {MOST_PER_SECOND} together at most"
    )]
    Rate {
        /// Packets a second and stream.
        rate: f64,
        /// Streams.
        streams: usize,
    },
    /// The sockets or threads could not be had.
    #[error("prepare traffic: {what}: {source}")]
    Prepare {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A thread of it panicked.
    #[error("a thread of the traffic panicked")]
    Panicked,
}

/// Traffic that flows. When it is dropped its threads end.
#[derive(Debug)]
pub struct Traffic {
    device: u32,
    classids: Vec<Handle>,
    rate: f64,
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<Sent>>,
    receiver: Option<JoinHandle<Received>>,
}

/// What the sender did.
#[derive(Debug)]
struct Sent {
    seconds: f64,
    /// By stream.
    numbers: Vec<u64>,
    refused: u64,
    failed: Option<String>,
}

/// What the receiver saw.
#[derive(Debug)]
struct Received {
    sequences: Vec<Sequence>,
    latency: Histogram<u64>,
    drops: u64,
    failed: Option<String>,
}

impl Traffic {
    /// Packets a second of `streams` that send `rate` each.
    ///
    /// # Errors
    ///
    /// [`TrafficError::NoStream`] and [`TrafficError::Rate`]: no thread could keep it.
    pub fn check(rate: f64, streams: usize) -> Result<f64, TrafficError> {
        if streams == 0 {
            return Err(TrafficError::NoStream);
        }
        let all = rate * streams as f64;
        if all > 0.0 && all <= MOST_PER_SECOND { Ok(all) } else { Err(TrafficError::Rate { rate, streams }) }
    }

    /// Sends `rate` packets a second for each of `classids` through `device`, and receives them at `peer`, both by interface index in the
    /// calling thread's network namespace, and up.
    ///
    /// # Errors
    ///
    /// [`TrafficError`]; nothing flows then.
    pub fn start(device: u32, peer: u32, classids: &[Handle], rate: f64) -> Result<Self, TrafficError> {
        let streams = classids.len();
        let all = Self::check(rate, streams)?;
        let prepare = |what| move |source| TrafficError::Prepare { what, source };
        let source = PacketSocket::sender(device).map_err(prepare("a packet socket on the device"))?;
        let sink = PacketSocket::receiver(peer).map_err(prepare("a packet socket on its peer"))?;
        sink.set_patience(GLANCE).map_err(prepare("a time limit"))?;
        let (stop, total) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(UNKNOWN)));
        let run = now_ns();
        let receiver = {
            let total = Arc::clone(&total);
            spawn("qdiscope-receive", move || receive(&sink, device, run, streams, &total))?
        };
        // Made before its threads: an early return ends them.
        let mut traffic = Self {
            device,
            classids: classids.to_vec(),
            rate,
            stop: Arc::clone(&stop),
            sender: None,
            receiver: Some(receiver),
        };
        let priorities: Vec<u32> = classids.iter().map(|classid| classid.raw()).collect();
        let sender = spawn("qdiscope-send", {
            let total = Arc::clone(&total);
            move || {
                let sent = send(&source, run, &priorities, all, &stop);
                total.store(sent.numbers.iter().sum::<u64>() - sent.refused, Ordering::Release);
                sent
            }
        });
        match sender {
            Ok(sender) => traffic.sender = Some(sender),
            Err(error) => {
                total.store(0, Ordering::Release);
                return Err(error);
            }
        }
        Ok(traffic)
    }

    /// Stops sending, waits up to two seconds for what is queued, and says what came of it.
    pub fn stop(mut self) -> Result<TrafficReport, TrafficError> {
        self.stop.store(true, Ordering::Relaxed);
        let join = |failed| move |_| failed;
        let sent = self.sender.take().ok_or(TrafficError::Panicked)?;
        let sent = sent.join().map_err(join(TrafficError::Panicked))?;
        let received = self.receiver.take().ok_or(TrafficError::Panicked)?;
        let received = received.join().map_err(join(TrafficError::Panicked))?;
        Ok(self.report(&sent, &received))
    }

    fn report(&self, sent: &Sent, received: &Received) -> TrafficReport {
        let all: u64 = sent.numbers.iter().sum();
        let streams: Vec<_> = self
            .classids
            .iter()
            .zip(&sent.numbers)
            .zip(&received.sequences)
            .map(|((classid, &sent), sequence)| (classid, sent, sequence.counts(sent)))
            .collect();
        let sum = |of: fn(&sequence::Counts) -> u64| streams.iter().map(|(_, _, counts)| of(counts)).sum();
        let lost: u64 = sum(|counts| counts.lost);
        // After the wait: mostly nothing.
        let queued = queued(self.device);
        let failed = sent.failed.as_deref().or(received.failed.as_deref());
        let share = report::loss(all, lost, queued, received.drops, failed);
        let due = sent.seconds * self.rate * self.classids.len() as f64;
        TrafficReport {
            seconds: sent.seconds,
            rate_per_stream: self.rate,
            rate_held_percent: (due >= 1.0).then(|| (all as f64 / due * 100.0).min(100.0)),
            sent: all,
            refused: sent.refused,
            received: sum(|counts| counts.received),
            lost,
            queued_at_end: queued,
            reordered: sum(|counts| counts.reordered),
            duplicated: sum(|counts| counts.duplicated),
            too_late: sum(|counts| counts.too_late),
            receiver_drops: received.drops,
            loss_percent: share.as_ref().ok().copied(),
            inconclusive_because: share.err(),
            class_changes: None,
            latency_us: percentiles(&received.latency),
            streams: streams
                .iter()
                .map(|(classid, sent, counts)| StreamReport {
                    classid: classid.to_string(),
                    sent: *sent,
                    received: counts.received,
                    lost: counts.lost,
                    reordered: counts.reordered,
                    duplicated: counts.duplicated,
                })
                .collect(),
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, TrafficError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|source| TrafficError::Prepare { what: "a thread", source })
}

/// `CLOCK_MONOTONIC`, which both threads read.
fn now_ns() -> u64 {
    // It cannot fail for this clock (clock_gettime(2)).
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs())
}

/// Packet `k` of all is due at `k / rate`, and belongs to stream `k mod n`.
fn send(socket: &PacketSocket, run: u64, priorities: &[u32], rate: f64, stop: &AtomicBool) -> Sent {
    // The default slack of 50 µs would bunch packets. Failing leaves only that.
    let _ = nix::sys::prctl::set_timerslack(1);
    let begun = Instant::now();
    let mut sent = Sent { seconds: 0.0, numbers: vec![0; priorities.len()], refused: 0, failed: None };
    'sending: for (index, stream) in (0_u64..).zip((0..priorities.len()).cycle()) {
        let due = begun + Duration::from_secs_f64(index as f64 / rate);
        loop {
            if stop.load(Ordering::Relaxed) {
                break 'sending;
            }
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                break;
            }
            thread::sleep(wait.min(NAP));
        }
        let payload = Payload {
            run,
            stream: u32::try_from(stream).unwrap_or(u32::MAX),
            number: sent.numbers[stream],
            sent_ns: now_ns(),
        };
        let outcome = socket
            .set_priority(priorities[stream])
            .and_then(|()| socket.send(&payload.frame(BROADCAST, SENDER)));
        match outcome {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => sent.refused += 1,
            Err(error) => {
                sent.failed = Some(format!("send a packet: {error}"));
                break;
            }
        }
        sent.numbers[stream] += 1;
    }
    sent.seconds = begun.elapsed().as_secs_f64();
    sent
}

/// Receives until all that was sent has come, or has had its time.
fn receive(socket: &PacketSocket, device: u32, run: u64, streams: usize, total: &AtomicU64) -> Received {
    let mut received = Received {
        sequences: vec![Sequence::default(); streams],
        latency: nanoseconds(),
        drops: 0,
        failed: None,
    };
    let (mut buffer, mut came, mut idle, mut last_call) = ([0; 256], 0_u64, 0, None::<Instant>);
    loop {
        match socket.receive(&mut buffer) {
            Ok(0) => idle += 1,
            Ok(length) => {
                idle = 0;
                let frame = &buffer[..length.min(buffer.len())];
                if let Some(payload) = Payload::read(frame).filter(|payload| payload.run == run)
                    && let Some(sequence) = received.sequences.get_mut(payload.stream as usize)
                {
                    sequence.arrived(payload.number);
                    record(&mut received.latency, now_ns().saturating_sub(payload.sent_ns));
                    came += 1;
                }
            }
            Err(error) => {
                received.failed = Some(format!("receive a packet: {error}"));
                break;
            }
        }
        let total = total.load(Ordering::Acquire);
        if total != UNKNOWN {
            let since = *last_call.get_or_insert_with(Instant::now);
            if came >= total || since.elapsed() > DRAIN {
                break;
            }
            if idle >= IDLE_GLANCES {
                idle = 0;
                if queued(device) == Some(0) {
                    break;
                }
            }
        }
    }
    match socket.dropped() {
        Ok(drops) => received.drops = drops,
        Err(error) => received.failed = Some(format!("ask for the receiver's drops: {error}")),
    }
    received
}

/// Packets in the queues of a device, by the statistics of its root qdisc, which has them of all below it.
fn queued(device: u32) -> Option<u64> {
    let qdiscs = Connection::connect().ok()?.qdiscs(Some(device)).ok()?;
    let root = qdiscs.iter().find(|qdisc| qdisc.parent == Handle::ROOT);
    // A device without one (`noqueue`) keeps nothing.
    Some(root.map_or(0, |qdisc| u64::from(qdisc.stats.qlen)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_that_nobody_could_keep_are_refused() {
        let class = [Handle::new(1, 1)];
        assert!(matches!(Traffic::start(1, 1, &[], 1.0), Err(TrafficError::NoStream)));
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e6] {
            assert!(matches!(Traffic::start(1, 1, &class, rate), Err(TrafficError::Rate { .. })), "{rate}");
        }
    }
}
