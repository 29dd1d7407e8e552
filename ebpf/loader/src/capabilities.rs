//! What this machine can do for tracing, found out by doing it.

use std::fs;

use ebpf_common::{Cookie, Offsets, Settings};

use crate::{
    attach,
    attach_points::Wanted,
    error::Unavailable,
    kallsyms::{self, Symbol},
    kind::ProbeKind,
    lockdown,
    probes::{CPU_CLOCK, Options},
    report::ProbeState,
    sampling::Sampler,
    structures, tracefs,
};

/// Whether the kernel can do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Support {
    /// It was done.
    Supported,
    /// The kernel refused, or has no such thing.
    Unsupported,
    /// It could not be tried.
    CouldNotTell,
}

/// One thing that tracing may need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// What it is.
    pub name: String,
    /// Whether it works.
    pub state: Support,
    /// What was found, or why not; one line.
    pub detail: String,
    /// What would help, where that is known.
    pub advice: Option<String>,
}

impl Capability {
    fn new(name: &str, state: Support, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, detail: detail.into(), advice: None }
    }

    fn tried(name: &str, outcome: Result<&str, String>) -> Self {
        match outcome {
            Ok(detail) => Self::new(name, Support::Supported, detail),
            Err(reason) => Self::new(name, Support::Unsupported, reason),
        }
    }

    fn advise(mut self, advice: &str) -> Self {
        if self.state != Support::Supported {
            self.advice = Some(advice.to_owned());
        }
        self
    }
}

/// A function whose address every kernel that shows addresses shows.
const ANY_FUNCTION: &str = "rtnl_lock";

/// Tries everything. Attaches probes for a moment and leaves nothing behind. Works without privileges, and then says that it
/// could not tell.
pub fn capabilities() -> Vec<Capability> {
    let mut found = vec![privileges(), kernel_lockdown(), kernel_btf(), kernel_functions(), rtnl_symbol()];
    let tracefs = tracefs::root();
    found.push(match &tracefs {
        Ok(path) => Capability::new("tracefs", Support::Supported, path.display().to_string()),
        Err(unavailable) => Capability {
            advice: unavailable.advice.clone(),
            ..Capability::new("tracefs", Support::Unsupported, &unavailable.reason)
        },
    });
    match load() {
        Ok(mut ebpf) => {
            found.push(Capability::new("BPF ring buffer and maps", Support::Supported, "created"));
            found.push(sampling(&mut ebpf));
            found.extend(ProbeKind::IN_ORDER_OF_PREFERENCE.into_iter().flat_map(probes));
        }
        Err(Unavailable { reason, .. }) => {
            let state = if found[0].state == Support::Supported {
                Support::Unsupported
            } else {
                Support::CouldNotTell
            };
            let advice = found[0].advice.clone();
            found.push(Capability { advice, ..Capability::new("BPF ring buffer and maps", state, reason) });
            let kinds = ProbeKind::IN_ORDER_OF_PREFERENCE.map(name_of);
            for name in [CPU_CLOCK.to_owned()].into_iter().chain(kinds) {
                found.push(Capability::new(&name, Support::CouldNotTell, "no BPF program could be loaded"));
            }
        }
    }
    found
}

fn load() -> Result<aya::Ebpf, Unavailable> {
    let bytes = Options::default().ring_buffer_bytes;
    attach::load(bytes, Cookie::default(), Offsets::NONE, Settings::default())
}

fn name_of(kind: ProbeKind) -> String {
    format!("{kind} probes")
}

/// A row for the kind, and one for each of its probes that cannot be had although others can.
fn probes(kind: ProbeKind) -> Vec<Capability> {
    let wanted = Wanted { in_parts: true, ..Wanted::default() };
    let attached = load().and_then(|ebpf| attach::attach(ebpf, kind, wanted));
    let probes = match attached {
        Ok(attached) => attached.probes,
        Err(Unavailable { reason, advice }) => {
            return vec![Capability {
                advice,
                ..Capability::new(&name_of(kind), Support::Unsupported, reason)
            }];
        }
    };
    let (can, cannot): (Vec<ProbeState>, Vec<ProbeState>) =
        probes.into_iter().partition(|probe| probe.attached);
    let names: Vec<_> = can.iter().map(|probe| probe.name.as_str()).collect();
    let mut found = vec![Capability::new(&name_of(kind), Support::Supported, names.join(", "))];
    found.extend(cannot.into_iter().map(|probe| {
        let reason = probe.reason.unwrap_or_default();
        // What is not loaded yet may work once it is.
        let state = if reason.contains("module") { Support::CouldNotTell } else { Support::Unsupported };
        Capability::new(&probe.name, state, reason)
    }));
    found
}

