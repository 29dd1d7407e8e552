//! Which kernel function grows: samples of kernel stacks at each size → time for one operation → growth. Pure, but for the names.

use std::collections::{BTreeMap, HashSet};

use ebpf_loader::SampleSet;

use super::model::{Functions, Growing};
use crate::profile::Symbols;

/// Where a request for traffic control begins: what lies outside of it is the same for every request. The first that is found, for
/// which of them has a symbol differs.
const BEGINS: [&str; 4] = ["tc_ctl_tclass", "rtnetlink_rcv_msg", "netlink_rcv_skb", "netlink_sendmsg"];

/// Fewer samples in requests say nothing.
const LEAST_SAMPLES: u64 = 50;

/// Of a function's callees, the one that has so much of the growth of all is followed.
const MOST_OF_IT: f64 = 0.5;

/// How many functions by their own time are named.
const OWN: usize = 5;

/// What was sampled at a size, over all rounds.
pub(super) struct Sampled {
    pub(super) n: f64,
    pub(super) operations: u64,
    pub(super) sets: Vec<SampleSet>,
}

/// A stack by names, outermost first, beginning with the request; and how many samples hit it.
pub(super) type Stack = (Vec<String>, u64);

/// Stacks at a size, with names.
pub(super) struct Named {
    pub(super) n: f64,
    pub(super) operations: u64,
    pub(super) hz: u64,
    pub(super) stacks: Vec<Stack>,
}

/// Resolves all addresses at once, by the kernel's symbols.
pub(super) fn name(stages: &[Sampled]) -> Result<Vec<Named>, String> {
    let sets = || stages.iter().flat_map(|stage| &stage.sets);
    let addresses: Vec<u64> =
        sets().flat_map(|set| &set.stacks).flat_map(|stack| stack.frames.iter().copied()).collect();
    if addresses.is_empty() {
        return Err("no sample of a kernel stack was taken".into());
    }
    let names = Symbols::default().kernel(addresses).map_err(|error| error.to_string())?;
    let words = |addresses: &[u64]| -> Vec<String> {
        let name = |address| names.get(address).cloned().unwrap_or_else(|| "[unknown]".into());
        addresses.iter().rev().map(name).collect()
    };
    Ok(stages
        .iter()
        .map(|stage| Named {
            n: stage.n,
            operations: stage.operations,
            hz: stage.sets.first().map_or(0, |set| set.hz),
            stacks: stage
                .sets
                .iter()
                .flat_map(|set| &set.stacks)
                .filter_map(|stack| Some((request(words(&stack.frames))?, stack.count)))
                .collect(),
        })
        .collect())
}

/// The part of a stack that is the request's; `None` of another's.
fn request(stack: Vec<String>) -> Option<Vec<String>> {
    let begin = BEGINS.iter().find_map(|begin| stack.iter().position(|name| name == begin))?;
    Some(stack.into_iter().skip(begin).collect())
}

/// What grows. Growth is the least-squares slope of the time on the size, so that the functions' own growths add up to
/// that of all. Each size counts as much as its operations: with more of them its time is known better.
pub(super) fn growing(stages: &[Named]) -> Result<Functions, String> {
    let samples: u64 = stages.iter().flat_map(|stage| &stage.stacks).map(|(_, count)| count).sum();
    if samples < LEAST_SAMPLES {
        return Err(format!(
            "{samples} samples of kernel stacks in requests are too few to say; --samples or --rounds takes more"
        ));
    }
    let all = Times::of(stages, |_| vec![String::new()]);
    let total =
        all.slope("", stages).filter(|&slope| slope > 0.0).ok_or("the kernel's time does not grow")?;
    // A recursive function counts once.
    let inside = Times::of(stages, |stack| {
        let names: HashSet<&String> = stack.iter().collect();
        names.into_iter().cloned().collect()
    });
    let own = Times::of(stages, |stack| stack.last().cloned().into_iter().collect());
    let growing = |times: &Times, function: &str| {
        let slope = times.slope(function, stages)?;
        Some(Growing {
            function: function.into(),
            caller: caller(stages, function),
            growth_ns: slope * 1e3,
            share: slope / total,
            us: times
                .0
                .get(function)?
                .iter()
                .zip(stages)
                .map(|(&us, stage)| told(stage).then_some(us))
                .collect(),
        })
    };
    let mut leaves: Vec<Growing> = own.0.keys().filter_map(|function| growing(&own, function)).collect();
    leaves.sort_by(|a, b| b.share.total_cmp(&a.share));
    leaves.retain(|leaf| leaf.share > 0.0);
    leaves.truncate(OWN);
    let path = path(stages).iter().filter_map(|function| growing(&inside, function)).collect();
    let hz = stages.first().map_or(0, |stage| stage.hz);
    Ok(Functions { hz, samples, growth_ns: total * 1e3, path, own: leaves })
}

/// Whether a size has samples enough to say what it is made of.
fn told(stage: &Named) -> bool {
    stage.stacks.iter().map(|(_, count)| count).sum::<u64>() >= LEAST_SAMPLES
}

/// µs for one operation, by function and by size.
struct Times(BTreeMap<String, Vec<f64>>);

