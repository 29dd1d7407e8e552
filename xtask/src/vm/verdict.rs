//! What became of a guest.

/// Why waiting for a guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// QEMU ended by itself, well or not.
    Ended { well: bool },
    /// The wall clock's limit, in seconds.
    TimedOut(u64),
    /// So many seconds without any sign of life on the console.
    Stalled(u64),
}

/// What is wrong with a guest, if anything is. The console decides before everything else, since a panic is why the rest is
/// missing.
pub(super) fn fault(wait: Wait, complete: bool, console: &str) -> Option<String> {
    let lines = || console.lines().map(|line| line.trim_end());
    if let Some(panic) = lines().find_map(|line| line.split_once("Kernel panic - not syncing: ")) {
        return Some(format!("the guest's kernel panicked: {}", panic.1));
    }
    match wait {
        Wait::TimedOut(seconds) => {
            Some(format!("the guest was ended, because it had not ended after {seconds} s (--timeout)"))
        }
        Wait::Stalled(seconds) => Some(format!("the guest hung: no sign of life for {seconds} s")),
        Wait::Ended { .. } if !complete => {
            let reason = lines().find_map(|line| line.split_once("cannot go on: "));
            let reason = reason.map(|(_, reason)| format!(": {reason}")).unwrap_or_default();
            Some(format!("the guest ended without all of its results{reason}"))
        }
        Wait::Ended { well: false } => Some("QEMU failed".to_owned()),
        Wait::Ended { well: true } => None,
    }
}

/// The end of a console log, for a person.
pub(super) fn last_lines(console: &str, count: usize) -> String {
    let lines: Vec<_> = console.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Wait = Wait::Ended { well: true };

    #[test]
    fn only_a_guest_with_all_results_is_well() {
        assert_eq!(fault(WELL, true, "guest: all sent\r\n"), None);
        assert!(fault(Wait::Ended { well: false }, true, "").unwrap().contains("QEMU"));
        assert!(fault(WELL, false, "").unwrap().ends_with("without all of its results"));
        let reason = fault(WELL, false, "guest: cannot go on: no virtio port\r\n").unwrap();
        assert!(reason.ends_with("results: no virtio port"), "{reason}");
    }

    #[test]
    fn a_panic_explains_the_rest() {
        let console =
            "[  3.1] sysrq: Trigger a crash\r\n[  3.2] Kernel panic - not syncing: sysrq triggered crash\r\n";
        for wait in [WELL, Wait::Stalled(60), Wait::TimedOut(600)] {
            assert_eq!(
                fault(wait, false, console).as_deref(),
                Some("the guest's kernel panicked: sysrq triggered crash")
            );
        }
        assert!(fault(WELL, true, console).is_some(), "even after all results");
    }

    #[test]
    fn hanging_and_taking_too_long_are_told_apart() {
        assert!(fault(Wait::Stalled(120), false, "").unwrap().contains("no sign of life for 120 s"));
        assert!(fault(Wait::TimedOut(900), false, "").unwrap().contains("--timeout"));
    }

    #[test]
    fn the_last_lines_are_those_with_something_in_them() {
        assert_eq!(last_lines("a\r\nb\r\n\r\nc\r\n", 2), "    b\n    c\n");
        assert_eq!(last_lines("", 2), "");
    }
}
