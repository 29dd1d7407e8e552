//! Which probes watch the kernel side, and what a result says of them.

use std::num::NonZeroU16;

use clap::ValueEnum;
use ebpf_loader::{Options, ProbeKind, Probes};

use crate::exit::Failure;
use crate::profile::{Frames, Gathered, KERNEL_SAMPLE_HZ};
use crate::record::{KernelCollector, Stacks};
use crate::report::model;

/// `--probes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The best kind that this kernel lets us attach; none, with the reason, where it lets us attach none.
    Auto,
    /// Trampolines on kernel functions (fentry and fexit); exit 3 where they do not attach.
    Fexit,
    /// kprobes and kretprobes; exit 3 where they do not attach.
    Kprobe,
    /// Tracepoints; exit 3 where they do not attach.
    Tracepoint,
    /// No kernel figures at all.
    Off,
}

impl Choice {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match (self, self.kind()) {
            (_, Some(kind)) => kind.name(),
            (Self::Off, None) => "off",
            (_, None) => "auto",
        }
    }

    /// The kind that was chosen, if one was.
    pub fn kind(self) -> Option<ProbeKind> {
        match self {
            Self::Fexit => Some(ProbeKind::Fexit),
            Self::Kprobe => Some(ProbeKind::Kprobe),
            Self::Tracepoint => Some(ProbeKind::Tracepoint),
            Self::Auto | Self::Off => None,
        }
    }
}

/// The kernel's observer, if there is one, and the words for the result.
pub struct Attached {
    /// Reads the probes' events.
    pub collector: Option<KernelCollector>,
    /// What is attached and why.
    pub report: model::Probes,
}

/// Attaches what was chosen. Must run inside the run's own namespaces: RTNL is found by making it contended.
///
/// Where packets may have more than one message, a kind that cannot tell them apart would take many operations for one.
pub fn attach(
    choice: Choice,
    messages_per_packet: NonZeroU16,
    stacks: Option<Stacks>,
) -> Result<Attached, Failure> {
    if choice == Choice::Off {
        return Ok(Attached { collector: None, report: off("--probes off") });
    }
    let options = Options {
        kind: choice.kind(),
        sample_hz: Some(stacks.map_or(u64::from(KERNEL_SAMPLE_HZ), |stacks| stacks.hz)),
        stacks: stacks.is_some(),
        ..Options::default()
    };
    match Probes::attach(&options) {
        Ok(probes)
            if messages_per_packet > NonZeroU16::MIN && !probes.report().kind.tells_messages_apart() =>
        {
            let kind = probes.report().kind;
            let reason = format!(
                "{kind} probes cannot tell the {messages_per_packet} messages of a packet apart, and no other kind works here"
            );
            match choice {
                Choice::Auto => Ok(Attached { collector: None, report: off(&reason) }),
                _ => Err(Failure::usage(format!(
                    "--probes {kind} cannot tell the messages of a packet apart; use --messages-per-packet 1, or --probes off"
                ))),
            }
        }
        Ok(probes) => {
            let report = describe(&probes, choice);
            let collector = KernelCollector::start(probes, stacks)
                .map_err(|error| Failure::internal(format!("start the event reader: {error}")))?;
            Ok(Attached { collector: Some(collector), report })
        }
        Err(unavailable) if choice == Choice::Auto => {
            Ok(Attached { collector: None, report: off(&unavailable.to_string()) })
        }
        Err(unavailable) => Err(Failure::environment(format!("--probes {}: {unavailable}", choice.name()))),
    }
}

/// Nothing is attached.
pub(crate) fn off(reason: &str) -> model::Probes {
    model::Probes {
        kind: "off".into(),
        reason: reason.into(),
        passed_over: Vec::new(),
        rtnl_lock: None,
        structures_unread: None,
        attached: Vec::new(),
    }
}

/// The frames of all stacks that were gathered, while the probes still have them.
pub(crate) fn frames<'a>(gathered: impl IntoIterator<Item = &'a Gathered>, probes: &Probes) -> Frames {
    let mut frames = Frames::new();
    for stack in gathered.into_iter().flat_map(Gathered::all) {
        for number in [stack.kernel, stack.user] {
            frames.entry(number).or_insert_with(|| {
                probes.stack(number).unwrap_or_else(|error| {
                    // It is drawn as a stack without frames.
                    tracing::debug!("stack {number}: {error}");
                    Vec::new()
                })
            });
        }
    }
    frames
}

/// What is attached, in the words of the result.
pub(crate) fn describe(probes: &Probes, choice: Choice) -> model::Probes {
    let report = probes.report();
    let attached = report
        .probes
        .iter()
        .map(|probe| model::ProbeState {
            name: probe.name.clone(),
            attached: probe.attached,
            reason: probe.reason.clone(),
        })
        .collect();
    model::Probes {
        kind: report.kind.to_string(),
        reason: match choice {
            Choice::Auto => "the first kind, in order of preference, that attached and fired".into(),
            _ => format!("--probes {}", choice.name()),
        },
        passed_over: report
            .passed_over
            .iter()
            .map(|(kind, unavailable)| model::PassedOver {
                kind: kind.to_string(),
                reason: unavailable.to_string(),
            })
            .collect(),
        rtnl_lock: Some(report.rtnl_lock.to_string()),
        structures_unread: report.structures.as_ref().err().cloned(),
        attached,
    }
}
