//! What two runs must have in common for their figures to be compared: the machine, the probes, the settings, the load. Pure.
//!
//! The version of qdiscope and the budget may differ: the one is what changes, and the other judges and does not measure.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::report::model::{RunResult, WorkloadResult};

/// One thing that has to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fact {
    /// What it is of, where the other run need not have that: a workload.
    of: Option<String>,
    name: String,
    value: String,
}

/// All of them, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(Vec<Fact>);

/// The name under which the list of workloads is compared.
const WORKLOADS: &str = "workloads";

impl Fingerprint {
    /// That of a run.
    pub fn of(run: &RunResult) -> Self {
        let mut facts = Facts::default();
        let unknown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
        let environment = &run.environment;
        facts.add("kernel", environment.kernel.clone());
        facts.add("CPU", unknown(&environment.cpu));
        facts.add("cores", environment.cores.to_string());
        facts.add("virtualised", format!("{:?}", environment.virtualised));
        facts.add("probes in use", environment.probes.kind.clone());
        // Whatever settings there come to be.
        if let Ok(serde_json::Value::Object(settings)) = serde_json::to_value(&run.settings) {
            for (name, value) in settings.iter().filter(|(name, _)| *name != "budget") {
                facts.add(name, value.to_string());
            }
        }
        facts.add(
            "profile",
            match &run.profile {
                None => "none".to_owned(),
                Some(profile) => format!("{} (times × {})", profile.name, profile.time_scale),
            },
        );
        facts.add("disturbances", disturbances(run));
        facts.add(WORKLOADS, run.workloads.iter().map(WorkloadResult::title).collect::<Vec<_>>().join(", "));
        for workload in &run.workloads {
            facts.of = Some(workload.title());
            facts.load(workload);
        }
        Self(facts.all)
    }

    /// What is not the same, a line for each. Of a workload that only one of the runs has the list of workloads tells.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        self.compared(other).map(|(_, line)| line).collect()
    }

    /// The same, where the runs may have had other workloads beside those that are compared.
    pub fn differences_of_what_both_have(&self, other: &Self) -> Vec<String> {
        self.compared(other).filter(|(name, _)| *name != WORKLOADS).map(|(_, line)| line).collect()
    }

    fn compared<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a str, String)> {
        let counterpart = |facts: &'a Self, fact: &Fact| {
            facts.0.iter().find(|other| (&other.of, &other.name) == (&fact.of, &fact.name))
        };
        let value = |fact: Option<&Fact>| fact.map_or_else(|| "none".to_owned(), |fact| fact.value.clone());
        let ours = self.0.iter().map(move |fact| (fact, Some(fact), counterpart(other, fact)));
        let theirs = other.0.iter().filter(move |fact| counterpart(self, fact).is_none());
        ours.chain(theirs.map(|fact| (fact, None, Some(fact)))).filter_map(move |(fact, one, another)| {
            let whole = one.is_some() && another.is_some();
            let (one, another) = (value(one), value(another));
            if one == another || (fact.of.is_some() && !whole) {
                return None;
            }
            let of = fact.of.as_ref().map_or_else(String::new, |of| format!(" of {of}"));
            Some((&*fact.name, format!("{}{of}: {one} and {another}", fact.name)))
        })
    }

    /// A short name: runs whose facts are all the same have the same one. Twelve hexadecimal digits of a SHA-256.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for Fact { of, name, value } in &self.0 {
            for part in [of.as_deref().unwrap_or_default(), name, value] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
        }
        hash.finalize().iter().take(6).fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        })
    }

    /// The facts in words, a line each: `kernel: 6.18.0`.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|Fact { of, name, value }| match of {
            None => format!("{name}: {value}"),
            Some(of) => format!("{name} of {of}: {value}"),
        })
    }
}

/// The list in the making.
#[derive(Default)]
struct Facts {
    of: Option<String>,
    all: Vec<Fact>,
}

impl Facts {
    fn add(&mut self, name: &str, value: String) {
        self.all.push(Fact { of: self.of.clone(), name: name.to_owned(), value });
    }

