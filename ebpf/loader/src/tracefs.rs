//! Tracepoints as tracefs describes them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ebpf_common::tracepoint::Field;

use crate::error::Unavailable;

/// Where tracefs may be mounted; `mount -t tracefs tracefs /sys/kernel/tracing` does it.
const MOUNT_POINTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// The mounted tracefs.
pub(crate) fn root() -> Result<PathBuf, Unavailable> {
    let mut denied = false;
    for path in MOUNT_POINTS.iter().map(Path::new) {
        match fs::metadata(path.join("events")) {
            Ok(_) => return Ok(path.to_owned()),
            Err(error) => denied |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    let (reason, advice) = if denied {
        ("tracefs may not be read", "run it as root")
    } else {
        ("tracefs is not mounted", "mount -t tracefs tracefs /sys/kernel/tracing")
    };
    Err(Unavailable { reason: reason.to_owned(), advice: Some(advice.to_owned()) })
}

/// Says why the probe cannot read this tracepoint, `None` when it can.
pub(crate) fn obstacle(root: &Path, category: &str, name: &str, wanted: &[Field]) -> Option<String> {
    let path = root.join("events").join(category).join(name).join("format");
    match fs::read_to_string(&path) {
        Ok(format) => layout_difference(&format, wanted),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some("this kernel has no such tracepoint".to_owned())
        }
        Err(error) => Some(format!("cannot read {}: {error}", path.display())),
    }
}

/// The first field of `wanted` that `format` places elsewhere.
fn layout_difference(format: &str, wanted: &[Field]) -> Option<String> {
    let fields: Vec<FormatField<'_>> = format.lines().filter_map(parse_field).collect();
    wanted.iter().find_map(|wanted| {
        let Some(found) = fields.iter().find(|field| field.name == wanted.name) else {
            return Some(format!("its record has no field `{}`", wanted.name));
        };
        ((found.offset, found.size) != (wanted.offset, wanted.size)).then(|| {
            format!(
                "its field `{}` is {} bytes at {}, where the probe reads {} bytes at {}",
                wanted.name, found.size, found.offset, wanted.size, wanted.offset
            )
        })
    })
}

#[derive(Debug, PartialEq, Eq)]
struct FormatField<'a> {
    name: &'a str,
    offset: usize,
    size: usize,
}

/// Parses `field:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;`
fn parse_field(line: &str) -> Option<FormatField<'_>> {
    let mut parts = line.trim().split(';').map(str::trim);
    let declaration = parts.next()?.strip_prefix("field:")?;
    let offset = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
    let size = parts.next()?.strip_prefix("size:")?.parse().ok()?;
    // An array's length follows its name, `char prev_comm[16]`, or where it is dynamic its type, `__data_loc char[] msg`.
    let name = declaration.rsplit([' ', '*']).next()?.split('[').next()?;
    (!name.is_empty()).then_some(FormatField { name, offset, size })
}

#[cfg(test)]
mod tests {
    use ebpf_common::tracepoint::{contention_begin, sched_switch};

    use super::*;

    const SCHED_SWITCH: &str = "name: sched_switch
ID: 372
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prev_prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;
\tfield:char next_comm[16];\toffset:40;\tsize:16;\tsigned:0;
\tfield:pid_t next_pid;\toffset:56;\tsize:4;\tsigned:1;
\tfield:int next_prio;\toffset:60;\tsize:4;\tsigned:1;

print fmt: \"prev_comm=%s\", REC->prev_comm
";

    #[test]
    fn the_layout_of_a_kernel_that_we_know_is_accepted() {
        assert_eq!(layout_difference(SCHED_SWITCH, sched_switch::FIELDS), None);
    }

    #[test]
    fn a_field_elsewhere_is_named() {
        let moved = SCHED_SWITCH.replace("next_pid;\toffset:56", "next_pid;\toffset:64");
        let difference = layout_difference(&moved, sched_switch::FIELDS).unwrap();
        assert!(difference.contains("`next_pid` is 4 bytes at 64"), "{difference}");
    }

    #[test]
    fn a_field_of_another_size_is_named() {
        let wider = SCHED_SWITCH.replace("offset:24;\tsize:4", "offset:24;\tsize:8");
        let difference = layout_difference(&wider, sched_switch::FIELDS).unwrap();
        assert!(difference.contains("`prev_pid` is 8 bytes at 24"), "{difference}");
    }

    #[test]
    fn a_missing_field_is_named() {
        let difference = layout_difference(SCHED_SWITCH, contention_begin::FIELDS).unwrap();
        assert!(difference.contains("no field `lock_addr`"), "{difference}");
    }

    #[test]
    fn pointers_and_arrays_have_plain_names() {
        let pointer = parse_field("\tfield:void * lock_addr;\toffset:8;\tsize:8;\tsigned:0;").unwrap();
        assert_eq!(pointer, FormatField { name: "lock_addr", offset: 8, size: 8 });
        let tight = parse_field("field:const char *name;\toffset:8;\tsize:8;\tsigned:0;").unwrap();
        assert_eq!(tight.name, "name");
        let array = parse_field("field:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;").unwrap();
        assert_eq!(array.name, "prev_comm");
        let dynamic = parse_field("\tfield:__data_loc char[] msg;\toffset:8;\tsize:4;\tsigned:0;").unwrap();
        assert_eq!(dynamic.name, "msg");
        assert_eq!(parse_field("print fmt: \"%p\", REC->lock_addr"), None);
    }
}
