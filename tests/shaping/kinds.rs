//! Qdiscs, filters and devices that not every kernel has, with traffic in them.

use std::io;
use std::net::UdpSocket;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::run;
use tc_adapter::{Handle, QdiscXstats};

use crate::flow::Flow;
use crate::outcome::Stop;
use crate::pair::{NEAR, NEAR_ADDRESS, Packets, Pair, far_address};
use crate::shaper::{Shaper, rate_and_ceil};
use crate::window::{Share, expect, expect_counted, require_capacity};

/// Bytes of a datagram, and of its frame as a qdisc counts it.
const DATAGRAM: usize = 1000;
const DATAGRAM_FRAME: u64 = 8 + 20 + 14 + DATAGRAM as u64;

pub(crate) fn u32_steers_by_port() -> Result<(), Stop> {
    steers("u32", |port| format!("u32 match ip dport {port} 0xffff"))
}

pub(crate) fn flower_steers_by_port() -> Result<(), Stop> {
    steers("flower classifier", |port| format!("flower ip_proto udp dst_port {port}"))
}

/// Datagrams to three ports: those of two go to the classes that a filter names, the rest to the default class.
fn steers(kind: &str, filter: impl Fn(u16) -> String) -> Result<(), Stop> {
    const DEFAULT: u16 = 0x30;
    /// Minor, port, and how many datagrams it gets.
    const CLASSES: [(u16, u16, u64); 3] = [(0x10, 5010, 70), (0x20, 5020, 50), (DEFAULT, 5030, 30)];
    let pair = Pair::new(Packets::Frames)?;
    let mut shaper = Shaper::new(NEAR)?;
    shaper.add("qdisc root handle 1: htb default 30")?;
    for (minor, port, _) in CLASSES {
        // Nothing waits for long, and nothing is dropped.
        shaper.add(&format!("class parent 1: classid 1:{minor:x} htb {}", rate_and_ceil(100, 100)))?;
        if minor != DEFAULT {
            let filter = filter(port);
            let text = format!("filter parent 1: protocol ip prio 1 {filter} flowid 1:{minor:x}");
            shaper.add_if_known(kind, &text)?;
        }
    }
    // Somebody listens everywhere, so that nothing comes back but the answer to the first.
    let sinks = CLASSES.map(|(_, port, _)| pair.far_udp(port));
    let [.., Ok(last)] = &sinks else { return Err(Stop::failed("no socket at the far end".into())) };
    let socket = UdpSocket::bind((NEAR_ADDRESS, 0))?;
    // Whoever does not know yet where to send may drop some of what waits for it.
    last.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send_to(&[0], last.local_addr()?)?;
    last.recv(&mut [0])?;
    shaper.settle(DEFAULT)?;
    let before = shaper.class(DEFAULT)?.stats.packets;
    for (_, port, count) in CLASSES {
        for _ in 0..count {
            socket.send_to(&[0; DATAGRAM], far_address(port))?;
        }
    }
    for (minor, port, count) in CLASSES {
        shaper.settle(minor)?;
        let stats = shaper.class(minor)?.stats;
        // IPv6 and ARP have something to say besides, by the default class.
        let as_sent = if minor == DEFAULT {
            stats.packets - before >= count
        } else {
            (stats.packets, stats.bytes) == (count, count * DATAGRAM_FRAME)
        };
        if !as_sent {
            return Err(Stop::failed(format!("{count} datagrams to port {port}; 1:{minor:x} has {stats:?}")));
        }
    }
    Ok(())
}

