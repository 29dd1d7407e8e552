//! Programs of the host: where they are, which Debian package has them, and running them.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{error::Error, python};
use crate::{cargo, packages};

/// What is needed on the host or copied into the guest, and the Debian package that has it.
const NEEDED: [(&str, &str); 12] = [
    ("apt-get", "apt"),
    ("busybox", "busybox-static"),
    ("dash", "dash"),
    ("depmod", "kmod"),
    ("dpkg-deb", "dpkg"),
    ("ip", "iproute2"),
    ("modprobe", "kmod"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("strace", "strace"),
    ("strip", "binutils"),
    ("tc", "iproute2"),
    ("xz", "xz-utils"),
];

/// Installs what is missing.
pub(super) fn install() -> Result<(), Error> {
    let mut missing: Vec<_> = NEEDED
        .iter()
        .filter(|(program, _)| path_of(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !python::is_there() {
        missing.push(python::PACKAGE);
    }
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        packages::install(&missing)?;
    }
    Ok(())
}

/// Refuses to begin where something is missing, so that minutes of building are not in vain.
pub(super) fn check() -> Result<(), Error> {
    NEEDED.iter().try_for_each(|(program, _)| find(program).map(drop))
}

/// A program, in the path or where only root has it in its path.
pub(super) fn find(program: &str) -> Result<PathBuf, Error> {
    path_of(program).ok_or_else(|| Error::Missing {
        program: program.to_owned(),
        package: NEEDED
            .iter()
            .find(|(name, _)| *name == program)
            .map_or("of that name", |(_, package)| package),
    })
}

fn path_of(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let root = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(root).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Runs a command to its successful end.
pub(super) fn succeed(command: &mut Command) -> Result<(), Error> {
    let status = command.stdin(Stdio::null()).status().map_err(|source| start(command, source))?;
    if status.success() { Ok(()) } else { Err(Error::Failed { command: cargo::shown(command), status }) }
}

/// Runs a command to its successful end, and gives what it printed.
pub(super) fn output(command: &mut Command) -> Result<String, Error> {
    bytes(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a command to its successful end, and gives the bytes that it wrote.
pub(super) fn bytes(command: &mut Command) -> Result<Vec<u8>, Error> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| start(command, source))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Failed { command: cargo::shown(command), status: output.status })
    }
}

/// The error for a command that could not be started.
pub(super) fn start(command: &Command, source: std::io::Error) -> Error {
    Error::Start { program: command.get_program().to_string_lossy().into_owned(), source }
}

/// The shared libraries that a program needs, its loader included, as the loader finds them; none for a static one.
pub(super) fn libraries(program: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut command = Command::new("ldd");
    command.arg(program).stderr(Stdio::null());
    let output = command.output().map_err(|source| start(&command, source))?;
    // ldd fails for a static program, which needs nothing.
    Ok(libraries_in(&String::from_utf8_lossy(&output.stdout)))
}

/// "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", "/lib64/ld-linux-x86-64.so.2 (0x…)"
fn libraries_in(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| {
            let path = line.split_once("=>").map_or(line, |(_, path)| path).trim();
            let path = path.split_once(" (").map_or(path, |(path, _)| path);
            path.starts_with('/').then(|| PathBuf::from(path))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_is_read() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths: Vec<_> = libraries_in(text).iter().map(|path| path.display().to_string()).collect();
        assert_eq!(paths, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert!(libraries_in("\tnot a dynamic executable\n").is_empty());
    }

    #[test]
    fn what_is_missing_names_its_package() {
        assert!(find("sh").is_ok());
        let error = find("no-such-program").unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("--install"), "{error}");
    }
}
