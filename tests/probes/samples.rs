//! Where requests wait, and what whoever holds RTNL does meanwhile.

use std::{
    collections::HashMap,
    fs,
    io::Read as _,
    ops::{ControlFlow, Range},
    time::{Duration, Instant},
};

use ebpf_loader::{
    Found, Options, Probes, RtnlLock, SAMPLE_FOLLOWED, SAMPLE_HOLDS_RTNL, SAMPLE_OFF_CPU, SAMPLE_ON_CPU,
    SAMPLE_RTNL_WAIT, SampleEvent,
};
use libtest_mimic::Failed;

use crate::{
    contention::CONTENDER,
    machine::{self, Other, Role, device_with_htb},
    requests::Socket,
    stacks::function_range,
};

const LOAD: Duration = Duration::from_secs(2);

/// A request's waits, as its event has them and as its samples add up: for RTNL, and off the CPU.
#[derive(Debug, Default, PartialEq, Eq)]
struct Waits {
    by_event: (u64, u64),
    by_samples: (u64, u64),
}

#[derive(Default)]
struct Seen {
    requests: HashMap<(u32, u64), Waits>,
    samples: Vec<SampleEvent>,
}

impl Seen {
    fn read(&mut self, probes: &mut Probes) {
        probes.drain_all(|found| {
            match found {
                Found::Request(seen) => {
                    let event = seen.event;
                    let waits = self.requests.entry((event.tid, event.start_ns)).or_default();
                    waits.by_event = (event.rtnl_wait_ns, event.off_cpu_ns);
                }
                Found::Sample(sample) => {
                    self.samples.push(*sample);
                    if sample.request_start_ns != 0 {
                        let waits = self.requests.entry((sample.tid, sample.request_start_ns)).or_default();
                        match sample.kind {
                            SAMPLE_RTNL_WAIT => waits.by_samples.0 += sample.wait_ns,
                            SAMPLE_OFF_CPU => waits.by_samples.1 += sample.wait_ns,
                            _ => {}
                        }
                    }
                }
            }
            ControlFlow::Continue(())
        });
    }

    fn of(&self, kind: u16, flags: u16) -> impl Iterator<Item = &SampleEvent> {
        self.samples.iter().filter(move |sample| sample.kind == kind && sample.flags & flags == flags)
    }
}

pub(crate) fn samples_say_where_requests_wait_and_what_the_holder_does() -> Result<(), Failed> {
    let device = device_with_htb()?;
    let mut socket = Socket::open()?;
    socket.add_class(device, 1)?;
    let mut probes = machine::attach(&Options { stacks: true, ..Options::default() })?;
    if !probes.report().measures_rtnl_wait() || !probes.report().measures_off_cpu() {
        return Err(format!("waits are not measured: {}", probes.report()).into());
    }
    probes.start_sampling()?;
    let mut contender = Other::start(Role::Contender)?;
    contender.0.stdout.as_mut().ok_or("no pipe")?.read_exact(&mut [0])?;
    let mut seen = Seen::default();
    machine::on_cpu(0, || {
        let end = Instant::now() + LOAD;
        while Instant::now() < end {
            for rate in 125_000..125_100 {
                socket.change_class(device, 1, rate)?;
            }
            seen.read(&mut probes);
        }
        Ok(())
    })?;
    drop(contender);
    seen.read(&mut probes);
    let counters = probes.counters()?;
    assert_eq!((counters.lost(), counters.lost_samples), (0, 0), "{counters:?}");
    // Each wait gave its sample, and nothing is counted twice.
    for (request, waits) in &seen.requests {
        assert_eq!(waits.by_event, waits.by_samples, "request {request:?}");
    }
    let waited: u64 = seen.requests.values().map(|waits| waits.by_event.0).sum();
    assert!(waited > 20_000_000, "{waited} ns of waiting in {} requests", seen.requests.len());
    let stack = |number: i32| probes.stack(number);
    let handler = function_range("rtnetlink_rcv_msg")?;
    let code = code()?;
    // A request waits inside rtnetlink, and a system call of this process leads there. How far its stack goes from there is up to the
    // frame pointers of whoever has compiled the C library.
    let mut places = [0_u32; 3];
    for sample in seen.of(SAMPLE_RTNL_WAIT, SAMPLE_FOLLOWED) {
        places[0] += 1;
        places[1] += u32::from(stack(sample.kernel_stack)?.iter().any(|frame| handler.contains(frame)));
        places[2] += u32::from(
            stack(sample.user_stack)?
                .first()
                .is_some_and(|leaf| code.iter().any(|range| range.contains(leaf))),
        );
    }
    assert!(places[0] > 20 && places[1] * 10 > places[0] * 9 && places[2] * 10 > places[0] * 9, "{places:?}");
    assert!(seen.of(SAMPLE_ON_CPU, SAMPLE_FOLLOWED).count() > 20, "the timer finds us");
    if !matches!(probes.report().rtnl_lock, RtnlLock::AnyMutex { .. }) && probes.report().tells_holders() {
        let held: Vec<_> =
            seen.of(SAMPLE_ON_CPU, SAMPLE_HOLDS_RTNL).filter(|sample| sample.comm() == CONTENDER).collect();
        let handler = function_range("tc_ctl_tclass")?;
        let mut inside = 0;
        for sample in &held {
            inside += usize::from(stack(sample.kernel_stack)?.iter().any(|frame| handler.contains(frame)));
        }
        assert!(held.len() > 20 && inside * 10 > held.len() * 9, "{inside} of {}", held.len());
        assert!(held.iter().all(|sample| sample.flags & SAMPLE_FOLLOWED == 0), "it is not followed");
    }
    assert!(seen.samples.iter().all(|sample| sample.kind == SAMPLE_ON_CPU || sample.wait_ns > 0));
    Ok(())
}

/// Where this process's code is.
fn code() -> Result<Vec<Range<u64>>, Failed> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let executable = maps.lines().filter(|line| line.contains("r-xp"));
    executable
        .map(|line| {
            let range = line.split_whitespace().next().and_then(|range| range.split_once('-'));
            let (start, end) = range.ok_or("no range")?;
            Ok(u64::from_str_radix(start, 16)?..u64::from_str_radix(end, 16)?)
        })
        .collect()
}