impl Times {
    fn of(stages: &[Named], functions: impl Fn(&[String]) -> Vec<String>) -> Self {
        let mut times = BTreeMap::<String, Vec<f64>>::new();
        for (index, stage) in stages.iter().enumerate() {
            let per_sample = 1e6 / stage.hz.max(1) as f64 / stage.operations.max(1) as f64;
            for (stack, count) in &stage.stacks {
                for function in functions(stack) {
                    times.entry(function).or_insert_with(|| vec![0.0; stages.len()])[index] +=
                        *count as f64 * per_sample;
                }
            }
        }
        Self(times)
    }

    fn slope(&self, function: &str, stages: &[Named]) -> Option<f64> {
        let times = self.0.get(function)?;
        let weight: f64 = stages.iter().map(|stage| stage.operations as f64).sum();
        let mean = |of: &dyn Fn(usize) -> f64| {
            stages.iter().enumerate().map(|(index, stage)| stage.operations as f64 * of(index)).sum::<f64>()
                / weight
        };
        let (size, time) = (mean(&|index| stages[index].n), mean(&|index| times[index]));
        let covariance = mean(&|index| (stages[index].n - size) * (times[index] - time));
        let variance = mean(&|index| (stages[index].n - size).powi(2));
        (variance > 0.0).then(|| covariance / variance)
    }
}

/// From the outermost function inwards, to the callee that has most of the growth of all, as long as one has.
fn path(stages: &[Named]) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    loop {
        let callees = Times::of(stages, |stack| {
            let below = stack.starts_with(&path).then(|| stack.get(path.len()).cloned());
            below.flatten().into_iter().collect()
        });
        let total: f64 = Times::of(stages, |_| vec![String::new()]).slope("", stages).unwrap_or(f64::NAN);
        let best = callees
            .0
            .keys()
            .filter_map(|function| Some((function, callees.slope(function, stages)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        match best {
            Some((function, slope)) if slope / total >= MOST_OF_IT => path.push(function.clone()),
            _ => return path,
        }
    }
}

/// Who called it most often.
fn caller(stages: &[Named], function: &str) -> Option<String> {
    let mut callers = BTreeMap::<&String, u64>::new();
    for (stack, count) in stages.iter().flat_map(|stage| &stage.stacks) {
        for pair in stack.windows(2).filter(|pair| pair[1] == function) {
            *callers.entry(&pair[0]).or_default() += count;
        }
    }
    callers.into_iter().max_by_key(|(_, count)| *count).map(|(caller, _)| caller.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(n: f64, stacks: &[(&str, u64)]) -> Named {
        let stacks = stacks
            .iter()
            .map(|(stack, count)| (stack.split(';').map(str::to_owned).collect(), *count))
            .collect();
        Named { n, operations: 100, hz: 1_000, stacks }
    }

    fn stages() -> Vec<Named> {
        [1_u32, 2, 3]
            .map(|k| {
                let k64 = u64::from(k);
                stage(
                    f64::from(k) * 1_000.0,
                    &[
                        ("tc_ctl_tclass;tc_bind_tclass;htb_walk", 60 * k64),
                        ("tc_ctl_tclass;tc_bind_tclass", 30 * k64),
                        ("tc_ctl_tclass;htb_change_class;flow_indr", 10 * k64),
                        ("tc_ctl_tclass;htb_change_class;kmalloc", 40),
                    ],
                )
            })
            .into()
    }

    #[test]
    fn the_path_leads_to_what_grows_and_shares_add_up() {
        let functions = growing(&stages()).unwrap();
        let path: Vec<_> = functions.path.iter().map(|growing| growing.function.as_str()).collect();
        assert_eq!(path, ["tc_ctl_tclass", "tc_bind_tclass", "htb_walk"]);
        // 90 samples of 1 ms over 100 operations for each 1,000 classes.
        assert!(
            (functions.path[1].share - 0.9).abs() < 1e-9
                && (functions.path[1].growth_ns - 900.0).abs() < 1e-6
        );
        assert_eq!(functions.path[2].caller.as_deref(), Some("tc_bind_tclass"));
        let own: Vec<_> = functions.own.iter().map(|growing| growing.function.as_str()).collect();
        assert_eq!(own, ["htb_walk", "tc_bind_tclass", "flow_indr"], "kmalloc does not grow");
        let sum: f64 = functions.own.iter().map(|growing| growing.share).sum();
        assert!((sum - 1.0).abs() < 1e-9);
        // 60 samples of 1 ms over 100 operations.
        assert!((functions.own[0].us[0].unwrap() - 600.0).abs() < 1e-9);
    }

    #[test]
    fn others_stacks_and_too_few_samples_say_nothing() {
        let words = |text: &str| text.split(';').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(request(words("entry;netlink_sendmsg;tc_ctl_tclass;x")), Some(words("tc_ctl_tclass;x")));
        assert_eq!(request(words("entry;do_futex")), None);
        assert!(growing(&[stage(1.0, &[("tc_ctl_tclass", 5)])]).is_err());
        assert!(growing(&[stage(1.0, &[("tc_ctl_tclass", 500)])]).is_err(), "one size has no growth");
    }
}
