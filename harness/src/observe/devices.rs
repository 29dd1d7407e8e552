//! Names of devices, in whatever network namespace they are.
//!
//! A namespace is entered for the moment in which a name is asked for, by a thread that does nothing else, and no descriptor of one
//! is kept: that would make it outlive whoever made it.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// A name that could not be asked for again, since the namespace or its process has gone, is believed for so long.
const REMEMBERED: Duration = Duration::from_secs(10);
/// For so long nobody looks again for a namespace that could not be found: that means looking at every process.
const NOT_AGAIN: Duration = Duration::from_millis(100);
/// Names of so many devices are remembered at most.
const MOST: usize = 65_536;

/// A device: the inode of its namespace, and its index there. Both are used again when they have become free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Device {
    netns: u32,
    index: u32,
}

struct Known {
    name: Option<String>,
    asked: Instant,
    /// Of which batch of requests the asking was.
    batch: u64,
}

struct Question {
    device: Device,
    thread: u32,
}

/// Knows the names of devices.
pub struct Devices {
    known: HashMap<Device, Known>,
    batch: u64,
    /// To and from the thread; `None` when it could not be started.
    asker: Option<(Sender<Question>, Receiver<Option<String>>)>,
}

impl Devices {
    /// Starts the thread that asks.
    pub fn start() -> Self {
        let (questions, to_answer) = channel::<Question>();
        let (answer, answers) = channel();
        let started = thread::Builder::new().name("qdiscope-names".into()).spawn(move || {
            let mut places = HashMap::new();
            for question in to_answer {
                if answer.send(ask(&question, &mut places)).is_err() {
                    break;
                }
            }
        });
        let asker = started.map(|_| (questions, answers)).map_err(|error| {
            tracing::warn!("devices have no names: start a thread: {error}");
        });
        Self { known: HashMap::new(), batch: 0, asker: asker.ok() }
    }

    /// What is read from now on is new: a device may have got another name since.
    pub fn begin_batch(&mut self) {
        self.batch += 1;
        if self.known.len() > MOST {
            self.known.clear();
        }
    }

    /// The name of a device, by its index, in the namespace with this inode, which thread `thread` has used.
    pub fn name(&mut self, netns: u32, index: i32, thread: u32) -> Option<String> {
        let device = Device { netns, index: u32::try_from(index).ok()? };
        let now = Instant::now();
        let before = self.known.get(&device);
        if let Some(known) = before
            && (known.batch == self.batch || known.name.is_none() && now - known.asked < NOT_AGAIN)
        {
            return known.name.clone();
        }
        let asked = self.asker.as_ref().and_then(|(questions, answers)| {
            questions.send(Question { device, thread }).ok()?;
            answers.recv().ok()?
        });
        let (name, asked) = match (asked, before) {
            (Some(name), _) => (Some(name), now),
            (None, Some(known)) if now - known.asked < REMEMBERED => (known.name.clone(), known.asked),
            (None, _) => (None, now),
        };
        let batch = self.batch;
        self.known.insert(device, Known { name: name.clone(), asked, batch });
        name
    }
}

/// Asks in the device's namespace. `places` is where namespaces were found before.
fn ask(question: &Question, places: &mut HashMap<u32, PathBuf>) -> Option<String> {
    let Device { netns, index } = question.device;
    let own = Path::new("/proc/thread-self/ns/net");
    if is_at(netns, own) {
        return name_here(index);
    }
    let senders = PathBuf::from(format!("/proc/{}/ns/net", question.thread));
    let candidates = [Some(senders), places.get(&netns).cloned()].into_iter().flatten();
    let found = candidates.chain(named()).chain(of_processes()).find(|place| is_at(netns, place))?;
    let name = name_at(netns, &found, own, index);
    places.insert(netns, found);
    name
}

fn is_at(netns: u32, place: &Path) -> bool {
    fs::metadata(place).is_ok_and(|found| found.ino() == u64::from(netns))
}

/// Namespaces that `ip netns` has given names.
fn named() -> impl Iterator<Item = PathBuf> {
    entries("/run/netns")
}

/// Those in which processes are.
fn of_processes() -> impl Iterator<Item = PathBuf> {
    entries("/proc")
        .filter(|path| {
            path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
        })
        .map(|path| path.join("ns/net"))
}

fn entries(folder: &str) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn name_at(netns: u32, place: &Path, own: &Path, index: u32) -> Option<String> {
    let enter = |namespace: &File| setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
    let here = File::open(own).ok()?;
    let there = File::open(place).ok()?;
    // It may have become another since.
    if there.metadata().ok()?.ino() != u64::from(netns) {
        return None;
    }
    enter(&there).ok()?;
    let name = name_here(index);
    // From where the next question is asked matters only in that it may be this thread's own namespace.
    if let Err(error) = enter(&here) {
        tracing::debug!("back to the own network namespace: {error}");
    }
    name
}

fn name_here(index: u32) -> Option<String> {
    let mut name: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
    // SAFETY: the buffer is as long as the function wants it.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: the function ended the name with a zero.
    Some(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_netns() -> u32 {
        u32::try_from(fs::metadata("/proc/thread-self/ns/net").unwrap().ino()).unwrap()
    }

    #[test]
    fn a_device_of_the_own_namespace_has_its_name() {
        let mut devices = Devices::start();
        devices.begin_batch();
        let lo = c"lo";
        // SAFETY: a string that ends with a zero.
        let index = unsafe { libc::if_nametoindex(lo.as_ptr()) };
        let index = i32::try_from(index).unwrap();
        assert_eq!(devices.name(own_netns(), index, 0).as_deref(), Some("lo"));
        assert_eq!(devices.name(own_netns(), i32::MAX, 0), None);
    }

    #[test]
    fn a_namespace_that_nobody_has_gives_no_names() {
        let mut devices = Devices::start();
        devices.begin_batch();
        assert_eq!(devices.name(1, 1, 0), None);
    }

    #[test]
    fn a_name_is_asked_for_again_and_remembered_when_it_cannot_be() {
        let mut devices = Devices::start();
        devices.begin_batch();
        let device = Device { netns: 1, index: 1 };
        let known = |asked| Known { name: Some("eth0".into()), asked, batch: 0 };
        devices.known.insert(device, known(Instant::now()));
        assert_eq!(devices.name(1, 1, 0).as_deref(), Some("eth0"));
        let Some(long_ago) = Instant::now().checked_sub(REMEMBERED) else { return };
        devices.known.insert(device, known(long_ago));
        assert_eq!(devices.name(1, 1, 0), None);
    }
}
