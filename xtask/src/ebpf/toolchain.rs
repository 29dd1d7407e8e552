//! Finding a compiler that can make eBPF: one that comes with the source of `core`, and `bpf-linker`.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    error::Error,
    stamp::{Versions, locked_version},
};

/// rustc, its cargo, and the linker.
#[derive(Debug)]
pub(super) struct Toolchain {
    pub(super) rustc: PathBuf,
    pub(super) cargo: PathBuf,
    pub(super) linker: PathBuf,
    /// Where rustc has the source of `core`.
    pub(super) rust_source: PathBuf,
    rustc_version: String,
    llvm_version: String,
    linker_version: String,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, LLVM {}, {}", self.rustc_version, self.llvm_version, self.linker_version)
    }
}

/// A compiler that may do.
pub(super) struct Compiler {
    rustc: PathBuf,
    cargo: PathBuf,
    rust_source: PathBuf,
    version: String,
    pub(super) llvm: String,
}

impl Toolchain {
    /// Debian's packages, else rustup's nightly. Debian's first: they are the same for everybody.
    pub(super) fn find(tools: &Path) -> Result<Self, Error> {
        let compiler = Compiler::find();
        let linker = linker(tools);
        let (compiler, (linker, linker_version)) = match (compiler, linker) {
            (Some(compiler), Some(linker)) => (compiler, linker),
            (compiler, linker) => {
                let missing: Vec<_> = [
                    compiler.is_none().then_some("no rustc with the source of core (rust-src)"),
                    linker.is_none().then_some("no bpf-linker"),
                ]
                .into_iter()
                .flatten()
                .collect();
                return Err(Error::NoToolchain { missing: missing.join(", ") });
            }
        };
        Ok(Self {
            rustc: compiler.rustc,
            cargo: compiler.cargo,
            rust_source: compiler.rust_source,
            rustc_version: compiler.version,
            llvm_version: compiler.llvm,
            linker,
            linker_version,
        })
    }

    /// What the stamp records.
    pub(super) fn versions(&self, ebpf: &Path) -> Result<Versions, Error> {
        let path = ebpf.join("programs/Cargo.lock");
        let lock = fs::read_to_string(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        let crate_version = |name: &str| {
            locked_version(&lock, name)
                .ok_or_else(|| Error::Stamp { path: path.clone(), reason: format!("no package {name}") })
        };
        Ok(Versions {
            rustc: self.rustc_version.clone(),
            llvm: self.llvm_version.clone(),
            linker: self.linker_version.clone(),
            aya_ebpf: crate_version("aya-ebpf")?,
            aya_log_ebpf: crate_version("aya-log-ebpf")?,
        })
    }
}

impl Compiler {
    pub(super) fn find() -> Option<Self> {
        Self::debian().or_else(Self::rustup)
    }

    /// Debian's rustc-web, cargo-web and rust-web-src install themselves as the system's rustc and cargo.
    fn debian() -> Option<Self> {
        Self::examine("/usr/bin/rustc".into(), "/usr/bin/cargo".into())
    }

    fn rustup() -> Option<Self> {
        let which =
            |program| output(Command::new("rustup").args(["which", "--toolchain", "nightly", program]));
        Self::examine(which("rustc")?.trim().into(), which("cargo")?.trim().into())
    }

    fn examine(rustc: PathBuf, cargo: PathBuf) -> Option<Self> {
        let description = output(Command::new(&rustc).arg("-vV"))?;
        let sysroot = output(Command::new(&rustc).args(["--print", "sysroot"]))?;
        let rust_source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust");
        if !rust_source.join("library/core/src/lib.rs").is_file() || !cargo.is_file() {
            return None;
        }
        let version = description.lines().next()?.to_owned();
        let llvm = description.lines().find_map(|line| line.strip_prefix("LLVM version: "))?.to_owned();
        Some(Self { rustc, cargo, rust_source, version, llvm })
    }
}

/// `bpf-linker` where `--install` puts it, else on the `PATH`; with what it says about its version.
pub(super) fn linker(tools: &Path) -> Option<(PathBuf, String)> {
    let path = env::var_os("PATH").unwrap_or_default();
    std::iter::once(tools.join("bin"))
        .chain(env::split_paths(&path))
        .map(|folder| folder.join("bpf-linker"))
        .filter(|program| program.is_file())
        .find_map(|program| {
            let version = output(Command::new(&program).arg("--version"))?;
            Some((program, version.trim().to_owned()))
        })
}

fn output(command: &mut Command) -> Option<String> {
    // Inside `cargo xtask` rustup's shims would choose the toolchain that runs the task.
    let output = command.env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
