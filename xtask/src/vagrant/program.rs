//! The programs that are needed, and the Debian packages that they are in.

use std::{env, ffi::OsString};

use super::error::Error;

/// For `vagrant validate`; with vagrant-libvirt, so that its settings are known.
pub(super) const PACKAGES_TO_VALIDATE: &[&str] = &["vagrant", "vagrant-libvirt"];

/// For `vagrant up` with libvirt and QEMU, from a box of our own.
pub(super) const PACKAGES_TO_VERIFY: &[&str] = &[
    "dnsmasq-base",
    "e2fsprogs",
    "fdisk",
    "grub-common",
    "grub-pc-bin",
    "iproute2",
    "iptables",
    "libvirt-clients",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-system",
    "mmdebstrap",
    "mount",
    "openssh-client",
    "qemu-system-x86",
    "qemu-utils",
    "rsync",
    "util-linux",
    "vagrant",
    "vagrant-libvirt",
];

pub(super) const VAGRANT: &str = "vagrant";
/// What is looked for before `verify` begins, so that nothing is missed after minutes.
pub(super) const TO_VERIFY: &[&str] = &[
    "dnsmasq",
    "grub-mkimage",
    "ip",
    "iptables",
    "libvirtd",
    "mkfs.ext4",
    "mmdebstrap",
    "qemu-img",
    "qemu-system-x86_64",
    "rsync",
    "sfdisk",
    "ssh",
    "unshare",
    "virsh",
    "virtlogd",
    VAGRANT,
];

/// The first of these programs that is missing is an error, which says how `task` installs it.
pub(super) fn require(programs: &[&'static str], task: &'static str) -> Result<(), Error> {
    match programs.iter().find(|program| !is_installed(program)) {
        Some(program) => Err(Error::Missing { program, task }),
        None => Ok(()),
    }
}

/// Whether it is in [`path`].
pub(super) fn is_installed(program: &str) -> bool {
    env::split_paths(&path()).any(|folder| folder.join(program).is_file())
}

/// Where programs are looked for: also in the folders that are in the path of root's login, but not in everybody's.
pub(super) fn path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}
