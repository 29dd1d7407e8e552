//! Where the running kernel has the fields that the probes read.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::AsRawFd,
    path::Path,
};

use btf_rs::{Backend, Btf, Member, Type};
use ebpf_common::Offsets;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// The running kernel's BTF.
pub(crate) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The offsets, or why they are not known.
pub(crate) fn offsets() -> Result<Offsets, String> {
    let btf = read(Path::new(KERNEL_BTF))?;
    let [mutex, task, signal, buffer, queue, parameters] =
        ["mutex", "task_struct", "signal_struct", "sk_buff", "sk_buff_head", "netlink_skb_parms"]
            .map(|name| Structure::named(&btf, name));
    let [socket, common, netlink, net, namespace] =
        ["sock", "sock_common", "netlink_sock", "net", "ns_common"].map(|name| Structure::named(&btf, name));
    let known = |offset: Option<u32>| offset.unwrap_or(Offsets::UNKNOWN);
    let sum =
        |outer: Option<u32>, inner: Option<u32>| known(outer.zip(inner).map(|(outer, inner)| outer + inner));
    let offsets = Offsets {
        mutex_owner: known(mutex.offset("owner")),
        task_pid: known(task.offset("pid")),
        task_tgid: known(task.offset("tgid")),
        task_comm: known(task.offset("comm")),
        // A message's sender is noted in the buffer's scratch space, which is a structure of its own there: `NETLINK_CB()`.
        skb_portid: sum(buffer.offset("cb"), parameters.offset("portid")),
        socket_portid: known(netlink.offset("portid")),
        socket_newest: sum(socket.offset("sk_receive_queue"), queue.offset("prev")),
        socket_net: sum(socket.offset("__sk_common"), common.offset("skc_net")),
        net_inode: sum(net.offset("ns"), namespace.offset("inum")),
        skb_socket: known(buffer.offset("sk")),
        skb_previous: known(buffer.offset("prev")),
        skb_data: known(buffer.offset("data")),
        task_signal: known(task.offset("signal")),
        signal_live: known(signal.offset("live")),
    };
    if offsets == Offsets::NONE {
        return Err(format!("{KERNEL_BTF} describes none of the structures that the probes read"));
    }
    Ok(offsets)
}

/// Reads where it is asked instead of all at once: of 150,000 types eleven are wanted.
fn read(path: &Path) -> Result<Btf, String> {
    if !path.exists() {
        return Err("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)".to_owned());
    }
    let unreadable = |error: &dyn std::error::Error| format!("{} cannot be read: {error}", path.display());
    Btf::from_file_with_backend(path, Backend::Mmap)
        // Before Linux 6.16 the kernel does not let its own be mapped (kernel/bpf/sysfs_btf.c), but a copy.
        .or_else(|_| {
            let copy = copy(path).map_err(|error| unreadable(&error))?;
            let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
            Btf::from_file_with_backend(path, Backend::Mmap).map_err(|error| unreadable(&error))
        })
}

/// A file's content in memory.
fn copy(path: &Path) -> io::Result<File> {
    let mut copy = File::from(memfd_create(c"btf", MFdFlags::MFD_CLOEXEC)?);
    copy.write_all(&fs::read(path)?)?;
    Ok(copy)
}

/// The kernel's structures of one name: none, one, or several that differ.
struct Structure<'a> {
    btf: &'a Btf,
    members: Vec<Vec<Member>>,
}

impl<'a> Structure<'a> {
    fn named(btf: &'a Btf, name: &str) -> Self {
        let types = btf.resolve_types_by_name(name).unwrap_or_default();
        let members = |found| match found {
            Type::Struct(found) => Some(found.members),
            _ => None,
        };
        Self { btf, members: types.into_iter().filter_map(members).collect() }
    }

    /// Offset of a field in bytes. Fields of anonymous members count as the structure's own, as in C.
    fn offset(&self, field: &str) -> Option<u32> {
        let found = self.members.iter().find_map(|members| offset_among(self.btf, members, field));
        // Bit fields cannot be read as bytes.
        found.filter(|bits| bits % 8 == 0).map(|bits| bits / 8)
    }
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
        let offset = |structure, field| Structure::named(&btf, structure).offset(field);
        assert_eq!(offset("list_head", "next"), Some(0));
        assert_eq!(offset("list_head", "prev"), Some(8));
        assert_eq!(offset("list_head", "absent"), None);
        assert_eq!(offset("no_such_structure", "next"), None);
        // `next` and `prev` of a buffer lie in an anonymous union of an anonymous struct.
        assert_eq!(offset("sk_buff", "next"), Some(0));
        assert_eq!(offset("sk_buff", "prev"), Some(8));
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
