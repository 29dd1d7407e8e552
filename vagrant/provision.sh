#!/usr/bin/env bash
# Makes a Debian 12 machine ready for `cargo xtask bench`. May be run again at any time.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

# Debian's `rustc` is 1.63. Its security suite has a stable Rust of today, kept for building browsers: rustc-web.
packages=(build-essential ca-certificates cargo-web git iproute2 pkg-config rustc-web strace)

apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update
if ! apt-cache show rustc-web >/dev/null 2>&1; then
    echo "apt offers no rustc-web: add Debian's bookworm-security suite to its sources, or install Rust by rustup" >&2
    exit 1
fi
apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install --yes --no-install-recommends "${packages[@]}"

# Builds belong outside /vagrant, which every `vagrant rsync` makes equal to the host's copy. A configuration
# file and not CARGO_TARGET_DIR: sudo resets the environment, and root has a home of its own.
for user in root vagrant; do
    home=$(getent passwd "$user" | cut -d: -f6)
    [ -n "$home" ] || continue
    config=$home/.cargo/config.toml
    if [ ! -e "$config" ]; then
        install -d -o "$user" -g "$user" "$home/.cargo"
        printf '[build]\ntarget-dir = "%s/qdiscope-target"\n' "$home" >"$config"
        chown "$user:$user" "$config"
    fi
done

[ -r /sys/kernel/btf/vmlinux ] || echo "this kernel has no BTF: the probes will not load" >&2
modprobe sch_htb || echo "this kernel has no HTB (sch_htb): there is nothing to measure" >&2

echo
echo "Ready. In 'vagrant ssh' run:"
echo "    cd /vagrant && sudo cargo xtask bench"
