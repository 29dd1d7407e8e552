//! Attaching one kind's probes.

use std::{io, path::PathBuf};

use aya::{
    Btf, Ebpf,
    programs::{
        FEntry, FExit, KProbe, Program, ProgramError, ProgramFd, RawTracePoint, TracePoint,
        kprobe::KProbeError,
    },
};
use ebpf_common::{Cookie, Offsets, Settings};

use crate::{
    attach_points::{Plan, Point, Probe, Target, Wanted},
    bytes,
    error::{Error, Unavailable, one_line, with_causes},
    kind::ProbeKind,
    report::ProbeState,
    tracefs,
};

/// One kind's programs, attached.
pub(crate) struct Attached {
    pub(crate) ebpf: Ebpf,
    pub(crate) probes: Vec<ProbeState>,
    /// The programs that begin and end requests.
    pub(crate) endpoints: Vec<ProgramFd>,
}

/// What attaching needs of the machine.
struct Machine {
    tracefs: Result<PathBuf, Unavailable>,
    btf: Result<Btf, String>,
}

/// Maps and programs, not yet attached.
pub(crate) fn load(
    ring_buffer_bytes: u32,
    cookie: Cookie,
    offsets: Offsets,
    settings: Settings,
) -> Result<Ebpf, Unavailable> {
    bytes::load(ring_buffer_bytes, cookie, offsets, settings).map_err(|error| {
        Unavailable::because(format!("the probes' maps cannot be created: {}", with_causes(&error)))
    })
}

/// Attaches what this kernel lets us attach of `kind`.
///
/// # Errors
///
/// What is essential cannot be attached. That is tried first, so that a kind that does not work here costs little time.
pub(crate) fn attach(mut ebpf: Ebpf, kind: ProbeKind, wanted: Wanted) -> Result<Attached, Unavailable> {
    if kind == ProbeKind::Kprobe && !cfg!(target_arch = "x86_64") {
        return Err(Unavailable::because("the compiled kprobes read the registers of x86-64".to_owned()));
    }
    let machine = Machine {
        tracefs: tracefs::root(),
        btf: match kind {
            ProbeKind::Fexit => Btf::from_sys_fs().map_err(|error| with_causes(&error)),
            ProbeKind::Kprobe | ProbeKind::Tracepoint => Err("not needed".to_owned()),
        },
    };
    let plan = Plan::of(kind, wanted);
    let mut probes = Vec::new();
    let mut endpoints = Vec::new();
    for probe in &plan.essential {
        let (name, points) = machine.attach(&mut ebpf, probe).map_err(|(name, reason)| {
            let unavailable = Unavailable::because(format!("{name}: {reason}"));
            match machine.advice(probe) {
                None => unavailable,
                advice => Unavailable { advice, ..unavailable },
            }
        })?;
        for point in points {
            endpoints.push(
                descriptor(&ebpf, point.program).map_err(|error| Unavailable::because(error.to_string()))?,
            );
        }
        probes.push(ProbeState { name, attached: true, reason: None });
    }
    for probe in &plan.optional {
        probes.push(match machine.attach(&mut ebpf, probe) {
            Ok((name, _)) => ProbeState { name, attached: true, reason: None },
            Err((name, reason)) => ProbeState { name, attached: false, reason: Some(reason) },
        });
    }
    Ok(Attached { ebpf, probes, endpoints })
}

fn descriptor(ebpf: &Ebpf, program: &'static str) -> Result<ProgramFd, Error> {
    let program = ebpf.program(program).ok_or(Error::Missing(program))?;
    Ok(program.fd()?.try_clone().map_err(ProgramError::IOError)?)
}

/// Name and points of what was attached, or name and reason of what was not.
type Outcome<'a> = Result<(String, &'a [Point]), (String, String)>;

impl Machine {
    /// Attaches a probe, or what is to stand in for it. One that is attached by half is left so: its programs find nothing to do.
    fn attach<'a>(&self, ebpf: &mut Ebpf, probe: &'a Probe) -> Outcome<'a> {
        let tried = probe.points.iter().try_for_each(|point| self.attach_point(ebpf, point));
        let Err(reason) = tried else { return Ok((probe.name.clone(), &probe.points)) };
        let Some(otherwise) = &probe.otherwise else { return Err((probe.name.clone(), reason)) };
        self.attach(ebpf, otherwise)
            .map_err(|(name, other)| (probe.name.clone(), format!("{reason}; {name}: {other}")))
    }

    /// What would help, where a probe needs what the machine does not show.
    fn advice(&self, probe: &Probe) -> Option<String> {
        let on_tracepoint = probe.points.iter().any(|point| matches!(point.to, Target::Tracepoint { .. }));
        self.tracefs.as_ref().err().filter(|_| on_tracepoint)?.advice.clone()
    }

    fn attach_point(&self, ebpf: &mut Ebpf, point: &Point) -> Result<(), String> {
        let program =
            ebpf.program_mut(point.program).ok_or_else(|| Error::Missing(point.program).to_string())?;
        match point.to {
            Target::Fentry(function) => {
                let program: &mut FEntry = typed(program)?;
                program.load(function, self.btf()?).map_err(|error| on_function(function, &error))?;
                program.attach().map_err(|error| one_line(&error))?;
            }
            Target::Fexit(function) => {
                let program: &mut FExit = typed(program)?;
                program.load(function, self.btf()?).map_err(|error| on_function(function, &error))?;
                program.attach().map_err(|error| one_line(&error))?;
            }
            Target::Kprobe(function) | Target::Kretprobe(function) => {
                let program: &mut KProbe = typed(program)?;
                // One program for several functions is loaded once.
                if program.fd().is_err() {
                    program.load().map_err(|error| one_line(&error))?;
                }
                program.attach(function, 0).map_err(|error| on_function(function, &error))?;
            }
            Target::RawTracepoint(name) => {
                let program: &mut RawTracePoint = typed(program)?;
                program.load().map_err(|error| one_line(&error))?;
                program.attach(name).map_err(|error| one_line(&error))?;
            }
            Target::Tracepoint { category, name, fields } => {
                let tracefs = self.tracefs.as_deref().map_err(|error| error.reason.clone())?;
                if let Some(obstacle) = tracefs::obstacle(tracefs, category, name, fields) {
                    return Err(obstacle);
                }
                let program: &mut TracePoint = typed(program)?;
                program.load().map_err(|error| one_line(&error))?;
                program.attach(category, name).map_err(|error| one_line(&error))?;
            }
        }
        Ok(())
    }

    fn btf(&self) -> Result<&Btf, String> {
        self.btf.as_ref().map_err(|reason| format!("the kernel's BTF cannot be read: {reason}"))
    }
}

fn typed<'a, T>(program: &'a mut Program) -> Result<&'a mut T, String>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    program.try_into().map_err(|error| one_line(&error))
}

/// What the kernel says of a function that it does not have, or of kprobes when it has none at all.
fn on_function(function: &str, error: &ProgramError) -> String {
    let errno = match error {
        ProgramError::KProbeError(KProbeError::FileError { io_error, .. })
            if io_error.kind() == io::ErrorKind::NotFound =>
        {
            return "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)".to_owned();
        }
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::Btf(_) => {
            return format!("the kernel's BTF has no function {function}: it is in a module, or was inlined");
        }
        _ => None,
    };
    if errno == Some(libc::ENOENT) {
        return format!("no function {function}: its module is not loaded, or it was inlined");
    }
    one_line(error)
}
