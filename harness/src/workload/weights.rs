//! `--weights create=20,change=40,read=20,delete=20`.

use std::fmt;
use std::str::FromStr;

/// How often `lifecycle` chooses each operation, relative to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// Create a class.
    pub create: u32,
    /// Change one.
    pub change: u32,
    /// Read one.
    pub read: u32,
    /// Delete one.
    pub delete: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self { create: 20, change: 40, read: 20, delete: 20 }
    }
}

impl Weights {
    /// The sum of the weights; positive.
    pub fn total(self) -> u64 {
        [self.create, self.change, self.read, self.delete].into_iter().map(u64::from).sum()
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "create={},change={},read={},delete={}", self.create, self.change, self.read, self.delete)
    }
}

impl FromStr for Weights {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = Self { create: 0, change: 0, read: 0, delete: 0 };
        let mut seen = Vec::new();
        for part in text.split(',') {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{part}` is not NAME=WEIGHT, as in create=20"))?;
            let value = value
                .trim()
                .parse()
                .map_err(|_| format!("the weight `{value}` is not a whole number from 0 to {}", u32::MAX))?;
            if seen.contains(&name.trim()) {
                return Err(format!("`{}` is given twice", name.trim()));
            }
            seen.push(name.trim());
            match name.trim() {
                "create" => weights.create = value,
                "change" => weights.change = value,
                "read" => weights.read = value,
                "delete" => weights.delete = value,
                other => return Err(format!("`{other}` is none of create, change, read and delete")),
            }
        }
        if weights.total() == 0 {
            return Err("at least one weight must be above 0".into());
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_displayed_parses_to_the_same() {
        let weights = Weights::default();
        assert_eq!(weights.to_string().parse(), Ok(weights));
    }

    #[test]
    fn a_missing_name_weighs_nothing_and_nonsense_is_refused() {
        assert_eq!("read=1".parse(), Ok(Weights { create: 0, change: 0, read: 1, delete: 0 }));
        for text in ["", "read", "read=-1", "write=1", "read=0", "read=1,,", "read=1,read=2"] {
            text.parse::<Weights>().expect_err(text);
        }
    }
}
