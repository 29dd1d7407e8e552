//! What this machine can do for tracing, found out by doing it.

use std::{fs, path::Path};

use aya::{
    Btf, Ebpf,
    programs::{FEntry, FExit, KProbe},
};

use crate::{
    attach::{CPU_CLOCK, Options, TRACEPOINTS, refused},
    bytes,
    error::{Error, one_line},
    kallsyms::{self, Symbol},
    sampling::Sampler,
    tracefs,
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

/// Function on which the programs without a purpose are tried. Nothing calls it often.
const TRIED_FUNCTION: &str = "rtnl_lock";

/// Tries everything. Attaches probes for a moment and leaves nothing behind. Works without privileges, and then says that it
/// could not tell.
pub fn capabilities() -> Vec<Capability> {
    let mut found = vec![privileges(), kernel_btf(), kernel_functions(), rtnl_symbol()];
    let tracefs = tracefs::root();
    found.push(match &tracefs {
        Ok(path) => Capability::new("tracefs", Support::Supported, path.display().to_string()),
        Err(unavailable) => Capability {
            advice: unavailable.advice.clone(),
            ..Capability::new("tracefs", Support::Unsupported, &unavailable.reason)
        },
    });
    match bytes::load(Options::default().ring_buffer_bytes, 0) {
        Ok(mut ebpf) => {
            found.push(Capability::new("BPF ring buffer and maps", Support::Supported, "created"));
            found.extend(tracepoints(
                &mut ebpf,
                tracefs.as_deref().map_err(|unavailable| unavailable.reason.as_str()),
            ));
            found.push(sampling(&mut ebpf));
            found.extend(attach_kinds(&mut ebpf));
        }
        Err(error) => {
            let state = if found[0].state == Support::Supported {
                Support::Unsupported
            } else {
                Support::CouldNotTell
            };
            let advice = found[0].advice.clone();
            let reason = refused(&error).reason;
            found.push(Capability { advice, ..Capability::new("BPF ring buffer and maps", state, reason) });
            let names = TRACEPOINTS.iter().map(crate::attach::Tracepoint::label);
            for name in names.chain([CPU_CLOCK, "kprobe", "fentry", "fexit"].map(str::to_owned)) {
                found.push(Capability::new(&name, Support::CouldNotTell, "no BPF program could be loaded"));
            }
        }
    }
    found
}

fn tracepoints(ebpf: &mut Ebpf, tracefs: Result<&Path, &str>) -> Vec<Capability> {
    let tried = TRACEPOINTS.iter().map(|point| match tracefs {
        Ok(tracefs) => Capability::tried(&point.label(), point.attach(ebpf, tracefs).map(|()| "attached")),
        Err(reason) => Capability::new(&point.label(), Support::CouldNotTell, reason),
    });
    tried.collect()
}

fn sampling(ebpf: &mut Ebpf) -> Capability {
    let hz = Options::default().sample_hz.unwrap_or(1);
    let outcome =
        Sampler::prepare(ebpf, hz).map(|_| "kernel stacks can be sampled").map_err(|error| error.to_string());
    Capability::tried(CPU_CLOCK, outcome)
        .advise("look at kernel.perf_event_paranoid and kernel.perf_event_max_sample_rate")
}

fn attach_kinds(ebpf: &mut Ebpf) -> [Capability; 3] {
    let btf = Btf::from_sys_fs().map_err(|error| error.to_string());
    let outcome = |result: Result<(), Error>| match result {
        Ok(()) => Ok("attached to rtnl_lock()"),
        Err(Error::Program(error)) => Err(one_line(&error)),
        Err(error) => Err(error.to_string()),
    };
    let fentry = btf.as_ref().map_err(Clone::clone).and_then(|btf| outcome(try_fentry(ebpf, btf)));
    let fexit = btf.as_ref().map_err(Clone::clone).and_then(|btf| outcome(try_fexit(ebpf, btf)));
    [
        Capability::tried("kprobe", outcome(try_kprobe(ebpf))),
        Capability::tried("fentry", fentry),
        Capability::tried("fexit", fexit),
    ]
}

fn try_kprobe(ebpf: &mut Ebpf) -> Result<(), Error> {
    let program: &mut KProbe = program(ebpf, "try_kprobe")?.try_into()?;
    program.load()?;
    let link = program.attach(TRIED_FUNCTION, 0)?;
    Ok(program.detach(link)?)
}

fn try_fentry(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), Error> {
    let program: &mut FEntry = program(ebpf, "try_fentry")?.try_into()?;
    program.load(TRIED_FUNCTION, btf)?;
    let link = program.attach()?;
    Ok(program.detach(link)?)
}

fn try_fexit(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), Error> {
    let program: &mut FExit = program(ebpf, "try_fexit")?.try_into()?;
    program.load(TRIED_FUNCTION, btf)?;
    let link = program.attach()?;
    Ok(program.detach(link)?)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut aya::programs::Program, Error> {
    ebpf.program_mut(name).ok_or(Error::Missing(name))
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

fn kernel_btf() -> Capability {
    let outcome = Btf::from_sys_fs().map(|_| "/sys/kernel/btf/vmlinux").map_err(|error| error.to_string());
    Capability::tried("kernel BTF", outcome).advise("a kernel built with CONFIG_DEBUG_INFO_BTF has it")
}

fn kernel_functions() -> Capability {
    symbol(
        "kernel function addresses",
        TRIED_FUNCTION,
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
        assert!(found.iter().any(|capability| capability.name == "syscalls:sys_enter_sendto"));
        for capability in found {
            assert!(!capability.detail.contains('\n') && !capability.detail.is_empty(), "{capability:?}");
        }
    }
}
