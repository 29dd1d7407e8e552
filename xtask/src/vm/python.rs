//! Debian's Python with pyroute2, for a guest: exactly the modules that a script for it loads.
//!
//! All of Python would be more than all else that is in the guest.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use super::{error::Error, initramfs, program, tree::Tree};

/// Debian's interpreter, since Debian's package is for that.
const PYTHON: &str = "/usr/bin/python3";

/// The Debian package that has what scripts import.
pub(super) const PACKAGE: &str = "python3-pyroute2";

/// Prints what a script has loaded that did what scripts do: a line for each file, and where Python looks for it. Where there is
/// bytecode it is taken without its source, whose date it would be compared with.
const LOADED: &str = r#"
import glob, os, sys
from pyroute2 import IPRoute
with IPRoute() as ip:
    ip.link_lookup(ifname="lo")
for module in list(sys.modules.values()):
    source = getattr(module, "__file__", None)
    if source and os.path.isfile(source):
        bytecode = getattr(module.__spec__, "cached", None)
        if source.endswith(".py") and bytecode and os.path.isfile(bytecode):
            print(bytecode, source + "c", sep="\t")
        else:
            print(source, source, sep="\t")
# By what the package says of itself pyroute2 finds its parts.
for folder in sys.path:
    for about in glob.glob(os.path.join(folder, "pyroute2*-info", "*")):
        print(about, about, sep="\t")
"#;

/// Whether this machine has both.
pub(super) fn is_there() -> bool {
    let imported = Command::new(PYTHON)
        .args(["-c", "import pyroute2"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    imported.is_ok_and(|status| status.success())
}

/// Adds them.
pub(super) fn add(tree: &mut Tree) -> Result<(), Error> {
    initramfs::add_program(tree, Path::new(PYTHON), "python3")?;
    // Isolated: what the caller has set or installed for themselves is not Debian's.
    let loaded = program::output(Command::new(PYTHON).args(["-I", "-c", LOADED]))?;
    for (from, to) in loaded.lines().filter_map(|line| line.split_once('\t')) {
        let from = Path::new(from);
        tree.copy(from, to, 0o644)?;
        if from.extension().is_some_and(|extension| extension == "so") {
            initramfs::add_libraries(tree, from)?;
        }
    }
    Ok(())
}
