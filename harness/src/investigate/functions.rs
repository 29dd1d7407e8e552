//! The kernel's functions that took most time, from folded stacks.

use std::collections::BTreeMap;

/// A function, by the samples that hit it and nothing below it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: String,
    /// Of the samples of its workload; percent.
    pub(super) percent: f64,
    /// Its most frequent caller.
    pub(super) caller: String,
}

/// Samples by function and caller.
type Callers<'a> = BTreeMap<&'a str, BTreeMap<&'a str, u64>>;

/// Functions that are listed.
const MOST: usize = 8;

/// The functions of each workload (the stacks' outermost frame), those with most samples first.
pub(super) fn functions(folded: &str) -> BTreeMap<String, Vec<Function>> {
    let mut workloads: BTreeMap<&str, (u64, Callers)> = BTreeMap::new();
    for line in folded.lines() {
        let Some((stack, count)) = line.rsplit_once(' ') else { continue };
        let Ok(count) = count.parse::<u64>() else { continue };
        let frames: Vec<&str> = stack.split(';').collect();
        let [workload, .., function] = frames[..] else { continue };
        let caller = if frames.len() > 2 { frames[frames.len() - 2] } else { "" };
        let (sum, by_name) = workloads.entry(workload).or_default();
        *sum += count;
        *by_name.entry(function).or_default().entry(caller).or_default() += count;
    }
    workloads
        .into_iter()
        .map(|(workload, (sum, by_name))| {
            let mut functions: Vec<(u64, &str, &str)> = by_name
                .into_iter()
                .map(|(name, callers)| {
                    let caller =
                        callers.iter().max_by_key(|(_, count)| **count).map_or("", |(caller, _)| *caller);
                    (callers.values().sum(), name, caller)
                })
                .collect();
            functions.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
            let functions = functions
                .into_iter()
                .take(MOST)
                .map(|(count, name, caller)| Function {
                    name: name.to_owned(),
                    percent: count as f64 / sum as f64 * 100.0,
                    caller: caller.to_owned(),
                })
                .collect();
            (workload.to_owned(), functions)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_frame_counts() {
        let folded = "a;entry;walk;touch 3\na;entry;walk 6\na;other;walk 1\nb;entry;walk 5\nrubbish\n;; x\n";
        let all = functions(folded);
        let names: Vec<_> =
            all["a"].iter().map(|f| (f.name.as_str(), f.percent, f.caller.as_str())).collect();
        assert_eq!(names, [("walk", 70.0, "entry"), ("touch", 30.0, "walk")]);
        assert_eq!(all["b"].len(), 1);
    }
}
