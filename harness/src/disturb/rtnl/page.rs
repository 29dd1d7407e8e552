//! A system call that sleeps with RTNL in its hands until we let it go on.
//!
//! `ioctl(SIOCETHTOOL)` with `ETHTOOL_GSTRINGS` copies its answer to the caller's memory under `rtnl_lock()` (net/ethtool/ioctl.c,
//! `ethtool_get_strings()`). The answer's second page is missing, and userfaultfd(2) leaves it to us when it appears. The sleep can be
//! killed (`FAULT_FLAG_KILLABLE`, fs/userfaultfd.c): whoever ends the process takes RTNL from it at once.
//!
//! The strings are the names of features, of `lo`, which every network namespace has: nothing is changed, and nothing created.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr;
use std::time::Duration;

/// include/uapi/linux/userfaultfd.h.
const UFFD_API: u64 = 0xAA;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;
/// `_IOWR(0xAA, …)` of the structures below.
const UFFDIO_API: libc::c_ulong = 0xC018_AA3F;
const UFFDIO_REGISTER: libc::c_ulong = 0xC020_AA00;
const UFFDIO_ZEROPAGE: libc::c_ulong = 0xC020_AA04;
/// `_IO(0xAA, 0x00)`, of /dev/userfaultfd.
const USERFAULTFD_IOC_NEW: libc::c_ulong = 0xAA00;
/// Only one that does not block can be waited for by poll(2) (`userfaultfd_poll()`).
const FLAGS: libc::c_int = libc::O_CLOEXEC | libc::O_NONBLOCK;
/// A message is as long as that, whatever it says.
const MESSAGE_BYTES: usize = 32;

/// include/uapi/linux/sockios.h and ethtool.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETH_SS_FEATURES: u32 = 4;

#[repr(C)]
struct UffdioApi {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
struct UffdioRange {
    start: u64,
    len: u64,
}

#[repr(C)]
struct UffdioRegister {
    range: UffdioRange,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct UffdioZeropage {
    range: UffdioRange,
    mode: u64,
    zeropage: i64,
}

/// The question; the strings follow it.
#[repr(C)]
struct EthtoolGstrings {
    command: u32,
    string_set: u32,
    length: u32,
}

/// Two pages, of which the second is missing.
pub(super) struct Page {
    memory: *mut libc::c_void,
    /// Bytes of one.
    size: usize,
    faults: OwnedFd,
    socket: OwnedFd,
}

// SAFETY: the memory is mapped until this is dropped, and is touched by the kernel only, and by `ask`, which borrows exclusively what it
// writes by the contract of its only caller; descriptors may be used by any thread.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// Makes the pages, and has the kernel ask us for the second one.
    pub(super) fn new() -> io::Result<Self> {
        let faults = open()?;
        let mut api = UffdioApi { api: UFFD_API, features: 0, ioctls: 0 };
        // SAFETY: the structure is the one that the request is for, and lives as long as the call.
        checked(unsafe { libc::ioctl(faults.as_raw_fd(), UFFDIO_API, &raw mut api) })?;
        let page = usize::try_from(procfs::page_size()).map_err(io::Error::other)?;
        // SAFETY: a new mapping, of no file, wherever there is room.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                2 * page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: creates a descriptor that is nobody else's.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            let error = io::Error::last_os_error();
            // SAFETY: mapped above, and not used yet.
            unsafe { libc::munmap(memory, 2 * page) };
            return Err(error);
        }
        // SAFETY: just created.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let pages = Self { memory, size: page, faults, socket };
        let mut register =
            UffdioRegister { range: pages.missing(), mode: UFFDIO_REGISTER_MODE_MISSING, ioctls: 0 };
        // SAFETY: the structure is the one that the request is for; the range is ours.
        checked(unsafe { libc::ioctl(pages.faults.as_raw_fd(), UFFDIO_REGISTER, &raw mut register) })?;
        Ok(pages)
    }

    fn missing(&self) -> UffdioRange {
        UffdioRange { start: (self.memory.addr() + self.size) as u64, len: self.size as u64 }
    }

