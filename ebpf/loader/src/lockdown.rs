//! Kernel lockdown (`kernel_lockdown(7)`): what even root may not do.

use std::fs;

/// At this mode nothing may read the kernel's memory, BPF included.
pub(crate) const CONFIDENTIALITY: &str = "confidentiality";

/// The mode that is in force; `None` where securityfs does not show it.
pub(crate) fn mode() -> Option<String> {
    chosen(&fs::read_to_string("/sys/kernel/security/lockdown").ok()?)
}

/// Parses `none [integrity] confidentiality`
fn chosen(modes: &str) -> Option<String> {
    let (_, rest) = modes.split_once('[')?;
    let (mode, _) = rest.split_once(']')?;
    Some(mode.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets_is_in_force() {
        assert_eq!(chosen("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(chosen(""), None);
    }
}
