//! When a request was where, on its caller's side.

use std::time::Instant;

/// The moments of one request, in their order: what a tracer of the kernel's side is joined with, by the port id and the
/// [`sequence`](crate::Answer::sequence) number. Taken where [`SocketOptions::timed`](crate::SocketOptions::timed) asks for it; each
/// costs a reading of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// It was encoded; from here on it waits for the connection. Where the kernel was asked for its parent first, after that.
    pub encoded: Instant,
    /// Just before the system call that sent its packet.
    pub sent: Instant,
    /// Just after it. The kernel has handled the request in between.
    pub returned: Instant,
    /// The answer to its packet was read.
    pub answered: Instant,
}

/// The moments of the packet that is on its way; nothing where nobody wants to know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stamps {
    wanted: bool,
    encoded: Option<Instant>,
    sent: Option<Instant>,
    returned: Option<Instant>,
    answered: Option<Instant>,
}

impl Stamps {
    pub(crate) fn new(wanted: bool) -> Self {
        Self { wanted, ..Self::default() }
    }

    pub(crate) fn encoded(&mut self) {
        self.encoded = self.now();
    }

    pub(crate) fn forget_encoded(&mut self) {
        self.encoded = None;
    }

    pub(crate) fn sent(&mut self) {
        self.sent = self.now();
    }

    pub(crate) fn returned(&mut self) {
        self.returned = self.now();
    }

    pub(crate) fn answered(&mut self) {
        self.answered = self.now();
    }

    fn now(&self) -> Option<Instant> {
        self.wanted.then(Instant::now)
    }

    /// The moments, boxed because hardly anybody wants them and everybody moves an answer.
    pub(crate) fn timing(&self) -> Option<Box<Timing>> {
        let (sent, returned, answered) = (self.sent?, self.returned?, self.answered?);
        Some(Box::new(Timing { encoded: self.encoded.unwrap_or(sent), sent, returned, answered }))
    }
}