    /// A workload's load.
    fn load(&mut self, workload: &WorkloadResult) {
        let WorkloadResult {
            name,
            mode,
            workers,
            rate,
            duration_seconds,
            classes,
            weights,
            devices,
            stage,
            ..
        } = workload;
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let range = |ends: Option<[f64; 2]>| or_none(ends.map(|[from, to]| format!("{from} to {to}")));
        self.add("workload", format!("{name} ({mode})"));
        self.add("workers", workers.to_string());
        self.add("rate", or_none(rate.map(|rate| rate.to_string())));
        self.add("length", format!("{duration_seconds} s"));
        self.add("classes", or_none(classes.map(|classes| classes.to_string())));
        self.add("weights", or_none(weights.clone()));
        self.add("devices", devices.to_string());
        self.add("users", range(stage.as_ref().map(|stage| stage.users)));
        self.add("the stage's rate", range(stage.as_ref().and_then(|stage| stage.rate)));
        self.add("arrivals", or_none(stage.as_ref().and_then(|stage| stage.arrivals.clone())));
        let think_time = stage
            .as_ref()
            .and_then(|stage| Some(format!("{} µs, {}", stage.think_time_us?, stage.think_time.as_ref()?)));
        self.add("think time", or_none(think_time));
    }
}

/// What stood in a run's way on purpose, in a line.
fn disturbances(run: &RunResult) -> String {
    let all = run.profile.iter().flat_map(|profile| &profile.disturbances);
    let each = all.map(|outcome| serde_json::to_string(&outcome.disturbance).unwrap_or_default());
    let text = each.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "none".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::fixtures;

    type Change = fn(&mut RunResult);

    #[test]
    fn what_measures_differently_is_told() {
        let run = fixtures::run();
        let of = Fingerprint::of(&run);
        let changes: [(&str, Change); 7] = [
            ("kernel: 6.18.0 and 6.1.0", |run| run.environment.kernel = "6.1.0".into()),
            ("cores", |run| run.environment.cores = 4),
            ("probes", |run| run.environment.probes.kind = "off".into()),
            ("stacks", |run| run.settings.stacks = true),
            ("workers of htb-class (closed): 8 and 9", |run| run.workloads[0].workers = 9),
            ("rate of htb-class (closed): none and 50", |run| run.workloads[0].rate = Some(50.0)),
            ("workloads: htb-class (closed) and ", |run| run.workloads.clear()),
        ];
        for (words, change) in changes {
            let mut other = run.clone();
            change(&mut other);
            let other = Fingerprint::of(&other);
            let differences = of.differences(&other);
            assert_eq!(differences.len(), 1, "{differences:?}");
            assert!(differences[0].starts_with(words), "{differences:?}");
            assert_ne!(of.digest(), other.digest(), "{words}");
            assert_eq!(other.differences(&of).len(), 1);
        }
    }

    #[test]
    fn what_only_judges_or_is_compared_does_not_count() {
        let run = fixtures::run();
        let mut other = run.clone();
        other.settings.budget = "strict.toml".into();
        other.qdiscope_version = "9".into();
        other.workloads[0].operations += 1;
        let (one, other) = (Fingerprint::of(&run), Fingerprint::of(&other));
        assert!(one.differences(&other).is_empty());
        assert_eq!((one.digest(), one.digest().len()), (other.digest(), 12));
        // Each value counts with its name: neither runs into the other.
        assert!(one.lines().any(|line| line == "kernel: 6.18.0"));
    }

    #[test]
    fn a_workload_that_one_of_them_lacks_matters_only_to_the_whole() {
        let run = fixtures::run();
        let mut fewer = run.clone();
        fewer.workloads.clear();
        let (run, fewer) = (Fingerprint::of(&run), Fingerprint::of(&fewer));
        assert!(run.differences_of_what_both_have(&fewer).is_empty());
        assert!(fewer.differences_of_what_both_have(&run).is_empty());
    }
}
