#!/usr/bin/env bash
# Makes a Debian 12 machine ready for `cargo xtask bench`: packages, and a look at the kernel. As root. May be run again at any
# time, and anywhere: it writes no file of its own.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# Debian's `rustc` is 1.63. Its security suite has a stable Rust of today, kept for building browsers: rustc-web.
packages=(build-essential ca-certificates cargo-web git iproute2 kmod pkg-config rustc-web strace util-linux)

apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update
if ! apt-cache show rustc-web >/dev/null 2>&1; then
    echo "apt offers no rustc-web: add Debian's bookworm-security suite to its sources, or install Rust by rustup" >&2
    exit 1
fi
apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install --yes --no-install-recommends "${packages[@]}"

[ -r /sys/kernel/btf/vmlinux ] || echo "this kernel has no BTF: kprobes or tracepoints will be used, and the holder of RTNL stays unknown" >&2
# A module here and built in there: whether it is at hand shows when it is used. In a network namespace of its own.
unshare --net tc qdisc add dev lo root handle 1: htb ||
    echo "this kernel has no HTB (sch_htb): there is nothing to measure" >&2

if [ -d /qdiscope ]; then
    echo
    echo "Ready. On the host run:"
    echo "    vagrant ssh -c 'cd /qdiscope && sudo -E cargo xtask bench'"
fi
