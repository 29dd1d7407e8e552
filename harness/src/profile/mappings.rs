//! Which file of which process an address belongs to, also when the process has ended before anybody asks.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use procfs::process::{MMPermissions, MMapPath, Process};

/// A process that maps code anew all the time is looked at no more often than this.
const NOT_BEFORE: Duration = Duration::from_millis(20);

/// Mapped files that are kept open at most: each takes a descriptor.
const MOST_FILES: usize = 512;

/// A mapped file: its number in [`Mappings`].
type FileId = usize;

/// The code that processes had mapped when they were looked at.
#[derive(Default)]
pub struct Mappings {
    processes: HashMap<u32, Looks>,
    files: Vec<MappedFile>,
    /// By device and inode, so that each is opened once.
    known: HashMap<(i32, i32, u64), FileId>,
    /// This process, by the id that the kernel has for it: in a container it has another one in `/proc`.
    this: Option<u32>,
}

struct MappedFile {
    /// As the process names it.
    name: String,
    /// Held open: it may be deleted, or be in a mount namespace that ends.
    open: Option<File>,
}

#[derive(Default)]
struct Looks {
    /// The newest last: a process is another one after `execve(2)`.
    looks: Vec<Vec<Range>>,
    last: Option<Instant>,
}

struct Range {
    start: u64,
    end: u64,
    offset: u64,
    file: FileId,
}

/// Where an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file's name without its folders, or `[vdso]`.
    pub module: String,
    /// By which it can be read, and the offset in it; `None` where it cannot.
    pub file: Option<(PathBuf, u64)>,
}

impl Mappings {
    /// Knows this process by its id in the initial PID namespace.
    pub fn with_this_process(id: u32) -> Self {
        Self { this: Some(id), ..Self::default() }
    }

    /// Makes sure that the process is known with code at this address, as far as that can be: to be called soon after the address was seen.
    /// The process's id is that in the initial PID namespace, which must be ours.
    pub fn look(&mut self, process: u32, address: u64) {
        if self.range(process, address).is_some() {
            return;
        }
        let looks = self.processes.entry(process).or_default();
        if looks.last.is_some_and(|last| last.elapsed() < NOT_BEFORE) {
            return;
        }
        looks.last = Some(Instant::now());
        if let Some(ranges) = self.read(process)
            && let Some(looks) = self.processes.get_mut(&process)
        {
            looks.looks.push(ranges);
        }
    }

    /// Whether the process was seen alive.
    pub fn knows(&self, process: u32) -> bool {
        self.processes.get(&process).is_some_and(|looks| !looks.looks.is_empty())
    }

    /// Where the address is; `None` for what was not mapped from a file when it was looked at.
    pub fn place(&self, process: u32, address: u64) -> Option<Place> {
        let range = self.range(process, address)?;
        let file = self.files.get(range.file)?;
        let path =
            file.open.as_ref().map(|open| PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())));
        let module = Path::new(&file.name)
            .file_name()
            .map_or_else(|| file.name.clone(), |name| name.to_string_lossy().into_owned());
        Some(Place { module, file: path.map(|path| (path, address - range.start + range.offset)) })
    }

    fn range(&self, process: u32, address: u64) -> Option<&Range> {
        let looks = self.processes.get(&process)?;
        looks.looks.iter().rev().flatten().find(|range| (range.start..range.end).contains(&address))
    }

    fn read(&mut self, process: u32) -> Option<Vec<Range>> {
        let id = if self.this == Some(process) { std::process::id() } else { process };
        let maps = Process::new(i32::try_from(id).ok()?).ok()?.maps().ok()?;
        let code = maps.0.into_iter().filter(|map| map.perms.contains(MMPermissions::EXECUTE));
        Some(
            code.filter_map(|map| {
                let name = match &map.pathname {
                    MMapPath::Path(path) => path.to_string_lossy().into_owned(),
                    MMapPath::Vdso => "[vdso]".to_owned(),
                    _ => return None,
                };
                let (start, end) = map.address;
                let key = (map.dev.0, map.dev.1, map.inode);
                let file = match self.known.get(&key) {
                    Some(&file) => file,
                    None => self.open(key, name, id, start, end),
                };
                Some(Range { start, end, offset: map.offset, file })
            })
            .collect(),
        )
    }

    fn open(&mut self, key: (i32, i32, u64), name: String, process: u32, start: u64, end: u64) -> FileId {
        // By the mapping and not by its name, which may be another file's by now, or a container's.
        let path = format!("/proc/{process}/map_files/{start:x}-{end:x}");
        let open = if self.files.len() < MOST_FILES { File::open(path).ok() } else { None };
        let file = self.files.len();
        self.files.push(MappedFile { name, open });
        self.known.insert(key, file);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_code_is_found_in_our_own_file() {
        let (process, address) = (std::process::id(), Mappings::place as *const () as u64);
        let mut mappings = Mappings::default();
        assert!(!mappings.knows(process) && mappings.place(process, address).is_none());
        mappings.look(process, address);
        assert!(mappings.knows(process));
        let place = mappings.place(process, address).unwrap();
        let own = std::env::current_exe().unwrap();
        assert_eq!(place.module, own.file_name().unwrap().to_string_lossy());
        // The link to it is for root.
        if let Some((path, offset)) = place.file {
            assert_eq!(std::fs::metadata(path).unwrap().len(), std::fs::metadata(&own).unwrap().len());
            assert!(offset > 0 && offset < std::fs::metadata(&own).unwrap().len());
        }
        assert_eq!(mappings.place(process, 0), None);
    }

    #[test]
    fn who_is_not_there_is_not_known() {
        let mut mappings = Mappings::default();
        mappings.look(u32::MAX, 0x1000);
        mappings.look(u32::MAX, 0x1000);
        assert!(!mappings.knows(u32::MAX) && mappings.place(u32::MAX, 0x1000).is_none());
    }
}
