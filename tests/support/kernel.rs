//! Which kernel this is, for the few expectations that its version decides. What it *can* do is always tried.

use libtest_mimic::Failed;
use nix::sys::utsname::uname;

/// Whether the running kernel's release is `major.minor` or newer.
pub fn kernel_is_at_least(major: u32, minor: u32) -> Result<bool, Failed> {
    let names = uname()?;
    let release = names.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(this_major)), Some(Ok(this_minor))) => Ok((this_major, this_minor) >= (major, minor)),
        _ => Err(format!("a kernel release like none: {release}").into()),
    }
}