    /// Asks for the strings, and returns when somebody else has called [`Page::appear`], and RTNL has been given back. For one thread only.
    pub(super) fn ask(&self) -> io::Result<()> {
        // SAFETY: at the end of the first page, which is mapped and writable; page ends are aligned for these three words.
        let question = unsafe {
            let question =
                self.memory.byte_add(self.size - size_of::<EthtoolGstrings>()).cast::<EthtoolGstrings>();
            question.write(EthtoolGstrings {
                command: ETHTOOL_GSTRINGS,
                string_set: ETH_SS_FEATURES,
                length: 0,
            });
            question
        };
        // SAFETY: all zeros is a value of this structure.
        let mut request: libc::ifreq = unsafe { zeroed() };
        request.ifr_name[0] = b'l'.cast_signed();
        request.ifr_name[1] = b'o'.cast_signed();
        request.ifr_ifru.ifru_data = question.cast();
        // SAFETY: the request is whole, and the answer has a page's room behind the question: there are some 64 names of 32 bytes.
        let asked = checked(unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) });
        // SAFETY: the second page is ours and holds nothing that is needed; it is missing again afterwards.
        let emptied = checked(unsafe {
            libc::madvise(self.memory.byte_add(self.size), self.size, libc::MADV_DONTNEED)
        });
        asked.and(emptied)
    }

    /// Waits until the page is asked for, or `ended` has something to read, or is closed. At most for `longest`.
    pub(super) fn wait(&self, ended: Option<BorrowedFd<'_>>, longest: Option<Duration>) -> io::Result<Woken> {
        let polled = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // A negative one is passed over (poll(2)).
        let ended = ended.map_or(-1, |ended| ended.as_raw_fd());
        let mut fds = [polled(self.faults.as_raw_fd()), polled(ended)];
        let longest = longest.map(|longest| libc::timespec {
            tv_sec: libc::time_t::try_from(longest.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: longest.subsec_nanos().into(),
        });
        let longest = longest.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the list and the time are valid for as long as the call takes; no signal mask is changed.
        let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), 2, longest, ptr::null()) };
        match ready {
            0 => Ok(Woken::Time),
            1.. if fds[0].revents & libc::POLLIN != 0 => self.read(),
            1.. if fds[0].revents != 0 => Err(io::Error::other("the userfaultfd is in error")),
            1.. => Ok(Woken::End),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(Woken::Time),
                error => Err(error),
            },
        }
    }

    fn read(&self) -> io::Result<Woken> {
        let mut message = [0_u8; MESSAGE_BYTES];
        // SAFETY: the buffer has room for as many bytes as are asked for.
        let read = unsafe { libc::read(self.faults.as_raw_fd(), message.as_mut_ptr().cast(), MESSAGE_BYTES) };
        match read {
            0.. => Ok(Woken::Question),
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(Woken::Time),
                error => Err(error),
            },
        }
    }

    /// Lets the page appear, and with it the caller of [`Page::ask`] go on.
    pub(super) fn appear(&self) -> io::Result<()> {
        let mut zeros = UffdioZeropage { range: self.missing(), mode: 0, zeropage: 0 };
        // SAFETY: the structure is the one that the request is for; the range is ours, and missing.
        checked(unsafe { libc::ioctl(self.faults.as_raw_fd(), UFFDIO_ZEROPAGE, &raw mut zeros) })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; nobody is in `ask`, for that borrows this.
        unsafe { libc::munmap(self.memory, 2 * self.size) };
    }
}

/// Why [`Page::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// The page is missed.
    Question,
    /// The other descriptor is ready.
    End,
    /// The time is over, or a signal came.
    Time,
}

/// By the system call, which for pages that the kernel misses takes `CAP_SYS_PTRACE`; else by the device, which takes its permissions.
fn open() -> io::Result<OwnedFd> {
    // SAFETY: creates a descriptor that is nobody else's.
    let opened = unsafe { libc::syscall(libc::SYS_userfaultfd, FLAGS) };
    let opened = libc::c_int::try_from(opened).map_err(io::Error::other)?;
    if opened >= 0 {
        // SAFETY: just created.
        return Ok(unsafe { OwnedFd::from_raw_fd(opened) });
    }
    let refused = io::Error::last_os_error();
    let Ok(device) = std::fs::File::open("/dev/userfaultfd") else { return Err(refused) };
    // SAFETY: creates a descriptor that is nobody else's; the argument is its flags.
    let opened = unsafe { libc::ioctl(device.as_raw_fd(), USERFAULTFD_IOC_NEW, FLAGS) };
    checked(opened).map_err(|_| refused)?;
    // SAFETY: just created.
    Ok(unsafe { OwnedFd::from_raw_fd(opened) })
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
