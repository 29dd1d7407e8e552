//! Where the running kernel has the fields that the probes read.

use std::{fs, path::Path};

use btf_rs::{Btf, Member, Type};
use ebpf_common::Offsets;

/// The running kernel's BTF.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The offsets, or why they are not known.
pub(crate) fn offsets() -> Result<Offsets, String> {
    let btf = read(Path::new(KERNEL_BTF))?;
    let offset = |structure, field| field_offset(&btf, structure, field);
    let known = |structure, field| offset(structure, field).unwrap_or(Offsets::UNKNOWN);
    // A message's sender is noted in the buffer's scratch space, which is a structure of its own there: `NETLINK_CB()`.
    let sum = |outer: Option<u32>, inner: Option<u32>| {
        outer.zip(inner).map_or(Offsets::UNKNOWN, |(outer, inner)| outer + inner)
    };
    let skb_portid = sum(offset("sk_buff", "cb"), offset("netlink_skb_parms", "portid"));
    let offsets = Offsets {
        mutex_owner: known("mutex", "owner"),
        task_pid: known("task_struct", "pid"),
        task_tgid: known("task_struct", "tgid"),
        task_comm: known("task_struct", "comm"),
        skb_portid,
        socket_portid: known("netlink_sock", "portid"),
        socket_newest: sum(offset("sock", "sk_receive_queue"), offset("sk_buff_head", "prev")),
        socket_net: sum(offset("sock", "__sk_common"), offset("sock_common", "skc_net")),
        net_inode: sum(offset("net", "ns"), offset("ns_common", "inum")),
        skb_socket: known("sk_buff", "sk"),
        skb_previous: known("sk_buff", "prev"),
        skb_data: known("sk_buff", "data"),
        task_signal: known("task_struct", "signal"),
        signal_live: known("signal_struct", "live"),
    };
    if offsets == Offsets::NONE {
        return Err(format!("{KERNEL_BTF} describes none of the structures that the probes read"));
    }
    Ok(offsets)
}

fn read(path: &Path) -> Result<Btf, String> {
    if !path.exists() {
        return Err("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)".to_owned());
    }
    let unreadable = |error: &dyn std::error::Error| format!("{} cannot be read: {error}", path.display());
    // At once: from the file itself the parser would ask the kernel a hundred thousand times where it stands.
    let bytes = fs::read(path).map_err(|error| unreadable(&error))?;
    Btf::from_bytes(&bytes).map_err(|error| unreadable(&error))
}

/// Offset of a field in bytes. Fields of anonymous members count as the structure's own, as in C.
fn field_offset(btf: &Btf, structure: &str, field: &str) -> Option<u32> {
    let types = btf.resolve_types_by_name(structure).ok()?;
    let found = types.iter().find_map(|found| match found {
        Type::Struct(found) => offset_among(btf, &found.members, field),
        _ => None,
    });
    // Bit fields cannot be read as bytes.
    found.filter(|bits| bits % 8 == 0).map(|bits| bits / 8)
}

fn offset_among(btf: &Btf, members: &[Member], field: &str) -> Option<u32> {
    members.iter().find_map(|member| {
        let name = btf.resolve_name(member).unwrap_or_default();
        if name == field {
            return Some(member.bit_offset());
        }
        if !name.is_empty() {
            return None;
        }
        let inner = match btf.resolve_chained_type(member).ok()? {
            Type::Struct(inner) | Type::Union(inner) => offset_among(btf, &inner.members, field)?,
            _ => return None,
        };
        Some(member.bit_offset() + inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_the_running_kernel() {
        // Machines without BTF say so in the probes' tests; here there would be nothing to test.
        let Ok(btf) = read(Path::new(KERNEL_BTF)) else { return };
        assert_eq!(field_offset(&btf, "list_head", "next"), Some(0));
        assert_eq!(field_offset(&btf, "list_head", "prev"), Some(8));
        assert_eq!(field_offset(&btf, "list_head", "absent"), None);
        assert_eq!(field_offset(&btf, "no_such_structure", "next"), None);
        // `next` and `prev` of a buffer lie in an anonymous union of an anonymous struct.
        assert_eq!(field_offset(&btf, "sk_buff", "next"), Some(0));
        assert_eq!(field_offset(&btf, "sk_buff", "prev"), Some(8));
        let offsets = offsets().unwrap();
        assert_eq!(offsets.task_tgid, offsets.task_pid + 4, "{offsets:?}");
        assert!(!format!("{offsets:?}").contains(&Offsets::UNKNOWN.to_string()), "{offsets:?}");
    }

    #[test]
    fn a_file_that_is_no_btf_is_told() {
        let reason = read(Path::new("/proc/self/cmdline")).err().unwrap();
        assert!(reason.starts_with("/proc/self/cmdline cannot be read: "), "{reason}");
        assert!(read(Path::new("/absent")).err().unwrap().contains("no BTF"));
    }
}
