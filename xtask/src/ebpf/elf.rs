//! The object file: taking DWARF out of it, and saying what is in it.

use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind,
    build::elf::{Builder, SectionData},
};

use super::error::Error;

/// The object without its `.debug_*` sections. BTF, which the kernel's verifier quotes source lines from, stays.
pub(super) fn without_dwarf(linked: &[u8]) -> Result<Vec<u8>, Error> {
    let failed = |error: object::build::Error| Error::Object(error.to_string());
    let mut builder = Builder::read(linked).map_err(failed)?;
    let dwarf: Vec<_> = builder
        .sections
        .iter()
        .filter(|section| section.name.starts_with(b".debug_") || section.name.starts_with(b".rel.debug_"))
        .map(object::build::elf::Section::id)
        .collect();
    for id in dwarf {
        builder.sections.get_mut(id).delete = true;
    }
    builder.delete_orphan_symbols();
    builder.delete_orphan_relocations();
    // LLVM keeps the sections' names among the symbols'; the writer wants a section for each.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped).map_err(failed)?;
    Ok(stripped)
}

/// What two toolchains must agree on: one line for each program, map, global, and for what the object says of itself.
pub(super) fn interface(object: &[u8]) -> Result<Vec<String>, Error> {
    let failed = |error: object::Error| Error::Object(error.to_string());
    let file = object::File::parse(object).map_err(failed)?;
    let mut lines = Vec::new();
    for symbol in file.symbols().filter(object::ObjectSymbol::is_global) {
        let name = symbol.name().map_err(failed)?;
        let Some(section) = symbol.section_index() else { continue };
        let section = file.section_by_index(section).map_err(failed)?;
        let section_name = section.name().map_err(failed)?;
        let what = match (symbol.kind(), section_name) {
            (SymbolKind::Text, ".text") => continue,
            (SymbolKind::Text, _) => "program".to_owned(),
            (_, "maps") => format!("map {:02x?}", bytes_of(&section, symbol.address(), symbol.size())?),
            (_, "license") => format!("license {:02x?}", section.data().map_err(failed)?),
            _ => format!("data of {} bytes", symbol.size()),
        };
        lines.push(format!("{section_name}: {name}: {what}"));
    }
    lines.sort();
    Ok(lines)
}

/// A function with a name that rustc made, from a hash of where its crate lies among other things.
pub(super) fn mangled_function(object: &[u8]) -> Result<Option<String>, Error> {
    let failed = |error: object::Error| Error::Object(error.to_string());
    let file = object::File::parse(object).map_err(failed)?;
    let mut names = file.symbols().filter_map(|symbol| symbol.name().ok().map(str::to_owned));
    Ok(names.find(|name| name.starts_with("_R") || name.starts_with("_ZN")))
}

fn bytes_of<'data>(
    section: &object::Section<'data, '_>,
    address: u64,
    size: u64,
) -> Result<&'data [u8], Error> {
    let failed = |error: object::Error| Error::Object(error.to_string());
    let data = section.data_range(address, size).map_err(failed)?;
    data.ok_or_else(|| Error::Object("a map's definition lies outside its section".to_owned()))
}

/// The first section in which two objects differ.
pub(super) fn first_difference(one: &[u8], other: &[u8]) -> Result<String, Error> {
    let failed = |error: object::Error| Error::Object(error.to_string());
    let (one, other) =
        (object::File::parse(one).map_err(failed)?, object::File::parse(other).map_err(failed)?);
    for section in one.sections() {
        let name = section.name().map_err(failed)?;
        let Some(twin) = other.section_by_name(name) else {
            return Ok(format!("section {name} is in one of them only"));
        };
        if section.data().map_err(failed)? != twin.data().map_err(failed)? {
            return Ok(format!("section {name} differs"));
        }
    }
    Ok("their sections are the same, in another arrangement".to_owned())
}
