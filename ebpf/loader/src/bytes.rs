//! The compiled probes, and the shared layouts as what aya can copy in and out of maps.

use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use ebpf_common::{FOLLOW_FAMILIES, FOLLOWED_PROCESSES, SLOTS};

/// Built by `cargo xtask ebpf` from `ebpf/programs`; the text file beside it says with what.
static PROGRAMS: &[u8] = aya::include_bytes_aligned!("../programs.bpf.o");

/// [`ebpf_common::Control`]
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Control(pub(crate) ebpf_common::Control);

// SAFETY: `repr(C)` of integers without padding, which the asserts in ebpf-common hold.
unsafe impl Pod for Control {}

/// [`ebpf_common::Counters`]
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct ProbeCounters(pub(crate) ebpf_common::Counters);

// SAFETY: as above.
unsafe impl Pod for ProbeCounters {}

/// [`ebpf_common::Offsets`]
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Offsets(ebpf_common::Offsets);

// SAFETY: as above.
unsafe impl Pod for Offsets {}

/// [`ebpf_common::Cookie`]
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Cookie(ebpf_common::Cookie);

// SAFETY: as above.
unsafe impl Pod for Cookie {}

/// [`ebpf_common::Settings`]
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Settings(ebpf_common::Settings);

// SAFETY: as above.
unsafe impl Pod for Settings {}

/// Creates the maps and readies the programs for loading.
pub(crate) fn load(
    ring_buffer_bytes: u32,
    cookie: ebpf_common::Cookie,
    offsets: ebpf_common::Offsets,
    settings: ebpf_common::Settings,
) -> Result<Ebpf, EbpfError> {
    // A map that nothing uses is as small as the kernel allows.
    let if_used = |used: bool, entries| if used { entries } else { 1 };
    EbpfLoader::new()
        .override_global("HANDSHAKE", &Cookie(cookie), true)
        .override_global("OFFSETS", &Offsets(offsets), true)
        .override_global("SETTINGS", &Settings(settings), true)
        .map_max_entries("EVENTS", ring_buffer_bytes)
        .map_max_entries("FOLLOWED", if_used(settings.follow == FOLLOW_FAMILIES, FOLLOWED_PROCESSES))
        .map_max_entries("DETAILS", if_used(settings.details != 0, SLOTS))
        .load(PROGRAMS)
}
