#!/usr/bin/env bash
# Builds a Vagrant box for libvirt from Debian packages alone: no download of a box, no loop device, no KVM.
# `cargo xtask vagrant verify` brings the machine up from it; people use the public box that the Vagrantfile names.
#
#     box.sh MIRROR BOX      (as root; for example the URI of a line in /etc/apt/sources.list)
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 MIRROR BOX" >&2; exit 2; }
mirror=$1
box=$2

suite=bookworm
gigabytes=2
packages=(
    dbus initramfs-tools iproute2 kmod linux-image-cloud-amd64 openssh-server rsync sudo systemd-sysv udev
)

work=$(mktemp -d "$box.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
disk=$work/disk.raw

# How the machine reaches its mirror (a proxy, for one) is in its own apt configuration.
apt-config dump --format '%f "%v";%n' Acquire |
    grep -E '^Acquire::(http|https|Check-Valid-Until|Check-Date|Retries)\b' >"$work/apt.conf" || true
mmdebstrap --mode=root --variant=minbase --aptopt="$work/apt.conf" \
    --include="$(IFS=,; echo "${packages[*]}")" "$suite" "$root" "deb $mirror $suite main"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root/etc/apt/apt.conf.d/99mmdebstrap"

# What Vagrant expects of a box: this user, with the well-known key that it replaces at the first start.
chroot "$root" useradd --create-home --shell /bin/bash vagrant
chroot "$root" install -d -m 700 -o vagrant -g vagrant /home/vagrant/.ssh
echo 'ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key' \
    >"$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown vagrant:vagrant /home/vagrant/.ssh/authorized_keys
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"

# What the machine needs to be found: its name and its address come from the host.
echo 'UseDNS no' >"$root/etc/ssh/sshd_config.d/vagrant.conf"
printf '[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n' >"$root/etc/systemd/network/dhcp.network"
chroot "$root" systemctl --quiet enable systemd-networkd
echo bookworm >"$root/etc/hostname"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
echo '/dev/vda1 / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
: >"$root/etc/machine-id"

mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<'GRUB'
linux /vmlinuz root=/dev/vda1 ro console=tty0 console=ttyS0 quiet
initrd /initrd.img
boot
GRUB

# One partition from sector 2048 on; the file system is made of the folder, in its place in the image.
truncate --size "${gigabytes}G" "$disk"
echo 'start=2048, type=83, bootable' | sfdisk --quiet --label dos "$disk"
mkfs.ext4 -q -d "$root" -E offset=$((2048 * 512)) "$disk" $((gigabytes * 1024 - 1))M
# The boot loader before it: the first sector but for its partition table, then the rest.
grub-mkimage --format i386-pc --output "$work/core.img" --prefix '(hd0,msdos1)/boot/grub' \
    biosdisk part_msdos ext2 linux normal configfile boot
dd if=/usr/lib/grub/i386-pc/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none

qemu-img convert -c -O qcow2 "$disk" "$work/box.img"
printf '{"provider": "libvirt", "format": "qcow2", "virtual_size": %d}\n' "$gigabytes" >"$work/metadata.json"
: >"$work/Vagrantfile"
tar -C "$work" -czf "$work/box" metadata.json Vagrantfile box.img
# Whole or not at all.
mv "$work/box" "$box"
