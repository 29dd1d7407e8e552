//! Which kernel modules a guest gets: what traffic control is made of, the devices that tests make, and the virtio port; each
//! with all that it needs.

use std::collections::{BTreeMap, BTreeSet};

/// Names, of which `*` stands for the rest.
const WANTED: [&str; 12] = [
    "sch_*",
    "cls_*",
    "act_*",
    "em_*",
    "veth",
    "ifb",
    "dummy",
    "tun",
    "virtio_pci",
    "virtio_console",
    // What a module asks for at run time, and modules.dep does not know.
    "crc32c*",
    "nf_conntrack",
];

/// A text that changes when the selection does.
pub(super) fn selection() -> String {
    WANTED.join(" ")
}

/// The wanted modules of a `modules.dep` and all that they need, by their paths in it.
pub(super) fn closure(modules_dep: &str) -> BTreeSet<&str> {
    let needs: BTreeMap<&str, &str> = modules_dep.lines().filter_map(|line| line.split_once(':')).collect();
    let mut open: Vec<_> = needs.keys().copied().filter(|path| is_wanted(name(path))).collect();
    let mut closed = BTreeSet::new();
    while let Some(path) = open.pop() {
        if closed.insert(path) {
            // depmod lists what is needed indirectly, too; no harm in not relying on it.
            open.extend(needs.get(path).into_iter().flat_map(|needed| needed.split_whitespace()));
        }
    }
    closed
}

/// `kernel/net/sched/sch_htb.ko.xz` → `sch_htb`, with the kernel's underscores.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

fn is_wanted(name: String) -> bool {
    WANTED.iter().any(|wanted| match wanted.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_along_and_nothing_else() {
        let modules_dep = "kernel/net/sched/sch_htb.ko:\n\
                           kernel/net/sched/act_ct.ko: kernel/net/nf_flow.ko\n\
                           kernel/net/nf_flow.ko: kernel/lib/crc.ko\n\
                           kernel/lib/crc.ko:\n\
                           kernel/fs/ext4.ko: kernel/lib/crc.ko\n\
                           kernel/drivers/char/virtio_console.ko:\n\
                           kernel/drivers/net/dummy-irq.ko:\n";
        let closed: Vec<_> = closure(modules_dep).into_iter().collect();
        assert_eq!(
            closed,
            [
                "kernel/drivers/char/virtio_console.ko",
                "kernel/lib/crc.ko",
                "kernel/net/nf_flow.ko",
                "kernel/net/sched/act_ct.ko",
                "kernel/net/sched/sch_htb.ko"
            ]
        );
    }

    #[test]
    fn compression_and_dashes_do_not_matter() {
        assert_eq!(name("kernel/net/sched/sch_htb.ko.xz"), "sch_htb");
        assert_eq!(closure("kernel/x/virtio-console.ko.xz:\n").len(), 1);
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(closure("a/veth.ko: a/b.ko\na/b.ko: a/veth.ko\n").len(), 2);
        assert!(closure("").is_empty());
    }
}
