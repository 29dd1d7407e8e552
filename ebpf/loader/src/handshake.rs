//! Telling the probes whom to follow.
//!
//! A probe sees process ids of the initial PID namespace, and a loader in a container does not know its own there. So the
//! loader draws a number, puts it into the probes before they are loaded, and "sends" that many bytes from nowhere to no
//! socket: the probe that sees this call knows the caller. That the answer comes also proves that the probe fires.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    io, ptr,
};

/// A length that no real send has: at least 2^63 bytes.
pub(crate) fn cookie() -> u64 {
    // The standard library seeds this from the kernel's random numbers.
    RandomState::new().build_hasher().finish() | 1 << 63
}

/// `sendto(-1, NULL, cookie, 0, NULL, 0)`, which fails with `EBADF` after the tracepoint was passed.
pub(crate) fn call(cookie: u64) -> io::Result<()> {
    // SAFETY: the kernel refuses the descriptor before it looks at the buffer. Directly, because libc may implement
    // sendto() by another system call.
    let result = unsafe {
        libc::syscall(libc::SYS_sendto, -1, ptr::null::<u8>(), cookie, 0, ptr::null::<libc::sockaddr>(), 0)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_no_lengths_and_differ() {
        let (one, other) = (cookie(), cookie());
        assert!(one >= 1 << 63 && other >= 1 << 63);
        assert_ne!(one, other);
    }

    #[test]
    fn the_call_itself_does_nothing() {
        assert_eq!(call(cookie()).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
