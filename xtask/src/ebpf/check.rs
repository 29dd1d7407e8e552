//! Is the committed object that of the committed source?

use std::fs;

use super::{Places, build, elf, error::Error, stamp::Stamp, toolchain::Toolchain};

/// Compiles the source again and compares. Which comparison could be made is said: bytes, if the toolchain is the one that
/// was recorded, else what does not depend on it.
pub(super) fn run(places: &Places, sources: &str) -> Result<(), Error> {
    let recorded = Stamp::read(&places.stamp)?;
    let committed =
        fs::read(&places.object).map_err(|source| Error::File { path: places.object.clone(), source })?;
    if recorded.sources != sources {
        return Err(Error::Differs("the source has changed since the object was built".to_owned()));
    }
    let toolchain = Toolchain::find(&places.tools)?;
    let rebuilt = build::run(places, &toolchain)?;
    let stamp = Stamp::new(sources.to_owned(), &rebuilt, toolchain.versions(&places.ebpf)?);
    if Stamp::new(sources.to_owned(), &committed, recorded.versions.clone()).object != recorded.object {
        return Err(Error::Differs("the object is not the one that its text file describes".to_owned()));
    }
    let differences = recorded.versions.differences(&stamp.versions);
    if differences.is_empty() {
        if rebuilt != committed {
            return Err(Error::Differs(format!(
                "the same toolchain makes other bytes of it: {}",
                elf::first_difference(&committed, &rebuilt)?
            )));
        }
        println!("the committed object is, byte for byte, what {toolchain} makes of the source");
        return Ok(());
    }
    let (was, is) = (elf::interface(&committed)?, elf::interface(&rebuilt)?);
    if let Some(line) = was.iter().find(|line| !is.contains(line)) {
        return Err(Error::Differs(format!("the source no longer gives `{line}`")));
    }
    if let Some(line) = is.iter().find(|line| !was.contains(line)) {
        return Err(Error::Differs(format!("the object has no `{line}`")));
    }
    println!("not the toolchain that built the committed object: {}", differences.join(", "));
    println!(
        "compared: the hash of the sources, the hash of the object, and the {} programs, maps and globals that the \
         rebuilt object has too; not compared: the instructions",
        is.len()
    );
    Ok(())
}
