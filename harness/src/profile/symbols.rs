//! Names of functions, by their addresses.

use std::collections::HashMap;
use std::path::Path;

use blazesym::symbolize::source::{Elf, Kernel, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};

use super::ProfileError;

/// Finds names, and remembers what it has read for that.
pub struct Symbols(Symbolizer);

impl Default for Symbols {
    fn default() -> Self {
        // Functions, not lines: those of a large binary take seconds to read. What was read stays: see `Symbols::read`.
        Self(
            Symbolizer::builder()
                .enable_code_info(false)
                .enable_inlined_fns(false)
                .enable_auto_reload(false)
                .build(),
        )
    }
}

/// Somewhere in the kernel.
const ANYWHERE: u64 = u64::MAX - 0x7fff_ffff;

impl Symbols {
    /// With the kernel's symbols as they are now. While probes are attached these include those probes, through which stacks lead: later
    /// their addresses would be taken for something that happens to be before them.
    pub fn read() -> Self {
        let symbols = Self::default();
        if let Err(error) = symbols.kernel(vec![ANYWHERE]) {
            // Whoever asks for names is told again.
            tracing::debug!("{error}");
        }
        symbols
    }

    /// The kernel's functions at these addresses. What has no name is absent.
    pub fn kernel(&self, addresses: Vec<u64>) -> Result<HashMap<u64, String>, ProfileError> {
        let addresses = distinct(addresses);
        let found = if addresses.is_empty() {
            Vec::new()
        } else {
            self.0
                .symbolize(&Source::Kernel(Kernel::default()), Input::AbsAddr(&addresses))
                .map_err(|error| ProfileError::new("name kernel addresses", &error))?
        };
        Ok(named(&addresses, found))
    }

    /// The functions at these offsets of an ELF file, as far as its symbol tables name them; none where it cannot be read.
    pub fn file(&self, path: &Path, offsets: Vec<u64>) -> HashMap<u64, String> {
        let offsets = distinct(offsets);
        let elf = Elf { debug_syms: false, ..Elf::new(path) };
        match self.0.symbolize(&Source::Elf(elf), Input::FileOffset(&offsets)) {
            Ok(found) => named(&offsets, found),
            Err(error) => {
                tracing::debug!("{}: {error}", path.display());
                HashMap::new()
            }
        }
    }
}

fn distinct(mut addresses: Vec<u64>) -> Vec<u64> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn named(addresses: &[u64], found: Vec<Symbolized<'_>>) -> HashMap<u64, String> {
    addresses
        .iter()
        .zip(found)
        .filter_map(|(&address, symbol)| match symbol {
            // A semicolon would split the frame in two.
            Symbolized::Sym(symbol) => Some((address, symbol.name.replace(';', ":"))),
            Symbolized::Unknown(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_file_has_no_names() {
        let symbols = Symbols::default();
        assert!(symbols.file(Path::new("/proc/self/cmdline"), vec![1, 2]).is_empty());
        assert!(symbols.file(Path::new("/absent"), vec![1]).is_empty());
        assert!(symbols.kernel(Vec::new()).unwrap().is_empty());
    }
}
