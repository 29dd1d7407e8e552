//! What is measured, at which sizes. Pure.

use std::time::Duration;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Minors are 16 bits, and 0 is the qdisc.
pub const CLASSES_OF_A_DEVICE: u64 = 65_535;

/// What is done to a class.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// `tc class add`.
    Add,
    /// `tc class change`, of classes drawn by chance.
    Change,
    /// `tc class del`.
    Delete,
}

impl Operation {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Delete => "delete",
        }
    }

    /// As the subject of a sentence.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Add => "adds",
            Self::Change => "changes",
            Self::Delete => "deletes",
        }
    }
}

/// Latency against the number of classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Classes {
    /// How many stand at each stage, ascending.
    pub sizes: Vec<u64>,
    /// Over how many devices they are spread; each a measurement of its own.
    pub shards: Vec<u32>,
    /// What is measured.
    pub operations: Vec<Operation>,
    /// How often at each stage.
    pub samples: u32,
    /// How often all is built.
    pub rounds: u32,
    /// When no further stage is begun.
    pub limit: Duration,
    /// Of every random choice.
    pub seed: u64,
}

/// Latency and throughput against the number of callers.
#[derive(Debug, Clone, PartialEq)]
pub struct Workers {
    /// How many at each stage, ascending.
    pub sizes: Vec<u64>,
    /// Over how many devices their classes are spread.
    pub shards: u32,
    /// What they do. Adding and deleting take turns.
    pub operations: Vec<Operation>,
    /// Classes that stand meanwhile.
    pub population: u64,
    /// How long each stage is measured.
    pub window: Duration,
    /// How often.
    pub rounds: u32,
    /// When no further stage is begun.
    pub limit: Duration,
    /// Of every random choice.
    pub seed: u64,
}

/// `count` sizes up to `to`, their square roots evenly spaced: small sizes tell a logarithm, large ones a square.
pub fn stages(to: u64, count: u32) -> Vec<u64> {
    let count = u64::from(count);
    let mut sizes: Vec<u64> =
        (1..=count).map(|stage| (to.saturating_mul(stage * stage) / (count * count)).max(1)).collect();
    sizes.dedup();
    sizes
}

/// A range or a list: `1..16`, `1,2,4,8`.
pub fn parse_sizes(text: &str, most: u64) -> Result<Vec<u64>, String> {
    let number = |text: &str| {
        let number = text.trim().parse::<u64>().ok().filter(|number| (1..=most).contains(number));
        number.ok_or_else(|| {
            format!("`{text}` is no number from 1 to {most}; give a range as 1..16 or a list as 1,2,4,8")
        })
    };
    let mut sizes = match text.split_once("..") {
        Some((from, to)) => (number(from)?..=number(to.trim_start_matches('='))?).collect(),
        None => text.split(',').map(number).collect::<Result<Vec<u64>, _>>()?,
    };
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.is_empty() {
        return Err(format!("`{text}` is empty; give the smaller number first, as in 1..16"));
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_end_where_asked_and_lie_closer_where_it_is_small() {
        let sizes = stages(20_000, 12);
        assert_eq!((sizes.len(), sizes[0], sizes[11]), (12, 138, 20_000));
        assert!(sizes.windows(3).all(|three| three[1] - three[0] < three[2] - three[1]));
        assert_eq!(stages(3, 12), [1, 2, 3]);
        assert_eq!(stages(1, 4), [1]);
    }

    #[test]
    fn sizes_are_ranges_or_lists() {
        assert_eq!(parse_sizes("1..4", 64), Ok(vec![1, 2, 3, 4]));
        assert_eq!(parse_sizes("2..=3", 64), Ok(vec![2, 3]));
        assert_eq!(parse_sizes("8,1, 2,2", 64), Ok(vec![1, 2, 8]));
        assert_eq!(parse_sizes("7", 64), Ok(vec![7]));
        for text in ["0", "0..4", "4..1", "1..65", "", "x", "1..", "-1", "1,,2"] {
            assert!(parse_sizes(text, 64).is_err(), "{text}");
        }
    }
}