pub(crate) fn fq_codel_counts_under_a_class() -> Result<(), Stop> {
    const PORT: u16 = 5040;
    const RATE: u32 = 10;
    let pair = Pair::new(Packets::Frames)?;
    let mut shaper = Shaper::new(NEAR)?;
    shaper.add("qdisc root handle 1: htb")?;
    shaper.add(&format!("class parent 1: classid 1:10 htb {}", rate_and_ceil(RATE, RATE)))?;
    shaper.add_if_known("fq_codel", "qdisc parent 1:10 handle 10: fq_codel")?;
    require_capacity(&pair, RATE.into())?;
    shaper
        .add(&format!("filter parent 1: protocol ip prio 1 u32 match ip dport {PORT} 0xffff flowid 1:10"))?;
    let flow = Flow::start(&pair, PORT)?;
    let share = Share { flow: &flow, minor: 0x10, at_least: RATE.into() };
    expect(&pair, &mut shaper, &[share], RATE.into())?;
    drop(flow);
    shaper.settle(0x10)?;
    let (class, leaf) = (shaper.class(0x10)?, shaper.qdisc(Handle::qdisc(0x10))?);
    let Some(QdiscXstats::FqCodel(xstats)) = leaf.xstats else {
        return Err(Stop::failed(format!("not what fq_codel counts: {:?}", leaf.xstats)));
    };
    // Everything that the class let through had waited in its leaf; the largest was a full frame.
    let same = (class.stats.packets, class.stats.bytes) == (leaf.stats.packets, leaf.stats.bytes);
    if class.leaf == Some(leaf.handle) && same && xstats.maxpacket == 1514 && xstats.new_flow_count > 0 {
        Ok(())
    } else {
        Err(Stop::failed(format!("{class:?}\n{leaf:?}")))
    }
}

/// Round trips from the near end, in which only the way there is delayed.
pub(crate) fn netem_delays() -> Result<(), Stop> {
    const PORT: u16 = 5050;
    const DELAY: Duration = Duration::from_millis(20);
    /// Timers and schedulers, at their best of 20 times.
    const TOLERANCE: Duration = Duration::from_millis(5);
    let pair = Pair::new(Packets::Frames)?;
    let mut shaper = Shaper::new(NEAR)?;
    let echo = pair.far_udp(PORT)?;
    let socket = UdpSocket::bind((NEAR_ADDRESS, 0))?;
    socket.connect(far_address(PORT))?;
    for end in [&echo, &socket] {
        end.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    let without = fastest_round_trip(&socket, &echo)?;
    shaper.add_if_known("netem", "qdisc root handle 1: netem delay 20ms")?;
    let with = fastest_round_trip(&socket, &echo)?;
    if with >= DELAY && with < without + DELAY + TOLERANCE {
        Ok(())
    } else {
        Err(Stop::failed(format!("a round trip takes {with:?}, and {without:?} when nothing delays it")))
    }
}

/// Of twenty, one after the other.
fn fastest_round_trip(near: &UdpSocket, far: &UdpSocket) -> Result<Duration, Stop> {
    let mut fastest = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        near.send(&[0])?;
        let (_, from) = far.recv_from(&mut [0])?;
        far.send_to(&[0], from)?;
        near.recv(&mut [0])?;
        fastest = fastest.min(start.elapsed());
    }
    Ok(fastest)
}

/// A device that throws away what it is to send: HTB before it holds the rate all the same.
pub(crate) fn a_dummy_device_is_shaped() -> Result<(), Stop> {
    const RATE: u32 = 10;
    if let Err(failed) = run("ip link add dummy0 type dummy") {
        // What `ip` makes of EOPNOTSUPP.
        let message = failed.message().unwrap_or_default().trim().replace('\n', " ");
        return Err(if message.contains("Unknown device type") || message.contains("not supported") {
            Stop::forced(format!("this kernel makes no dummy devices: {message}"))
        } else {
            failed.into()
        });
    }
    run("ip addr add 198.18.0.1/30 dev dummy0")?;
    run("ip link set dummy0 up")?;
    let mut shaper = Shaper::new("dummy0")?;
    shaper.add("qdisc root handle 1: htb default 10")?;
    shaper.add(&format!("class parent 1: classid 1:10 htb {}", rate_and_ceil(RATE, RATE)))?;
    let socket = UdpSocket::bind((NEAR_ADDRESS, 0))?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // It has to wait as soon as its socket's buffer is full of what waits in the class.
        let flood = scope.spawn(|| -> io::Result<()> {
            while !done.load(Ordering::Relaxed) {
                socket.send_to(&[0; DATAGRAM], far_address(9))?;
            }
            Ok(())
        });
        let outcome = expect_counted(&mut shaper, 0x10, RATE.into());
        done.store(true, Ordering::Relaxed);
        flood.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        outcome
    })
}
