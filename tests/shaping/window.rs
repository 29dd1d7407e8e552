//! How much goes through in a stretch of time, and whether that is what was asked for.

use std::fmt;
use std::ops::Add;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

use crate::flow::{Flow, as_counted};
use crate::outcome::Stop;
use crate::pair::Pair;
use crate::shaper::Shaper;

/// Until TCP has found its rate, and a class has spent what it saved up.
const WARM_UP: Duration = Duration::from_secs(1);
const LENGTH: Duration = Duration::from_secs(4);
/// A shared machine may stand still in one of them, or in two.
const ATTEMPTS: usize = 3;
const LONGEST_READING: Duration = Duration::from_millis(20);
/// Relative deviation from a rate.
const TOLERANCE: f64 = 0.05;
/// The port that unshaped flows go to.
const UNSHAPED: u16 = 5000;
/// How many times the rate must pass unshaped for the rate to be the class's doing.
const HEADROOM: f64 = 1.5;

/// Mbit/s by the two measures, of one class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// By the counter of the class (`tc -s class show`).
    pub(crate) counted: f64,
    /// By the data that arrived, with the headers that the class counted for it.
    pub(crate) arrived: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} Mbit/s counted by the class, {:.2} arrived", self.counted, self.arrived)
    }
}

impl Measured {
    const NOTHING: Self = Self { counted: 0.0, arrived: 0.0 };

    /// Neither measure is further above the rate than it may.
    fn is_at_most(self, rate: f64) -> bool {
        self.counted.max(self.arrived) <= rate * (1.0 + TOLERANCE)
    }

    /// Neither measure is further below the rate than it may.
    fn is_at_least(self, rate: f64) -> bool {
        self.counted.min(self.arrived) >= rate * (1.0 - TOLERANCE)
    }
}

/// What two classes got together.
impl Add for Measured {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { counted: self.counted + other.counted, arrived: self.arrived + other.arrived }
    }
}

/// A flow, the class that it goes through, and what it is to get.
pub(crate) struct Share<'a> {
    pub(crate) flow: &'a Flow,
    /// Of the class.
    pub(crate) minor: u16,
    /// Mbit/s.
    pub(crate) at_least: f64,
}

/// Whether each flow gets its share, and all of them `together`, in Mbit/s, neither more nor less.
///
/// What is above is a failure at once, since no machine makes a class too fast. What is below is looked at again, and it is told
/// whether the machine could have done better.
pub(crate) fn expect(pair: &Pair, shaper: &mut Shaper, shares: &[Share], together: f64) -> Result<(), Stop> {
    sleep(WARM_UP);
    let mut windows = Vec::new();
    for _ in 0..ATTEMPTS {
        let measured = one_window(shaper, shares)?;
        let sum = measured.iter().copied().fold(Measured::NOTHING, Add::add);
        let shown = measured.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        if !sum.is_at_most(together) {
            return Err(Stop::failed(format!("more than {together} Mbit/s: {shown}")));
        }
        if sum.is_at_least(together)
            && shares.iter().zip(&measured).all(|(share, got)| got.is_at_least(share.at_least))
        {
            eprintln!("{shown}");
            return Ok(());
        }
        windows.push(shown);
    }
    require_capacity(pair, together)?;
    let wanted = shares.iter().map(|share| share.at_least.to_string()).collect::<Vec<_>>().join(" and ");
    Err(Stop::failed(format!(
        "less than {wanted} Mbit/s, or than {together} together, which this machine can send:\n{}",
        windows.join("\n")
    )))
}

/// Whether the class sends at so many Mbit/s, by its counter alone.
pub(crate) fn expect_counted(shaper: &mut Shaper, minor: u16, rate: f64) -> Result<(), Stop> {
    sleep(WARM_UP);
    let mut counted = 0.0;
    for _ in 0..ATTEMPTS {
        let before = read(shaper, minor, None)?;
        sleep(LENGTH);
        counted = read(shaper, minor, None)?.since(&before).counted;
        if counted >= rate * (1.0 - TOLERANCE) {
            break;
        }
    }
    if (counted / rate - 1.0).abs() <= TOLERANCE {
        Ok(())
    } else {
        Err(Stop::failed(format!("{counted:.2} Mbit/s instead of {rate}")))
    }
}

/// The counters of a class and of its flow, and when they were read.
struct Reading {
    at: Instant,
    counted: u64,
    arrived: u64,
}

impl Reading {
    fn since(&self, before: &Self) -> Measured {
        let seconds = (self.at - before.at).as_secs_f64();
        Measured {
            counted: mbit((self.counted - before.counted) as f64, seconds),
            arrived: mbit(as_counted(self.arrived - before.arrived), seconds),
        }
    }
}

/// Again when it took long: counters that are read long before or after the clock would show a rate that never was.
fn read(shaper: &mut Shaper, minor: u16, flow: Option<&Flow>) -> Result<Reading, Failed> {
    let mut took = Duration::ZERO;
    for _ in 0..100 {
        let at = Instant::now();
        let counted = shaper.class(minor)?.stats.bytes;
        let arrived = flow.map_or(0, Flow::received);
        took = at.elapsed();
        if took < LONGEST_READING {
            return Ok(Reading { at, counted, arrived });
        }
    }
    Err(format!("reading a counter takes {took:?}").into())
}

fn one_window(shaper: &mut Shaper, shares: &[Share]) -> Result<Vec<Measured>, Failed> {
    let readings = |shaper: &mut Shaper| -> Result<Vec<Reading>, Failed> {
        shares.iter().map(|share| read(shaper, share.minor, Some(share.flow))).collect()
    };
    let before = readings(shaper)?;
    sleep(LENGTH);
    let after = readings(shaper)?;
    Ok(before.iter().zip(&after).map(|(before, after)| after.since(before)).collect())
}

fn mbit(bytes: f64, seconds: f64) -> f64 {
    bytes * 8.0 / seconds / 1e6
}

/// Mbit/s of TCP through a pair, unless something shapes it, as a qdisc would count them.
fn capacity(pair: &Pair) -> Result<f64, Failed> {
    let flow = Flow::start(pair, UNSHAPED)?;
    sleep(WARM_UP / 2);
    let (start, before) = (Instant::now(), flow.received());
    sleep(WARM_UP);
    Ok(mbit(as_counted(flow.received() - before), start.elapsed().as_secs_f64()))
}

/// Skips the test where this machine does not send well above `rate` when nothing shapes it: then it is the machine that would
/// be measured. A root qdisc must let pass what no filter takes.
pub(crate) fn require_capacity(pair: &Pair, rate: f64) -> Result<(), Stop> {
    let mut best = 0_f64;
    for _ in 0..ATTEMPTS {
        best = best.max(capacity(pair)?);
        if best >= rate * HEADROOM {
            return Ok(());
        }
    }
    Err(Stop::forced(format!(
        "this machine passes {best:.0} Mbit/s of TCP unshaped, which is not well above the {rate:.0} Mbit/s to be tested"
    )))
}
