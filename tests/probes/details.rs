//! What a request was about, as the probes read it.

use std::{ops::ControlFlow, os::linux::fs::MetadataExt as _};

use ebpf_loader::{Detail, KNOWN_MESSAGE, KNOWN_NETNS, KNOWN_VERDICT, Options, ProbeKind, RequestEvent};
use libtest_mimic::Failed;
use nix::libc;
use support::kernel_is_at_least;

use crate::{
    machine::{self, device_with_htb},
    requests::Socket,
};

/// Whether the verdict is to be had: with tracepoints it is read where the socket has sent, which older kernels do not show.
fn tells_verdicts(kind: ProbeKind) -> Result<bool, Failed> {
    Ok(kind.tells_messages_apart() || kernel_is_at_least(6, 3)?)
}

pub(crate) fn details_say_what_a_request_is_about() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let options = Options { details: true, sample_hz: None, ..Options::default() };
    let mut probes = machine::attach(&options)?;
    let mut socket = Socket::open()?;
    socket.add_class(device, 0x10)?;
    let refused = socket.add_class(device, 0x10).err().ok_or("a class was added twice")?;
    socket.delete_class(device, 0x10)?;
    let gone = socket.delete_class(device, 0x10).err().ok_or("a class was deleted twice")?;
    let errnos = [refused.raw_os_error(), gone.raw_os_error()];
    assert_eq!(errnos, [Some(libc::EEXIST), Some(libc::ENOENT)]);
    let mut seen: Vec<(RequestEvent, Detail)> = Vec::new();
    let mut texts = Vec::new();
    let read = probes.drain_detailed(|one| {
        texts.push(one.ext_ack.map(str::to_owned));
        seen.extend(one.detail.map(|detail| (*one.event, *detail)));
        ControlFlow::Continue(())
    });
    assert_eq!((read, seen.len()), (4, 4), "each with its detail");
    let netns = std::fs::metadata("/proc/thread-self/ns/net")?.st_ino();
    let thread = std::fs::read_to_string("/proc/thread-self/comm")?;
    let verdicts = tells_verdicts(probes.report().kind)?;
    // Where only the system call's exit is seen, nothing says which socket it was.
    let place = verdicts;
    for ((_, detail), verdict) in seen.iter().zip([0, -libc::EEXIST, 0, -libc::ENOENT]) {
        assert!(detail.knows(KNOWN_MESSAGE), "{detail:?}");
        assert_eq!(
            (detail.ifindex, detail.handle, detail.parent),
            (device, 0x1_0010, 0x1_0000),
            "{detail:?}"
        );
        assert_eq!(detail.comm(), Some(thread.trim_end()), "{detail:?}");
        assert_eq!(detail.knows(KNOWN_NETNS), place, "{detail:?}");
        assert!(!place || u64::from(detail.netns) == netns, "{detail:?} in {netns}");
        assert_eq!(detail.knows(KNOWN_VERDICT), verdicts, "{detail:?}");
        assert!(!verdicts || detail.verdict == verdict, "{detail:?} and not {verdict}");
    }
    assert_eq!(seen[0].1.kind(), Some("htb"));
    assert_eq!(seen[2].1.kind(), None, "a deletion names no kind");
    assert_eq!(texts[0], None);
    Ok(())
}

/// Without an acknowledgement nothing tells a tracepoint how it went, and then it is not said to have gone well.
pub(crate) fn a_verdict_that_nobody_asked_for_is_not_made_up() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut probes = machine::attach(&Options { details: true, sample_hz: None, ..Options::default() })?;
    let mut socket = Socket::open()?;
    socket.add_class(device, 1)?;
    probes.drain(|_, _| {});
    socket.change_class_unacknowledged(device, 1)?;
    let mut seen = Vec::new();
    probes.drain_detailed(|one| {
        seen.extend(one.detail.copied());
        ControlFlow::Continue(())
    });
    let [detail] = seen.as_slice() else { return Err(format!("not one request: {seen:?}").into()) };
    assert_eq!(detail.knows(KNOWN_VERDICT), probes.report().kind.tells_messages_apart(), "{detail:?}");
    assert_eq!(detail.verdict, 0, "{detail:?}");
    Ok(())
}
