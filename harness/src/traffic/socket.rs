//! Packet sockets (packet(7)): whole frames to and from one device.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use super::frame::ETHER_TYPE;

/// Room for what comes while the receiver is not scheduled: some 20,000 short frames.
const RECEIVE_BUFFER: libc::c_int = 16 << 20;

/// Room for what waits in the device's queues, which counts as the sender's until it has left them: some 170,000 short frames, where 170 queues
/// of 1,000 are full. By default it is 270, and then the sender would wait where a queue is to be full.
const SEND_BUFFER: libc::c_int = 64 << 20;

/// `AF_PACKET` as addresses have it.
#[expect(clippy::cast_possible_truncation, reason = "it is 17")]
const FAMILY: libc::sa_family_t = libc::AF_PACKET as libc::sa_family_t;

/// A structure's length, as the socket calls take it.
#[expect(clippy::cast_possible_truncation, reason = "some bytes")]
const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// A packet socket on one device, of the calling thread's network namespace.
#[derive(Debug)]
pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Sends only: it is bound to no protocol, so that nothing is queued for it.
    pub(super) fn sender(device: u32) -> io::Result<Self> {
        let socket = Self::open(device, 0)?;
        // Beyond net.core.wmem_max, which root may (socket(7)).
        socket.set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER)?;
        Ok(socket)
    }

    /// Receives our `EtherType` only.
    pub(super) fn receiver(device: u32) -> io::Result<Self> {
        let socket = Self::open(device, ETHER_TYPE)?;
        // Beyond net.core.rmem_max, which root may (socket(7)).
        socket.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER)?;
        Ok(socket)
    }

    fn open(device: u32, protocol: u16) -> io::Result<Self> {
        // SAFETY: socket(2) takes no pointers; a descriptor that it returns is ours alone.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Self(OwnedFd::from_raw_fd(fd))
        };
        // SAFETY: all zeros is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = FAMILY;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = device.cast_signed();
        // SAFETY: the address is of the length that is given.
        let outcome = unsafe {
            libc::bind(socket.0.as_raw_fd(), (&raw const address).cast(), length_of::<libc::sockaddr_ll>())
        };
        if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
    }

    fn set<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the value is of the length that is given.
        let outcome = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(value).cast(),
                length_of::<T>(),
            )
        };
        if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// `skb->priority` of what is sent from here on. HTB takes one whose major is its own for the class
    /// (`htb_classify` in `net/sched/sch_htb.c`). Above 6 it needs `CAP_NET_ADMIN` (socket(7), `SO_PRIORITY`).
    pub(super) fn set_priority(&self, priority: u32) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_PRIORITY, &priority)
    }

    /// How long [`Self::receive`] waits.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        let time = libc::timeval {
            tv_sec: patience.as_secs().cast_signed(),
            tv_usec: i64::from(patience.subsec_micros()),
        };
        self.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &time)
    }

    /// Sends a frame. `ENOBUFS`: a queue dropped it.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the frame is of the length that is given.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits for a frame; 0: none came in time.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the buffer has room for the length that is given.
        let got = unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        if let Ok(got) = usize::try_from(got) {
            return Ok(got);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(0),
            _ => Err(error),
        }
    }

    /// Frames that came and found no room in the receive buffer, since the last time this was asked (`PACKET_STATISTICS`).
    pub(super) fn dropped(&self) -> io::Result<u64> {
        let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = length_of::<libc::tpacket_stats>();
        // SAFETY: there is room for the length that is given.
        let outcome = unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        };
        if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(u64::from(statistics.tp_drops)) }
    }
}
