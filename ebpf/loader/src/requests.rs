//! Harmless traffic-control requests, by which the probes are tried.
//!
//! Each names a device that cannot exist. The kernel looks for it, does not find it, and answers `ENODEV` or `ENOENT`
//! (`net/sched/sch_api.c`, `cls_api.c`): nothing changes.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
};

use ebpf_common::Cookie;

pub(crate) const RTM_NEWQDISC: u16 = 36;
pub(crate) const RTM_GETQDISC: u16 = 38;
pub(crate) const RTM_DELTCLASS: u16 = 41;
pub(crate) const RTM_NEWTFILTER: u16 = 44;
pub(crate) const RTM_DELTFILTER: u16 = 45;
pub(crate) const RTM_GETTFILTER: u16 = 46;

const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
/// `struct nlmsghdr` and `struct tcmsg`.
const MESSAGE_LENGTH: usize = 16 + 20;

/// A netlink socket.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn open() -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = unsafe {
            libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just opened and that nobody else has.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: all zeros is an address: the kernel chooses the port.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).unwrap_or_default();
        // SAFETY: the address and its length.
        let bound =
            unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), socket_length(&address)) };
        if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(Self(socket)) }
    }

    /// The port id that the kernel chose.
    pub(crate) fn port_id(&self) -> io::Result<u32> {
        // SAFETY: all zeros is an address.
        let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
        let mut length = socket_length(&address);
        // SAFETY: the address, and its length to begin with.
        let got =
            unsafe { libc::getsockname(self.0.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
        if got < 0 { Err(io::Error::last_os_error()) } else { Ok(address.nl_pid) }
    }

    /// Sends a request, takes the answer off the socket, and returns the kernel's verdict, if that is what the answer is: 0 or a
    /// negative errno.
    pub(crate) fn ask(&self, message_type: u16, numbers: Cookie) -> Option<i32> {
        let message = message(message_type, numbers);
        let mut answer = [0_u8; 256];
        // SAFETY: both buffers are valid for the lengths given; a null address means the kernel.
        let length = unsafe {
            libc::sendto(self.0.as_raw_fd(), message.as_ptr().cast(), message.len(), 0, ptr::null(), 0);
            libc::recv(self.0.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), libc::MSG_DONTWAIT)
        };
        let is_verdict = length >= 20 && u16::from_ne_bytes([answer[4], answer[5]]) == NLMSG_ERROR;
        is_verdict.then(|| i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]))
    }
}

fn socket_length(address: &libc::sockaddr_nl) -> libc::socklen_t {
    libc::socklen_t::try_from(size_of_val(address)).unwrap_or_default()
}

fn message(message_type: u16, numbers: Cookie) -> [u8; MESSAGE_LENGTH] {
    let mut message = [0; MESSAGE_LENGTH];
    message[0..4].copy_from_slice(&36_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&message_type.to_ne_bytes());
    message[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    message[8..12].copy_from_slice(&numbers.sequence.to_ne_bytes());
    message[12..16].copy_from_slice(&numbers.port_id.to_ne_bytes());
    // tcm_ifindex: the kernel hands out indices from 1 upwards and does not come here.
    message[20..24].copy_from_slice(&i32::MAX.to_ne_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_are_for_a_device_that_cannot_exist() {
        let socket = Socket::open().unwrap();
        assert_ne!(socket.port_id().unwrap(), 0);
        for kind in
            [RTM_NEWQDISC, RTM_GETQDISC, RTM_DELTCLASS, RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER]
        {
            let message = message(kind, Cookie::default());
            let mut answer = [0_u8; 256];
            // SAFETY: as in `ask`.
            let length = unsafe {
                libc::sendto(socket.0.as_raw_fd(), message.as_ptr().cast(), message.len(), 0, ptr::null(), 0);
                libc::recv(socket.0.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), libc::MSG_DONTWAIT)
            };
            assert!(length >= 20, "{kind}: no answer");
            let errno = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
            // Without privileges the kernel refuses earlier.
            assert!([-libc::ENODEV, -libc::ENOENT, -libc::EPERM].contains(&errno), "{kind}: {errno}");
        }
    }
}
