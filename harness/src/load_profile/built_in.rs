//! The profiles that come with qdiscope.

use super::LoadProfile;

/// A built-in profile: its name and its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// Its file, with comments.
    pub text: &'static str,
}

/// From the lightest to the longest.
pub const BUILT_IN: [BuiltIn; 5] = [
    BuiltIn { name: "smoke", text: include_str!("builtin/smoke.toml") },
    BuiltIn { name: "baseline", text: include_str!("builtin/baseline.toml") },
    BuiltIn { name: "stress", text: include_str!("builtin/stress.toml") },
    BuiltIn { name: "spike", text: include_str!("builtin/spike.toml") },
    BuiltIn { name: "endurance", text: include_str!("builtin/endurance.toml") },
];

impl BuiltIn {
    /// The one of that name.
    pub fn find(name: &str) -> Option<Self> {
        BUILT_IN.into_iter().find(|profile| profile.name == name)
    }

    /// What its file says.
    pub fn profile(self) -> LoadProfile {
        LoadProfile::parse(self.text).expect("each built-in profile is parsed by a test")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Users and length as the performance budget guide of the seeds gives them.
    #[test]
    fn each_is_what_the_seeds_describe() {
        for (name, from, to, minutes) in [
            ("smoke", 10, 20, 2),
            ("baseline", 100, 200, 10),
            ("stress", 500, 1_000, 15),
            ("spike", 1_000, 2_000, 5),
            ("endurance", 200, 200, 60),
        ] {
            let profile = BuiltIn::find(name).unwrap().profile();
            assert_eq!(profile.name, name);
            assert_eq!(profile.length(), Duration::from_secs(minutes * 60), "{name}");
            assert_eq!(profile.most_users(), to, "{name}");
            let judged: Vec<_> = profile.stages.iter().filter(|stage| stage.judged).collect();
            assert!(!judged.is_empty(), "{name}");
            let least = judged.iter().map(|stage| stage.executor.most_users()).min();
            assert_eq!(least, Some(from), "{name}");
        }
    }
}
