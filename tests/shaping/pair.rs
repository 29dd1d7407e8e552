//! Two network namespaces and the wire between them.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::panic::resume_unwind;
use std::{process, thread};

use libtest_mimic::Failed;
use nix::sched::{CloneFlags, setns, unshare};
use std::os::fd::AsRawFd;
use support::{run, veth};

/// The device that is shaped, in the test's own namespace.
pub(crate) const NEAR: &str = "near0";
const FAR: &str = "far0";

/// From the block that is kept for measurements (RFC 2544).
pub(crate) const NEAR_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const FAR_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// A veth pair from the calling thread's namespace, where it is [`NEAR`], to another one. Both go when this and the thread do.
pub(crate) struct Pair {
    far: File,
}

/// What the near end hands to the qdisc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packets {
    /// As they would be on a wire: frames of at most 1,514 bytes.
    Frames,
    /// Up to 64 KiB, to be cut into frames by whoever is last (GSO).
    Large,
}

impl Pair {
    /// Both ends up and addressed.
    pub(crate) fn new(packets: Packets) -> Result<Self, Failed> {
        let far = thread::scope(|scope| {
            let made = scope.spawn(|| -> Result<File, Failed> {
                unshare(CloneFlags::CLONE_NEWNET)?;
                // It lives on by this descriptor.
                Ok(File::open("/proc/thread-self/ns/net")?)
            });
            made.join().unwrap_or_else(|panic| resume_unwind(panic))
        })?;
        let pair = Self { far };
        veth(NEAR, FAR)?;
        let namespace = format!("/proc/{}/fd/{}", process::id(), pair.far.as_raw_fd());
        run(&format!("ip link set {FAR} netns {namespace}"))?;
        if packets == Packets::Frames {
            // Turning off the device's offloads would not do: TCP hands large packets to the qdisc all the same, and they are cut
            // behind it.
            run(&format!("ip link set {NEAR} gso_max_segs 1"))?;
        }
        run(&format!("ip addr add {NEAR_ADDRESS}/30 dev {NEAR}"))?;
        run(&format!("ip link set {NEAR} up"))?;
        pair.far(|| {
            run(&format!("ip addr add {FAR_ADDRESS}/30 dev {FAR}"))?;
            run(&format!("ip link set {FAR} up"))
        })?;
        Ok(pair)
    }

    /// Runs `work` in the far namespace. Sockets opened there stay there, whoever uses them.
    fn far<T: Send>(&self, work: impl FnOnce() -> Result<T, Failed> + Send) -> Result<T, Failed> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.far, CloneFlags::CLONE_NEWNET)?;
                work()
            });
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// A listener at the far end.
    pub(crate) fn listen(&self, port: u16) -> Result<TcpListener, Failed> {
        self.far(|| Ok(TcpListener::bind(far_address(port))?))
    }

    /// A UDP socket at the far end.
    pub(crate) fn far_udp(&self, port: u16) -> Result<UdpSocket, Failed> {
        self.far(|| Ok(UdpSocket::bind(far_address(port))?))
    }
}

/// A port of the far end.
pub(crate) fn far_address(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(FAR_ADDRESS, port)
}
