//! What a machine could leave on the host: looked at before and after.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{daemons, error::Error, program::path};

/// libvirt, and what it runs.
const PROGRAMS: [&str; 4] = ["dnsmasq", "libvirtd", "virtlockd", "virtlogd"];
/// What a QEMU has in its command line that libvirt runs. Others are none of ours.
const GUEST: &str = "guest=";
/// Devices that libvirt makes. Others come and go on a host.
const DEVICES: [&str; 3] = ["tap", "virbr", "vnet"];
/// Where libvirt keeps what it knows and has.
const FOLDERS: [&str; 3] = ["/etc/libvirt", "/var/lib/libvirt", "/run/libvirt"];
/// The socket of the host's own libvirt: where it is not, nothing is asked, as that might start it.
const SOCKET: &str = "/run/libvirt/libvirt-sock";

/// Each trace as a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Traces(BTreeSet<String>);

impl Traces {
    /// Processes, devices, mounts, rules and files, and what a running libvirt has.
    pub(super) fn of_host() -> Self {
        let mut lines = BTreeSet::new();
        lines.extend(processes());
        let devices = names(Path::new("/sys/class/net"))
            .filter(|name| DEVICES.iter().any(|prefix| name.starts_with(prefix)));
        lines.extend(devices.map(|name| format!("device {name}")));
        lines.extend(mounts());
        lines.extend(rules());
        if let Ok(value) = fs::read_to_string("/proc/sys/net/ipv4/ip_forward") {
            lines.insert(format!("ip_forward {}", value.trim()));
        }
        for folder in FOLDERS {
            files(Path::new(folder), &mut lines);
        }
        if Path::new(SOCKET).exists() {
            lines.extend(daemons::possessions().unwrap_or_default());
        }
        Self(lines)
    }

    /// Fails when the host is not as it was. What has been killed a moment ago may take another to be gone.
    pub(super) fn compare(&self) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            let difference = self.difference(&Self::of_host());
            if difference.is_empty() {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(10) {
                return Err(Error::Traces(difference.join(", ")));
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// What is new, and what is missing.
    fn difference(&self, after: &Self) -> Vec<String> {
        let new = after.0.difference(&self.0).map(|line| format!("new: {line}"));
        let gone = self.0.difference(&after.0).map(|line| format!("gone: {line}"));
        new.chain(gone).collect()
    }
}

fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn processes() -> impl Iterator<Item = String> {
    names(Path::new("/proc")).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter_map(
        |pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let words = String::from_utf8_lossy(&words);
            let mut words = words.split('\0');
            let program = words.next()?.rsplit('/').next()?.to_owned();
            let is_one = PROGRAMS.contains(&program.as_str())
                || program.starts_with("qemu-system") && words.any(|word| word.starts_with(GUEST));
            is_one.then(|| format!("process {pid} {program}"))
        },
    )
}

/// Those on libvirt's folders.
fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The fifth word is where it is mounted.
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| point.contains("/libvirt")).map(|point| format!("mount {point}")).collect()
}

/// Firewall rules, by whichever of the programs there are.
fn rules() -> Vec<String> {
    let mut lines = Vec::new();
    for words in
        [&["iptables-save"] as &[&str], &["ip6tables-save"], &["nft", "--stateless", "list", "ruleset"]]
    {
        let mut command = Command::new(words[0]);
        let output =
            command.args(&words[1..]).env("PATH", path()).stdin(Stdio::null()).stderr(Stdio::null()).output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        lines.extend(without_counters(&text).map(|line| format!("{}: {line}", words[0])));
    }
    lines
}

/// Rules and chains of `iptables-save`, without times and without the packets counted: `:INPUT ACCEPT [12:3456]`.
fn without_counters(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| if line.starts_with(':') { line.split(" [").next().unwrap_or(line) } else { line })
}

fn files(folder: &Path, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        lines.insert(format!("file {}", path.display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&path, lines);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(lines: &[&str]) -> Traces {
        Traces(lines.iter().map(|&line| line.to_owned()).collect())
    }

    #[test]
    fn what_is_new_and_what_is_gone_is_told() {
        let before = traces(&["device lo", "process 7 libvirtd"]);
        assert_eq!(before.difference(&before), [] as [&str; 0]);
        let after = traces(&["device lo", "device virbr1"]);
        assert_eq!(before.difference(&after), ["new: device virbr1", "gone: process 7 libvirtd"]);
    }

    #[test]
    fn counters_are_no_rules() {
        let text = "# Generated by iptables-save\n*filter\n:INPUT ACCEPT [12:3456]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n";
        let lines: Vec<_> = without_counters(text).collect();
        assert_eq!(lines, ["*filter", ":INPUT ACCEPT", "-A INPUT -i lo -j ACCEPT", "COMMIT"]);
    }
}
