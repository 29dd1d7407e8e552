//! How often each operation is chosen: `--weights create=20,change=40,read=20,delete=20`, or a profile's `[mix]`.

use std::fmt;
use std::str::FromStr;

use super::OperationKind;

/// The operations that can be chosen, by their names in a mix. Those on classes leave `class-` out.
const NAMES: [(&str, OperationKind); 14] = [
    ("create", OperationKind::ClassCreate),
    ("change", OperationKind::ClassChange),
    ("read", OperationKind::ClassRead),
    ("delete", OperationKind::ClassDelete),
    ("dump", OperationKind::ClassDump),
    ("dump-cold", OperationKind::ClassDumpCold),
    ("filter-create", OperationKind::FilterCreate),
    ("filter-delete", OperationKind::FilterDelete),
    ("filter-dump", OperationKind::FilterDump),
    ("filter-dump-cold", OperationKind::FilterDumpCold),
    ("error-exists", OperationKind::ErrorExists),
    ("error-missing", OperationKind::ErrorMissing),
    ("error-invalid", OperationKind::ErrorInvalid),
    ("error-no-device", OperationKind::ErrorNoDevice),
];

/// The first of [`NAMES`], which every mix shows, with or without weight.
const ALWAYS_SHOWN: usize = 4;

/// How often operations are chosen, relative to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix([u32; NAMES.len()]);

impl Default for Mix {
    fn default() -> Self {
        Self::of_classes(20, 40, 20, 20)
    }
}

impl Mix {
    /// Classes are created, changed, read and deleted.
    pub fn of_classes(create: u32, change: u32, read: u32, delete: u32) -> Self {
        let mut weights = [0; NAMES.len()];
        weights[..ALWAYS_SHOWN].copy_from_slice(&[create, change, read, delete]);
        Self(weights)
    }

    /// From names and weights, as a file has them.
    ///
    /// # Errors
    ///
    /// A name that is none, or given twice, or no weight above 0 at all; in words.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, u32)>) -> Result<Self, String> {
        let mut weights = [None; NAMES.len()];
        for (name, weight) in pairs {
            let position = NAMES.iter().position(|(known, _)| *known == name).ok_or_else(|| {
                let names: Vec<_> = NAMES.iter().map(|(known, _)| *known).collect();
                format!("`{name}` is none of {}", names.join(", "))
            })?;
            if weights[position].replace(weight).is_some() {
                return Err(format!("`{name}` is given twice"));
            }
        }
        let mix = Self(weights.map(Option::unwrap_or_default));
        if mix.total() == 0 {
            return Err("at least one weight must be above 0".into());
        }
        Ok(mix)
    }

    /// The sum of the weights; positive.
    pub fn total(self) -> u64 {
        self.0.into_iter().map(u64::from).sum()
    }

    /// The operations that can be drawn, by their names in a mix.
    pub fn chosen(self) -> impl Iterator<Item = (&'static str, OperationKind)> {
        NAMES.into_iter().zip(self.0).filter(|(_, weight)| *weight > 0).map(|(named, _)| named)
    }

    /// The operation that a ticket below [`Self::total`] stands for.
    pub fn drawn(self, ticket: u64) -> OperationKind {
        let mut left = ticket;
        for ((_, kind), weight) in NAMES.iter().zip(self.0) {
            match left.checked_sub(u64::from(weight)) {
                Some(rest) => left = rest,
                None => return *kind,
            }
        }
        OperationKind::ClassRead
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(position, (_, weight)): &(usize, (_, u32))| *position < ALWAYS_SHOWN || *weight > 0;
        let parts = NAMES.iter().zip(self.0).enumerate().filter(shown);
        let parts: Vec<_> = parts.map(|(_, ((name, _), weight))| format!("{name}={weight}")).collect();
        f.write_str(&parts.join(","))
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pairs: Result<Vec<_>, String> = text
            .split(',')
            .map(|part| {
                let (name, value) = part
                    .split_once('=')
                    .ok_or_else(|| format!("`{part}` is not NAME=WEIGHT, as in create=20"))?;
                let weight = value.trim().parse().map_err(|_| {
                    format!("the weight `{value}` is not a whole number from 0 to {}", u32::MAX)
                })?;
                Ok((name.trim(), weight))
            })
            .collect();
        Self::from_pairs(pairs?)
    }
}

#[cfg(test)]
mod tests {
    use OperationKind::{ClassChange, ClassDump, ErrorNoDevice};

    use super::*;

    #[test]
    fn what_is_displayed_parses_to_the_same() {
        assert_eq!(Mix::default().to_string(), "create=20,change=40,read=20,delete=20");
        for mix in [Mix::default(), "read=1,dump=2,error-invalid=3".parse().unwrap()] {
            assert_eq!(mix.to_string().parse(), Ok(mix));
        }
    }

    #[test]
    fn a_missing_name_weighs_nothing_and_nonsense_is_refused() {
        assert_eq!("read=1".parse(), Ok(Mix::of_classes(0, 0, 1, 0)));
        for text in ["", "read", "read=-1", "write=1", "read=0", "read=1,,", "read=1,read=2"] {
            text.parse::<Mix>().expect_err(text);
        }
    }

    #[test]
    fn each_operation_has_as_many_tickets_as_its_weight() {
        let mix: Mix = "change=1,dump=2,error-no-device=3".parse().unwrap();
        let drawn: Vec<_> = (0..mix.total()).map(|ticket| mix.drawn(ticket)).collect();
        let expected = [ClassChange, ClassDump, ClassDump, ErrorNoDevice, ErrorNoDevice, ErrorNoDevice];
        assert_eq!(drawn, expected);
    }
}
