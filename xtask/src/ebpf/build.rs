//! Compiling. The same source and the same toolchain give the same bytes, wherever they are.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Places, elf, error::Error, toolchain::Toolchain};

/// What cargo is told. `core` is compiled as well, because nobody ships it for this target.
pub(super) const ARGUMENTS: [&str; 7] =
    ["build", "--release", "--locked", "-Z", "build-std=core", "--target", "bpfel-unknown-none"];

/// What rustc is told, apart from the paths. Debug information becomes BTF; what else there is of it is taken out afterwards.
/// Everything is inlined: the name of a function that stays by itself depends on where the source lies.
pub(super) const RUSTFLAGS: [&str; 6] =
    ["-C", "debuginfo=2", "-C", "link-arg=--btf", "-C", "link-arg=--llvm-args=-inline-threshold=100000"];

const BINARY: &str = "bpfel-unknown-none/release/qdiscope-probes";

/// Variables that would change what is compiled, or with what.
const HERMETIC: [&str; 10] = [
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "CARGO_INCREMENTAL",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL",
];

/// Compiles the probes and returns the object.
pub(super) fn run(places: &Places, toolchain: &Toolchain) -> Result<Vec<u8>, Error> {
    let mut command = Command::new(&toolchain.cargo);
    for variable in HERMETIC {
        command.env_remove(variable);
    }
    command
        .args(ARGUMENTS)
        .arg("--target-dir")
        .arg(&places.target)
        .current_dir(places.ebpf.join("programs"))
        .env("RUSTC", &toolchain.rustc)
        // Stable compilers know this target, too; building core for it is what is unstable.
        .env("RUSTC_BOOTSTRAP", "1")
        // Replaces the flags of the workspace's .cargo/config.toml, which are for the host.
        .env("CARGO_ENCODED_RUSTFLAGS", encoded_flags(places, toolchain))
        .env("PATH", path_with(toolchain.linker.parent()));
    let status = command
        .status()
        .map_err(|source| Error::Start { program: toolchain.cargo.display().to_string(), source })?;
    if !status.success() {
        return Err(Error::Failed { command: "cargo build, of the probes".to_owned(), status });
    }
    let path = places.target.join(BINARY);
    let linked = fs::read(&path).map_err(|source| Error::File { path, source })?;
    let object = elf::without_dwarf(&linked)?;
    if let Some(function) = elf::mangled_function(&object)? {
        return Err(Error::Object(format!(
            "{function} was not inlined, and its name depends on the source's place"
        )));
    }
    if let Some(path) = machine_path(places, toolchain, &object) {
        return Err(Error::Object(format!("it contains the path {path}")));
    }
    Ok(object)
}

/// Paths of this machine, and what they are called in the object.
fn renamed_paths(places: &Places, toolchain: &Toolchain) -> Vec<(PathBuf, &'static str)> {
    let mut renamed = vec![(places.ebpf.clone(), "ebpf"), (toolchain.rust_source.clone(), "rust")];
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    if let Some(registry) = cargo_home.map(|home| home.join("registry/src")) {
        renamed.push((registry.clone(), "crates"));
        // Below it is a folder for each registry, whose name depends on the registry's address. rustc takes the last match.
        let registries = fs::read_dir(&registry).into_iter().flatten().flatten();
        renamed.extend(registries.map(|folder| (folder.path(), "crates")));
    }
    renamed
}

fn encoded_flags(places: &Places, toolchain: &Toolchain) -> OsString {
    let mut flags = OsString::from(RUSTFLAGS.join("\x1f"));
    for (path, name) in renamed_paths(places, toolchain) {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(path);
        flags.push("=");
        flags.push(name);
    }
    flags
}

/// A path of this machine that is in the object nevertheless.
fn machine_path(places: &Places, toolchain: &Toolchain, object: &[u8]) -> Option<String> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let paths = renamed_paths(places, toolchain).into_iter().map(|(path, _)| path).chain(home);
    paths
        .map(|path| path.to_string_lossy().into_owned())
        .filter(|path| path.len() > 1)
        .find(|path| object.windows(path.len()).any(|window| window == path.as_bytes()))
}

fn path_with(first: Option<&Path>) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = first.map(Path::to_owned).into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).unwrap_or(path.clone())
}
