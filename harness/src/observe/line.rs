//! A request as a line for people.

use std::fmt::{self, Write as _};

use nix::errno::Errno;

use super::request::Request;

/// A time as people read it: three digits and a unit.
#[derive(Debug, Clone, Copy)]
pub struct Duration {
    /// Nanoseconds.
    pub ns: u64,
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.ns {
            0..1_000_000 => (self.ns as f64 / 1e3, "µs"),
            1_000_000..1_000_000_000 => (self.ns as f64 / 1e6, "ms"),
            _ => (self.ns as f64 / 1e9, "s"),
        };
        let decimals = match value {
            ..9.995 => 2,
            ..99.95 => 1,
            _ => 0,
        };
        write!(f, "{value:.decimals$} {unit}")
    }
}

/// The times of a request that are shown, none of which is zero.
struct Times(Vec<String>);

impl Times {
    fn add(&mut self, name: &str, microseconds: Option<f64>) -> bool {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it was made from nanoseconds"
        )]
        let ns = microseconds.map_or(0, |microseconds| (microseconds * 1e3).round() as u64);
        if ns != 0 {
            self.0.push(format!("{name} {}", Duration { ns }));
        }
        ns != 0
    }
}

impl Request {
    /// The line, without its end. Time, process, request, total, phases, result.
    pub fn line(&self) -> String {
        format!(
            "{} {} {}{} {}{} = {}",
            self.begun,
            process(self.comm.as_deref(), self.pid),
            self.message_type,
            self.about(),
            Duration { ns: self.total_ns },
            self.phases(),
            self.result()
        )
    }

    fn about(&self) -> String {
        let mut about = plain(&self.words);
        if let Some(kind) = &self.kind {
            about.push(' ');
            about.push_str(&plain(kind));
        }
        if self.dump {
            about.push_str(" (list, first part)");
        }
        match self.messages {
            Some(1) => {}
            // Writing to a string cannot fail, here and below.
            Some(messages) => drop(write!(about, " (first of {messages} messages)")),
            None => about.push_str(" (first of several messages)"),
        }
        about
    }

    fn phases(&self) -> String {
        let phases = &self.phases_us;
        let mut sum = Times(Vec::new());
        if sum.add("rtnl", phases.rtnl_wait)
            && let (Some(holder), Some(waited)) = (&self.holder, sum.0.last_mut())
        {
            let _ = write!(waited, " behind {}", process(Some(&holder.comm), holder.pid));
        }
        sum.add("off CPU", phases.off_cpu);
        sum.add("on CPU", phases.on_cpu);
        let mut parts = Times(Vec::new());
        parts.add("handler", phases.handler);
        parts.add("qdisc_create", phases.qdisc_create);
        parts.add("class operation", phases.class_operation);
        parts.add("RCU", phases.rcu);
        parts.add("held RTNL", phases.rtnl_hold);
        let groups = [sum.0.join(" + "), parts.0.join(", ")];
        let groups: Vec<&str> = groups.iter().map(String::as_str).filter(|group| !group.is_empty()).collect();
        if groups.is_empty() { String::new() } else { format!(" ({})", groups.join("; ")) }
    }

    fn result(&self) -> String {
        let mut result = match self.errno {
            Some(0) => "ok".to_owned(),
            Some(errno) => errno_name(errno),
            None => "?".to_owned(),
        };
        if let Some(text) = &self.ext_ack {
            let _ = write!(result, " \"{}\"", plain(text));
        }
        result
    }
}

/// `EEXIST`; the kernel has errnos of its own, which have no names elsewhere.
pub(super) fn errno_name(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => format!("errno {errno}"),
        known => format!("{known:?}"),
    }
}

fn process(comm: Option<&str>, pid: u32) -> String {
    format!("{}[{pid}]", comm.map_or_else(|| "?".to_owned(), plain))
}

/// Whoever gave a name, to a thread or to a device, may have meant it for the reader's terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use ebpf_loader::RequestEvent;

    use super::super::request::tests::{described, refused};
    use super::*;

    fn after_the_time(request: &Request) -> String {
        request.line().split_once(' ').unwrap().1.to_owned()
    }

    #[test]
    fn a_line_says_who_what_how_long_and_how_it_went() {
        let (event, detail) = refused();
        assert_eq!(
            after_the_time(&described(&event, &detail, Some("Class\nthere"))),
            "tc[42] RTM_NEWTCLASS dev eth0 parent 1: classid 1:10 htb 14.2 µs \
             (rtnl 3.10 µs behind other[7] + off CPU 2.00 µs + on CPU 9.10 µs) = EEXIST \"Class\u{fffd}there\""
        );
        let quiet =
            RequestEvent { rtnl_wait_ns: 0, rtnl_contentions: 0, off_cpu_ns: 0, messages: 3, ..event };
        let mut fine = described(&quiet, &detail, None);
        fine.errno = None;
        assert_eq!(
            after_the_time(&fine),
            "tc[42] RTM_NEWTCLASS dev eth0 parent 1: classid 1:10 htb (first of 3 messages) 14.2 µs \
             (on CPU 14.2 µs) = ?"
        );
    }

    #[test]
    fn times_have_three_digits() {
        let shown = |ns| Duration { ns }.to_string();
        assert_eq!(shown(120), "0.12 µs");
        assert_eq!(shown(9_999), "10.0 µs");
        assert_eq!(shown(123_456), "123 µs");
        assert_eq!(shown(1_234_567), "1.23 ms");
        assert_eq!(shown(12_345_678_901), "12.3 s");
    }

    #[test]
    fn errnos_have_their_names() {
        assert_eq!(errno_name(17), "EEXIST");
        // ENOTSUPP, include/linux/errno.h
        assert_eq!(errno_name(524), "errno 524");
    }
}
