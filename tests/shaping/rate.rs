//! A class of its own rate gets that rate.

use std::thread::sleep;
use std::time::Duration;

use support::run;

use crate::flow::Flow;
use crate::outcome::Stop;
use crate::pair::{NEAR, Packets, Pair};
use crate::shaper::{Shaper, rate_and_ceil};
use crate::window::{Share, expect, require_capacity};

const PORT: u16 = 5001;
/// Of the class.
const MINOR: u16 = 0x10;

pub(crate) fn tcp_gets_10_mbit() -> Result<(), Stop> {
    gets(10, Packets::Frames)
}

pub(crate) fn tcp_gets_100_mbit() -> Result<(), Stop> {
    gets(100, Packets::Frames)
}

/// HTB charges a packet that is still to be cut with the headers that all its segments will have.
pub(crate) fn large_packets_are_charged_as_their_segments() -> Result<(), Stop> {
    gets(100, Packets::Large)
}

fn gets(rate: u32, packets: Packets) -> Result<(), Stop> {
    let pair = Pair::new(packets)?;
    require_capacity(&pair, rate.into())?;
    let mut shaper = Shaper::new(NEAR)?;
    shaper.add("qdisc root handle 1: htb")?;
    shaper.add(&format!("class parent 1: classid 1:{MINOR:x} htb {}", rate_and_ceil(rate, rate)))?;
    shaper.add(&format!(
        "filter parent 1: protocol ip prio 1 u32 match ip dport {PORT} 0xffff flowid 1:{MINOR:x}"
    ))?;
    let flow = Flow::start(&pair, PORT)?;
    let share = Share { flow: &flow, minor: MINOR, at_least: rate.into() };
    expect(&pair, &mut shaper, &[share], rate.into())?;
    drop(flow);
    as_tc_shows(&mut shaper)
}

/// The counters are those that `tc -s class show` shows, and not only like them.
fn as_tc_shows(shaper: &mut Shaper) -> Result<(), Stop> {
    // Of a connection that ends, the last packets may still come.
    for _ in 0..20 {
        shaper.settle(MINOR)?;
        let stats = shaper.class(MINOR)?.stats;
        let shown = run(&format!("tc -s class show dev {NEAR} classid 1:{MINOR:x}"))?;
        let line = format!(" Sent {} bytes {} pkt ", stats.bytes, stats.packets);
        if shown.contains(&line) {
            return Ok(());
        }
        if shaper.class(MINOR)?.stats == stats {
            return Err(Stop::failed(format!("{line:?} is not what tc shows:\n{shown}")));
        }
        sleep(Duration::from_millis(50));
    }
    Err(Stop::failed("the connection ended, and the class still sends".into()))
}