fn sampling(ebpf: &mut aya::Ebpf) -> Capability {
    let hz = Options::default().sample_hz.unwrap_or(1);
    let outcome =
        Sampler::prepare(ebpf, hz).map(|_| "kernel stacks can be sampled").map_err(|error| error.to_string());
    Capability::tried(CPU_CLOCK, outcome)
        .advise("look at kernel.perf_event_paranoid and kernel.perf_event_max_sample_rate")
}

/// Bits of the capability sets, include/uapi/linux/capability.h.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

fn privileges() -> Capability {
    const NAME: &str = "privileges";
    let Some(set) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(effective_capabilities)
    else {
        return Capability::new(NAME, Support::CouldNotTell, "/proc/self/status shows no capabilities");
    };
    let has = |bit: u32| set & 1 << bit != 0;
    match (has(CAP_SYS_ADMIN), has(CAP_BPF) && has(CAP_PERFMON)) {
        (true, _) => Capability::new(NAME, Support::Supported, "CAP_SYS_ADMIN"),
        (false, true) => Capability::new(NAME, Support::Supported, "CAP_BPF and CAP_PERFMON"),
        (false, false) => {
            Capability::new(NAME, Support::Unsupported, "neither CAP_SYS_ADMIN nor CAP_BPF with CAP_PERFMON")
                .advise("run it as root")
        }
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn kernel_lockdown() -> Capability {
    const NAME: &str = "kernel lets BPF read its memory";
    match lockdown::mode() {
        Some(mode) if mode == lockdown::CONFIDENTIALITY => {
            Capability::new(NAME, Support::Unsupported, format!("lockdown is at {mode}"))
                .advise("boot with lockdown=integrity, or without secure boot")
        }
        Some(mode) => Capability::new(NAME, Support::Supported, format!("lockdown is at {mode}")),
        None => Capability::new(NAME, Support::CouldNotTell, "/sys/kernel/security/lockdown cannot be read"),
    }
}

fn kernel_btf() -> Capability {
    let outcome = structures::offsets().map(|_| structures::KERNEL_BTF);
    Capability::tried("kernel BTF", outcome).advise("a kernel built with CONFIG_DEBUG_INFO_BTF has it")
}

fn kernel_functions() -> Capability {
    symbol(
        "kernel function addresses",
        ANY_FUNCTION,
        "kernel stacks have no names without them: set kernel.kptr_restrict to 0 or 1 and run as root",
    )
}

fn rtnl_symbol() -> Capability {
    symbol("address of RTNL", "rtnl_mutex", "not needed: it is found by provoking contention instead")
}

fn symbol(name: &str, symbol: &str, advice: &str) -> Capability {
    let capability = match kallsyms::find(&[symbol]) {
        Ok(Symbol::At(_)) => {
            Capability::new(name, Support::Supported, format!("/proc/kallsyms shows {symbol}"))
        }
        Ok(Symbol::Hidden) => {
            Capability::new(name, Support::Unsupported, format!("/proc/kallsyms hides where {symbol} is"))
        }
        Ok(Symbol::Absent) => {
            Capability::new(name, Support::Unsupported, format!("/proc/kallsyms has no {symbol}"))
        }
        Err(error) => Capability::new(name, Support::CouldNotTell, format!("/proc/kallsyms: {error}")),
    };
    capability.advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status_file() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001fffeffffff\nCapBnd:\t0\n";
        assert_eq!(effective_capabilities(status), Some(0x1ff_feff_ffff));
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn every_capability_is_said_in_one_line() {
        let found = capabilities();
        assert!(found.iter().any(|capability| capability.name == "tracepoint probes"));
        for capability in found {
            assert!(!capability.detail.contains('\n') && !capability.detail.is_empty(), "{capability:?}");
        }
    }
}
