//! Reading the ring buffer: each request, with what the kernel said in words about it.

use std::{collections::HashMap, ops::ControlFlow};

use aya::maps::{MapData, RingBuf};
use ebpf_common::{Detail, DetailedEvent, ExtAckEvent, RequestEvent, SampleEvent};

/// A request in the ring buffer, with the buffer's own header.
const EVENT_BYTES: u64 = size_of::<RequestEvent>() as u64 + 8;

/// The least that a ring buffer can have on most machines; a larger page only makes the limit of one drain too strict.
const PAGE: u64 = 4096;

/// What the ring buffer has.
pub(crate) enum Event<'a> {
    Request(&'a RequestEvent, Option<&'a str>, Option<&'a Detail>),
    Sample(&'a SampleEvent),
}

pub(crate) struct Events {
    ring: RingBuf<MapData>,
    /// How many one drain reads at most: no more than fit into the buffer at once.
    at_once: u64,
    texts: Texts,
}

impl Events {
    pub(crate) fn new(ring: RingBuf<MapData>, ring_buffer_bytes: u32) -> Self {
        // Rounded up as the kernel does.
        let at_once = u64::from(ring_buffer_bytes).next_power_of_two().max(PAGE) / EVENT_BYTES;
        Self { ring, at_once, texts: Texts::default() }
    }

    /// Hands each request that is ready to `each`, with the kernel's words and what it was about, and each sample, until that has enough,
    /// and returns the number of requests.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(Event<'_>) -> ControlFlow<()>) -> u64 {
        let mut requests = 0;
        for _ in 0..self.at_once {
            let Some(item) = self.ring.next() else { break };
            if item.len() == size_of::<RequestEvent>() {
                requests += 1;
                // SAFETY: as many bytes as the event has, all of which the probe wrote; any bytes are valid integers.
                let event = unsafe { item.as_ptr().cast::<RequestEvent>().read_unaligned() };
                let text = self.texts.take(&event);
                let text = text.as_ref().map(ExtAckEvent::text);
                if each(Event::Request(&event, text, None)).is_break() {
                    break;
                }
            } else if item.len() == size_of::<DetailedEvent>() {
                requests += 1;
                // SAFETY: as above.
                let event = unsafe { item.as_ptr().cast::<DetailedEvent>().read_unaligned() };
                let text = self.texts.take(&event.request);
                let text = text.as_ref().map(ExtAckEvent::text);
                if each(Event::Request(&event.request, text, Some(&event.detail))).is_break() {
                    break;
                }
            } else if item.len() == size_of::<ExtAckEvent>() {
                // SAFETY: as above.
                self.texts.keep(unsafe { item.as_ptr().cast::<ExtAckEvent>().read_unaligned() });
            } else if item.len() == size_of::<SampleEvent>() {
                // SAFETY: as above.
                let sample = unsafe { item.as_ptr().cast::<SampleEvent>().read_unaligned() };
                if each(Event::Sample(&sample)).is_break() {
                    break;
                }
            } else {
                // The object is embedded and the layout asserted: only a programming mistake comes here.
                log::error!("an event of {} bytes was skipped", item.len());
            }
        }
        requests
    }
}

/// The last text of each thread, until its request ends.
#[derive(Default)]
struct Texts(HashMap<u32, ExtAckEvent>);

/// Texts of so many threads are kept at most: a thread that dies within a request leaves one behind.
const MAX_TEXTS: usize = 4096;

impl Texts {
    fn keep(&mut self, event: ExtAckEvent) {
        if self.0.len() >= MAX_TEXTS {
            self.0.clear();
        }
        // The kernel replaces an earlier text of the same request, too.
        self.0.insert(event.tid, event);
    }

    fn take(&mut self, event: &RequestEvent) -> Option<ExtAckEvent> {
        // Nearly always empty, and then this costs nothing.
        if self.0.is_empty() {
            return None;
        }
        self.0.remove(&event.tid).filter(|text| text.start_ns == event.start_ns)
    }
}

#[cfg(test)]
mod tests {
    use ebpf_common::EXT_ACK_BYTES;

    use super::*;

    fn said(tid: u32, start_ns: u64, letter: u8) -> ExtAckEvent {
        let mut text = [0; EXT_ACK_BYTES];
        text[0] = letter;
        ExtAckEvent { tid, sequence: 0, start_ns, text }
    }

    fn request(tid: u32, start_ns: u64) -> RequestEvent {
        RequestEvent { tid, start_ns, ..RequestEvent::default() }
    }

    #[test]
    fn a_text_belongs_to_one_request_of_its_thread() {
        let mut texts = Texts::default();
        texts.keep(said(1, 10, b'a'));
        texts.keep(said(1, 10, b'b'));
        assert_eq!(texts.take(&request(2, 10)), None);
        assert_eq!(texts.take(&request(1, 10)).unwrap().text(), "b");
        assert_eq!(texts.take(&request(1, 10)), None);
        // Its own request was lost.
        texts.keep(said(1, 20, b'c'));
        assert_eq!(texts.take(&request(1, 30)), None);
        assert_eq!(texts.take(&request(1, 20)), None);
    }
}
