//! The packets that are sent through classes. Pure.

/// The `EtherType` that IEEE 802 keeps for local experiments (RFC 9542, section 2.1.3): no protocol of the host takes it.
pub const ETHER_TYPE: u16 = 0x88B5;

/// The shortest Ethernet frame without its checksum (IEEE 802.3, 4.2.3.3).
pub const LENGTH: usize = 60;

/// Tells our packets from those of somebody else's experiment.
const MAGIC: [u8; 4] = *b"qdsc";

const TYPE_AT: usize = 12;
const MAGIC_AT: usize = 14;
const RUN_AT: usize = 18;
const STREAM_AT: usize = 26;
const NUMBER_AT: usize = 30;
const TIME_AT: usize = 38;

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Drawn by the sender: packets of an earlier one may still be queued.
    pub run: u64,
    /// Which stream.
    pub stream: u32,
    /// Its number in the stream, from 0 on.
    pub number: u64,
    /// When it was sent, nanoseconds of `CLOCK_MONOTONIC`.
    pub sent_ns: u64,
}

impl Payload {
    /// The frame from one hardware address to another.
    pub fn frame(&self, to: [u8; 6], from: [u8; 6]) -> [u8; LENGTH] {
        let mut frame = [0; LENGTH];
        frame[..6].copy_from_slice(&to);
        frame[6..TYPE_AT].copy_from_slice(&from);
        frame[TYPE_AT..MAGIC_AT].copy_from_slice(&ETHER_TYPE.to_be_bytes());
        frame[MAGIC_AT..RUN_AT].copy_from_slice(&MAGIC);
        frame[RUN_AT..STREAM_AT].copy_from_slice(&self.run.to_be_bytes());
        frame[STREAM_AT..NUMBER_AT].copy_from_slice(&self.stream.to_be_bytes());
        frame[NUMBER_AT..TIME_AT].copy_from_slice(&self.number.to_be_bytes());
        frame[TIME_AT..TIME_AT + 8].copy_from_slice(&self.sent_ns.to_be_bytes());
        frame
    }

    /// What a frame carries; `None`: it is none of ours.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let word = |at: usize| frame.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
        (frame.get(TYPE_AT..MAGIC_AT)? == ETHER_TYPE.to_be_bytes() && frame.get(MAGIC_AT..RUN_AT)? == MAGIC)
            .then_some(())?;
        Some(Self {
            run: word(RUN_AT)?,
            stream: u32::from_be_bytes(frame.get(STREAM_AT..NUMBER_AT)?.try_into().ok()?),
            number: word(NUMBER_AT)?,
            sent_ns: word(TIME_AT)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(run: u64, stream: u32, number: u64, sent_ns: u64) {
            let payload = Payload { run, stream, number, sent_ns };
            prop_assert_eq!(Payload::read(&payload.frame([1; 6], [2; 6])), Some(payload));
        }

        #[test]
        fn no_frame_panics(frame: Vec<u8>) {
            let _ = Payload::read(&frame);
        }
    }

    #[test]
    fn what_is_not_ours_is_none() {
        let frame = Payload { run: 1, stream: 2, number: 3, sent_ns: 4 }.frame([0xFF; 6], [2; 6]);
        assert_eq!(Payload::read(&frame[..LENGTH - 20]), None);
        let mut other = frame;
        other[TYPE_AT] = 8;
        assert_eq!(Payload::read(&other), None);
    }
}
