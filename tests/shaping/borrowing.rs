//! What a class does not use is lent to its siblings, up to their ceil, and given back.

use libtest_mimic::Failed;
use tc_adapter::HtbXstats;

use crate::flow::Flow;
use crate::outcome::Stop;
use crate::pair::{NEAR, Packets, Pair};
use crate::shaper::{Shaper, rate_and_ceil};
use crate::window::{Share, expect, require_capacity};

/// What both have together, in Mbit/s.
const CEIL: u32 = 50;
/// Less together than there is, so that both borrow.
const SMALL: Sibling = Sibling { minor: 0x10, port: 5010, rate: 10 };
const LARGE: Sibling = Sibling { minor: 0x20, port: 5020, rate: 20 };

/// A class and the port whose packets go through it.
struct Sibling {
    minor: u16,
    port: u16,
    rate: u32,
}

impl Sibling {
    fn add(&self, shaper: &mut Shaper) -> Result<(), Failed> {
        let Self { minor, port, rate } = self;
        // Ten frames in turn for 10 Mbit/s: what is over is shared as the rates are. By default it would depend on r2q.
        let (rates, quantum) = (rate_and_ceil(*rate, CEIL), rate * 1514);
        shaper.add(&format!("class parent 1:1 classid 1:{minor:x} htb {rates} quantum {quantum}"))?;
        shaper.add(&format!(
            "filter parent 1: protocol ip prio 1 u32 match ip dport {port} 0xffff flowid 1:{minor:x}"
        ))
    }

    fn share<'a>(&self, flow: &'a Flow, at_least: u32) -> Share<'a> {
        Share { flow, minor: self.minor, at_least: at_least.into() }
    }

    fn counters(&self, shaper: &mut Shaper) -> Result<HtbXstats, Failed> {
        Ok(shaper.class(self.minor)?.xstats.ok_or("no HTB counters")?)
    }
}

/// Two siblings that may take the whole of what their parent has.
fn siblings(pair: &Pair) -> Result<Shaper, Stop> {
    require_capacity(pair, CEIL.into())?;
    let mut shaper = Shaper::new(NEAR)?;
    shaper.add("qdisc root handle 1: htb")?;
    shaper.add(&format!("class parent 1: classid 1:1 htb {}", rate_and_ceil(CEIL, CEIL)))?;
    SMALL.add(&mut shaper)?;
    LARGE.add(&mut shaper)?;
    Ok(shaper)
}

pub(crate) fn an_idle_siblings_rate_is_lent() -> Result<(), Stop> {
    let pair = Pair::new(Packets::Frames)?;
    let mut shaper = siblings(&pair)?;
    let flow = Flow::start(&pair, SMALL.port)?;
    expect(&pair, &mut shaper, &[SMALL.share(&flow, CEIL)], CEIL.into())?;
    // Four fifths of it are not its own.
    let HtbXstats { lends, borrows, .. } = SMALL.counters(&mut shaper)?;
    if borrows > lends {
        Ok(())
    } else {
        Err(Stop::failed(format!("{lends} own packets, {borrows} on loan")))
    }
}

pub(crate) fn busy_siblings_get_their_rates() -> Result<(), Stop> {
    let pair = Pair::new(Packets::Frames)?;
    let mut shaper = siblings(&pair)?;
    let flows = [Flow::start(&pair, SMALL.port)?, Flow::start(&pair, LARGE.port)?];
    let shares = [SMALL.share(&flows[0], SMALL.rate), LARGE.share(&flows[1], LARGE.rate)];
    expect(&pair, &mut shaper, &shares, CEIL.into())?;
    for sibling in [SMALL, LARGE] {
        let HtbXstats { lends, borrows, .. } = sibling.counters(&mut shaper)?;
        if lends == 0 || borrows == 0 {
            let Sibling { minor, .. } = sibling;
            return Err(Stop::failed(format!("1:{minor:x}: {lends} own packets, {borrows} on loan")));
        }
    }
    Ok(())
}
