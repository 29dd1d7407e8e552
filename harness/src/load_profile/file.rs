//! A load profile's file: TOML, unknown keys refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::traffic::RawTraffic;
use super::tree::MOST_DEVICES;
use super::{Abort, Executor, LoadProfile, ProfileTree, Stage};
use crate::disturb::Disturbance;
use crate::duration::Span;
use crate::load::{Arrivals, Ramp, Think};
use crate::workload::Mix;

const SCHEMA_VERSION: u32 = 1;

/// A user is a task and some kilobytes; far fewer keep a kernel busy.
const MOST_USERS: u32 = 10_000;

/// More do not fit through any netlink socket.
const MOST_RATE: f64 = 1e7;

const DEVICES: u32 = 10;
const POPULATION: u64 = 1_000;

/// One is no burst; of more than these a thread does not hand out a burst in what would still be one moment.
const BURST: std::ops::RangeInclusive<u32> = 2..=100_000;

/// Nobody waits longer for a profile.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Why a profile was refused.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not TOML, or an unknown key.
    #[error("line {line}: {message}")]
    Toml {
        /// Where, from 1 on.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Another layout.
    #[error("schema_version {0} is not known; this qdiscope reads {SCHEMA_VERSION}")]
    Version(u32),
    /// A value that cannot be.
    #[error("{0}")]
    Value(String),
    /// A stage that cannot be.
    #[error("stage {stage}: {reason}")]
    Stage {
        /// Its name, or its number from 1 on.
        stage: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    name: String,
    #[serde(default)]
    purpose: String,
    #[serde(default = "one")]
    seed: u64,
    devices: Option<u32>,
    #[serde(default = "hundred")]
    warmup: u64,
    population: Option<u64>,
    tree: Option<PathBuf>,
    mix: Option<BTreeMap<String, u32>>,
    abort: Option<RawAbort>,
    traffic: Option<RawTraffic>,
    #[serde(default)]
    disturbance: Vec<Disturbance>,
    #[serde(default)]
    stage: Vec<RawStage>,
}

fn one() -> u64 {
    1
}

fn hundred() -> u64 {
    100
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAbort {
    grace: Span,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStage {
    name: Option<String>,
    start: Option<Span>,
    duration: Span,
    executor: RawExecutor,
    users: Option<OneOrTwo>,
    think_time: Option<Span>,
    think: Option<RawThink>,
    rate: Option<OneOrTwo>,
    arrivals: Option<RawArrivals>,
    burst: Option<u32>,
    judged: Option<bool>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum RawExecutor {
    Closed,
    Open,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum RawThink {
    Constant,
    Exponential,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum RawArrivals {
    Constant,
    Poisson,
    Bursts,
}

/// `users = 20`, or `users = { from = 10, to = 20 }`.
#[derive(Deserialize, Clone, Copy)]
#[serde(untagged, expecting = "give a number, or { from = …, to = … }")]
enum OneOrTwo {
    One(f64),
    Two(FromTo),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct FromTo {
    from: f64,
    to: f64,
}

impl From<OneOrTwo> for Ramp {
    fn from(value: OneOrTwo) -> Self {
        match value {
            OneOrTwo::One(value) => Self::constant(value),
            OneOrTwo::Two(FromTo { from, to }) => Self { from, to },
        }
    }
}

impl LoadProfile {
    /// Reads a profile's text. Pure: of a profile that names a tree (`tree = "shaper.tc"`) the file is not read, and what depends on it
    /// is not checked before [`LoadProfile::with_tree`].
    ///
    /// # Errors
    ///
    /// [`ParseError`], in one line.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..at].split(|byte| *byte == b'\n').count();
            ParseError::Toml { line, message: error.message().lines().collect::<Vec<_>>().join(" ") }
        })?;
        if file.schema_version != SCHEMA_VERSION {
            return Err(ParseError::Version(file.schema_version));
        }
        let value = |reason: String| ParseError::Value(reason);
        if file.name.is_empty() || file.name.len() > 64 || !file.name.chars().all(is_of_a_name) {
            return Err(value(format!(
                "name {:?}: give 1 to 64 letters, digits, `-`, `_` or `.`",
                file.name
            )));
        }
        let devices = file.devices.unwrap_or(DEVICES);
        if !(1..=MOST_DEVICES).contains(&devices) {
            return Err(value(format!("devices = {devices}: give 1 to {MOST_DEVICES}")));
        }
        let mix = match &file.mix {
            None => Mix::default(),
            Some(mix) => Mix::from_pairs(mix.iter().map(|(name, weight)| (name.as_str(), *weight)))
                .map_err(|reason| value(format!("mix: {reason}")))?,
        };
        let stages = stages(&file.stage)?;
        let traffic = file.traffic.map(|traffic| traffic.plan()).transpose().map_err(value)?;
        if let Some(tree) = &file.tree {
            for (key, given) in
                [("devices", file.devices.is_some()), ("population", file.population.is_some())]
            {
                if given {
                    return Err(value(format!("`{key}` is what the tree says: leave it out beside `tree`")));
                }
            }
            // Standard input has no place beside the profile.
            if tree.as_os_str().is_empty() || tree == Path::new("-") {
                return Err(value(format!("tree = \"{}\": give a file", tree.display())));
            }
        }
        let has_tree = file.tree.is_some();
        let profile = Self {
            name: file.name,
            purpose: file.purpose,
            seed: file.seed,
            devices: if has_tree { 0 } else { devices },
            warmup: file.warmup,
            population: if has_tree { 0 } else { file.population.unwrap_or(POPULATION) },
            tree: file.tree.map(ProfileTree::named),
            mix,
            stages,
            abort: file.abort.map(|abort| Abort { grace: abort.grace.0 }),
            disturbances: file.disturbance,
            traffic,
        };
        if !has_tree {
            profile.check().map_err(value)?;
        }
        Ok(profile)
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

fn stages(raw: &[RawStage]) -> Result<Vec<Stage>, ParseError> {
    if raw.is_empty() {
        return Err(ParseError::Value("it has no [[stage]]".into()));
    }
    let mut stages: Vec<Stage> = Vec::new();
    for (index, raw) in raw.iter().enumerate() {
        let name = raw.name.clone().unwrap_or_else(|| format!("{}", index + 1));
        let refused = |reason: String| ParseError::Stage { stage: name.clone(), reason };
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_of_a_name) {
            return Err(refused("give its name as 1 to 64 letters, digits, `-`, `_` or `.`".into()));
        }
        if stages.iter().any(|stage| stage.name == name) {
            return Err(refused("there is another one of that name".into()));
        }
        if raw.duration.0.is_zero() {
            return Err(refused("its duration must be above 0".into()));
        }
        let end = stages.last().map_or(Duration::ZERO, |stage| stage.start + stage.duration);
        let start = raw.start.map_or(end, |start| start.0);
        if start < end {
            return Err(refused(format!(
                "it starts at {} and overlaps the one before it, which ends at {}",
                Span(start),
                Span(end)
            )));
        }
        if start + raw.duration.0 > LONGEST {
            return Err(refused(format!("it ends after {}", Span(LONGEST))));
        }
        let executor = executor(raw).map_err(refused)?;
        let steady = match executor {
            Executor::Closed { users, .. } => users.is_constant(),
            Executor::Open { rate, .. } => rate.is_constant(),
        };
        let judged = raw.judged.unwrap_or(steady);
        let stage = Stage { name: name.clone(), start, duration: raw.duration.0, executor, judged };
        if stage.schedule(0).is_some_and(|schedule| schedule.count() == 0) {
            return Err(refused("its rate and duration are no request at all: raise either".into()));
        }
        if let Some(burst) = raw.burst
            && let Some(count) = stage.schedule(0).map(|schedule| schedule.count())
            && u64::from(burst) > count
        {
            return Err(refused(format!(
                "burst = {burst}: its rate and duration are {count} requests in all"
            )));
        }
        stages.push(stage);
    }
    Ok(stages)
}

fn executor(raw: &RawStage) -> Result<Executor, String> {
    let only = |key: &str, given: bool, of: &str| {
        if given { Err(format!("`{key}` is of executor = \"{of}\"")) } else { Ok(()) }
    };
    match raw.executor {
        RawExecutor::Closed => {
            only("rate", raw.rate.is_some(), "open")?;
            only("arrivals", raw.arrivals.is_some(), "open")?;
            only("burst", raw.burst.is_some(), "open")?;
            let users = Ramp::from(raw.users.ok_or("`users` is missing")?);
            for count in [users.from, users.to] {
                whole_users(count, 0.0)?;
            }
            if users.most() < 1.0 {
                return Err("`users` must be above 0 at one end at least".into());
            }
            let think = match (raw.think_time.map(|time| time.0), raw.think) {
                (None, Some(_)) => {
                    return Err("`think` says how `think_time` is distributed, which is missing".into());
                }
                (None, None) | (Some(Duration::ZERO), _) => Think::None,
                (Some(time), Some(RawThink::Constant)) => Think::Constant(time),
                (Some(mean), Some(RawThink::Exponential) | None) => Think::Exponential(mean),
            };
            Ok(Executor::Closed { users, think })
        }
        RawExecutor::Open => {
            only("think_time", raw.think_time.is_some(), "closed")?;
            only("think", raw.think.is_some(), "closed")?;
            let rate = Ramp::from(raw.rate.ok_or("`rate` is missing")?);
            for end in [rate.from, rate.to] {
                if !(0.0..=MOST_RATE).contains(&end) {
                    return Err(format!("rate {end}: give 0 to {MOST_RATE} operations per second"));
                }
            }
            let users = match raw.users {
                None => 100,
                Some(OneOrTwo::One(users)) => whole_users(users, 1.0)?,
                Some(OneOrTwo::Two(_)) => {
                    return Err("an open loop's `users` do not change: give one number".into());
                }
            };
            let arrivals = match (raw.arrivals, raw.burst) {
                (None | Some(RawArrivals::Constant), None) => Arrivals::Constant,
                (Some(RawArrivals::Poisson), None) => Arrivals::Poisson,
                (Some(RawArrivals::Bursts), Some(burst)) if BURST.contains(&burst) => Arrivals::Bursts(burst),
                (Some(RawArrivals::Bursts), Some(burst)) => {
                    let (least, most) = BURST.into_inner();
                    return Err(format!("burst = {burst}: give {least} to {most} requests"));
                }
                (Some(RawArrivals::Bursts), None) => {
                    return Err("`burst` is missing: how many requests are due at the same moment".into());
                }
                (_, Some(_)) => return Err("`burst` is of arrivals = \"bursts\"".into()),
            };
            Ok(Executor::Open { rate, arrivals, users })
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked here")]
fn whole_users(count: f64, least: f64) -> Result<u32, String> {
    if (least..=f64::from(MOST_USERS)).contains(&count) && count.fract() == 0.0 {
        Ok(count as u32)
    } else {
        Err(format!("users {count}: give a whole number from {least} to {MOST_USERS}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "schema_version = 1\nname = \"x\"\n";

    fn stage(text: &str) -> Result<LoadProfile, ParseError> {
        LoadProfile::parse(&format!("{HEAD}[[stage]]\n{text}"))
    }

    #[test]
    fn stages_follow_each_other_and_ramps_are_not_judged() {
        let profile = LoadProfile::parse(&format!(
            "{HEAD}population = 50\n[mix]\ncreate = 1\ndump = 2\n[abort]\ngrace = \"10s\"\n\
             [[stage]]\nname = \"ramp\"\nduration = \"20s\"\nexecutor = \"closed\"\nusers = {{ from = 0, to = 8 }}\nthink_time = \"5ms\"\n\
             [[stage]]\nstart = \"30s\"\nduration = \"1m\"\nexecutor = \"open\"\nrate = 500\narrivals = \"poisson\"\nusers = 4"
        ))
        .unwrap();
        assert_eq!(profile.mix.to_string(), "create=1,change=0,read=0,delete=0,dump=2");
        assert_eq!(profile.abort, Some(Abort { grace: Duration::from_secs(10) }));
        let [ramp, open] = &profile.stages[..] else { panic!("{profile:?}") };
        let think = Think::Exponential(Duration::from_millis(5));
        assert_eq!(ramp.executor, Executor::Closed { users: Ramp { from: 0.0, to: 8.0 }, think });
        assert!(!ramp.judged && open.judged);
        assert_eq!((open.name.as_str(), open.start), ("2", Duration::from_secs(30)));
        let rate = Ramp::constant(500.0);
        assert_eq!(open.executor, Executor::Open { rate, arrivals: Arrivals::Poisson, users: 4 });
        assert_eq!((profile.length(), profile.most_users()), (Duration::from_secs(90), 8));
        let short = profile.scaled(0.1);
        assert_eq!(
            (short.length(), short.abort.unwrap().grace),
            (Duration::from_secs(9), Duration::from_secs(1))
        );
    }

    #[test]
    fn traffic_is_read() {
        let closed = "[[stage]]\nduration = \"1s\"\nexecutor = \"closed\"\nusers = 1";
        let of = |text: &str| LoadProfile::parse(&format!("{HEAD}{text}{closed}")).unwrap().traffic;
        assert_eq!(of(""), None);
        let wide = of("[traffic]\npackets_per_second = 100\n").unwrap();
        assert_eq!((wide.packets_per_second, wide.streams, wide.rate), (100.0, 8, "1gbit".parse().unwrap()));
        let narrow = of("[traffic]\npackets_per_second = 0.5\nstreams = 1000\nrate = \"8kbit\"\n").unwrap();
        assert_eq!(
            (narrow.packets_per_second, narrow.streams, narrow.rate),
            (0.5, 1_000, "8kbit".parse().unwrap())
        );
    }

    #[test]
    fn bursts_are_read_and_shown() {
        let text = "duration = \"1s\"\nexecutor = \"open\"\nrate = 50\narrivals = \"bursts\"\nburst = 50";
        let profile = stage(text).unwrap();
        let [stage] = &profile.stages[..] else { panic!("{profile:?}") };
        let Executor::Open { arrivals, .. } = stage.executor else { panic!("{stage:?}") };
        assert_eq!(arrivals, Arrivals::Bursts(50));
        let settings = stage.settings();
        assert_eq!(
            (settings.arrivals_in_words().as_deref(), settings.burst),
            (Some("bursts of 50"), Some(50))
        );
        // Shorter than one of its bursts it is a smaller one.
        let short = profile.scaled(0.1).stages[0].schedule(1).unwrap();
        assert_eq!((short.count(), short.dues().collect::<Vec<_>>()), (5, vec![Duration::ZERO; 5]));
    }

    #[test]
    fn bad_profiles_are_refused_in_one_line() {
        let closed = "duration = \"1s\"\nexecutor = \"closed\"\nusers = 1";
        for (text, word) in [
            (HEAD.to_owned(), "no [[stage]]"),
            ("schema_version = 2\nname = \"x\"".into(), "schema_version 2"),
            (format!("{HEAD}[[stage]]\n{closed}\nuser = 1"), "line 7"),
            (format!("{HEAD}devices = 0\n[[stage]]\n{closed}"), "devices"),
            (format!("{HEAD}population = 9000000\n[[stage]]\n{closed}"), "65535 minors"),
            (format!("{HEAD}[mix]\nwrite = 1\n[[stage]]\n{closed}"), "`write` is none of"),
            (format!("{HEAD}[mix]\nread = 0\n[[stage]]\n{closed}"), "above 0"),
            (format!("{HEAD}[[stage]]\n{closed}\n[[stage]]\nstart = \"500ms\"\n{closed}"), "overlaps"),
            (format!("{HEAD}[traffic]\npackets_per_second = 0\n[[stage]]\n{closed}"), "above 0"),
            (format!("{HEAD}[traffic]\npackets_per_second = nan\n[[stage]]\n{closed}"), "above 0"),
            (format!("{HEAD}[traffic]\npackets_per_second = 1e5\n[[stage]]\n{closed}"), "500000 together"),
            (
                format!("{HEAD}[traffic]\npackets_per_second = 1\nstreams = 0\n[[stage]]\n{closed}"),
                "streams = 0: give 1 to 1000",
            ),
            (format!("{HEAD}[traffic]\npackets_per_second = 1\nstreams = -1\n[[stage]]\n{closed}"), "line 5"),
            (
                format!("{HEAD}[traffic]\npackets_per_second = 1\nstreams = 1001\n[[stage]]\n{closed}"),
                "1 to 1000",
            ),
            (format!("{HEAD}[traffic]\nstreams = 1\n[[stage]]\n{closed}"), "packets_per_second"),
            (format!("{HEAD}[traffic]\npackets_per_second = 1\nspeed = 1\n[[stage]]\n{closed}"), "line 5"),
            (
                format!("{HEAD}[traffic]\npackets_per_second = 1\nrate = \"fast\"\n[[stage]]\n{closed}"),
                "rate = \"fast\"",
            ),
            (
                format!(
                    "{HEAD}devices = 1\npopulation = 62000\n[traffic]\npackets_per_second = 1\nstreams = 1000\n[[stage]]\n{closed}"
                ),
                "minors left",
            ),
            (
                format!("{HEAD}[[stage]]\nname = \"a\"\n{closed}\n[[stage]]\nname = \"a\"\n{closed}"),
                "another one",
            ),
            ("schema_version = 1\nname = \"../x\"\n[[stage]]\nduration = \"1s\"".into(), "executor"),
            (format!("schema_version = 1\nname = \"../x\"\n[[stage]]\n{closed}"), "letters"),
        ] {
            let error = LoadProfile::parse(&text).expect_err(&text).to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{text:?} → {error:?}");
        }
        for (text, word) in [
            ("duration = \"0s\"\nexecutor = \"closed\"\nusers = 1", "above 0"),
            ("duration = \"8000h\"\nexecutor = \"closed\"\nusers = 1", "8000h"),
            ("duration = \"1s\"\nexecutor = \"closed\"", "`users` is missing"),
            ("duration = \"1s\"\nexecutor = \"closed\"\nusers = 1.5", "whole number"),
            ("duration = \"1s\"\nexecutor = \"closed\"\nusers = nan", "whole number"),
            ("duration = \"1s\"\nexecutor = \"closed\"\nusers = 0", "above 0"),
            ("duration = \"1s\"\nexecutor = \"closed\"\nusers = 1\nrate = 5", "`rate` is of"),
            ("duration = \"1s\"\nexecutor = \"closed\"\nusers = 1\nthink = \"constant\"", "missing"),
            ("duration = \"1s\"\nexecutor = \"open\"\nrate = inf", "rate inf"),
            ("duration = \"1s\"\nexecutor = \"open\"\nrate = -1", "rate -1"),
            ("duration = \"1s\"\nexecutor = \"open\"\nrate = 0.1", "no request"),
            (
                "duration = \"1s\"\nexecutor = \"open\"\nrate = 5\nusers = { from = 1, to = 2 }",
                "do not change",
            ),
            ("duration = \"1s\"\nexecutor = \"open\"\nrate = { from = 1 }", "give a number, or"),
            (
                "duration = \"1s\"\nexecutor = \"open\"\nrate = 50\narrivals = \"bursts\"",
                "`burst` is missing",
            ),
            ("duration = \"1s\"\nexecutor = \"open\"\nrate = 50\nburst = 5", "of arrivals"),
            (
                "duration = \"1s\"\nexecutor = \"open\"\nrate = 50\narrivals = \"poisson\"\nburst = 5",
                "of arrivals",
            ),
            ("duration = \"1s\"\nexecutor = \"closed\"\nusers = 1\nburst = 5", "`burst` is of executor"),
            (
                "duration = \"1s\"\nexecutor = \"open\"\nrate = 50\narrivals = \"bursts\"\nburst = 1",
                "2 to 100000",
            ),
            (
                "duration = \"1s\"\nexecutor = \"open\"\nrate = 1e6\narrivals = \"bursts\"\nburst = 100001",
                "2 to 100000",
            ),
            ("duration = \"1s\"\nexecutor = \"open\"\nrate = 50\narrivals = \"bursts\"\nburst = -5", "-5"),
            (
                "duration = \"1s\"\nexecutor = \"open\"\nrate = { from = 0, to = 50 }\narrivals = \"bursts\"\nburst = 26",
                "25 requests in all",
            ),
            ("duration = \"1s\"\nexecutor = \"spiral\"", "spiral"),
        ] {
            let error = stage(text).expect_err(text).to_string();
            assert!(error.contains(word) && !error.contains('\n'), "{text:?} → {error:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*", duration in ".{0,8}", users in any::<f64>()) {
            let _ = LoadProfile::parse(&text);
            let _ = stage(&format!("duration = {duration:?}\nexecutor = \"closed\"\nusers = {users}"));
        }
    }
}
