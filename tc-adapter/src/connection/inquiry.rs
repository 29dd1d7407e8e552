//! What is so, where an answer was lost: the kernel is asked, and nothing is guessed.

use super::{Answer, Connection, Evidence, conclude};
use crate::checks::Checks;
use crate::entry::{ClassEntry, QdiscEntry};
use crate::error::{Error, Inquiry, Loss};
use crate::filter::FilterEntry;
use crate::handle::Handle;
use crate::message::{MessageType, NETLINK_HEADER};
use crate::packet::Subject;
use crate::request::Request;

impl Connection {
    /// The answer to this message was lost: does the kernel show what it was to bring about?
    pub(super) fn inquire(
        &mut self,
        subject: &Subject,
        sequence: u32,
        loss: Loss,
        message: &[u8],
    ) -> Result<Answer, Error> {
        if subject.is_question() {
            return self.ask_again(subject, sequence, loss, message);
        }
        let payload = message.get(NETLINK_HEADER..).unwrap_or_default();
        let shown = match subject.operation {
            MessageType::NewClass => self.shows_class(subject, payload),
            MessageType::DelClass => self.class(subject.device, subject.handle).map(|class| class.is_none()),
            MessageType::NewQdisc => self.shows_qdisc(subject, payload),
            MessageType::NewFilter => self.shows_filter(subject, payload),
            MessageType::DelFilter => self.shows_no_filter(subject, payload),
            _ => self.qdisc_of(subject).map(|qdisc| qdisc.is_none()),
        };
        match shown {
            Ok(true) => {
                Ok(Answer { sequence, warning: None, class: None, evidence: Evidence::State, timing: None })
            }
            Ok(false) => Err(subject.lost(sequence, loss, Inquiry::NoEffect)),
            Err(_) => Err(subject.lost(sequence, loss, Inquiry::Failed)),
        }
    }

    /// Questions may be asked twice; a third time only if the answer is lost again.
    fn ask_again(
        &mut self,
        subject: &Subject,
        sequence: u32,
        loss: Loss,
        message: &[u8],
    ) -> Result<Answer, Error> {
        self.packet.clear();
        self.packet.push_message(*subject, message);
        let first = self.dispatch()?;
        let received = self.socket.receive(&mut self.incoming, false);
        let heard = self.listen(first, received);
        let told = std::mem::take(&mut self.heard[0]);
        conclude(subject, first, told, &heard)
            .unwrap_or_else(|| Err(subject.lost(sequence, loss, Inquiry::NotNeeded)))
    }

    fn class(&mut self, device: u32, classid: Handle) -> Result<Option<Box<ClassEntry>>, Error> {
        match self.request_valid(&Request::GetClass { device, classid }, Checks::NONE) {
            Ok(answer) => Ok(answer.class),
            Err(Error::Kernel { errno: libc::ENOENT | libc::ENODEV | libc::EINVAL, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn shows_class(&mut self, subject: &Subject, payload: &[u8]) -> Result<bool, Error> {
        let asked = ClassEntry::decode(payload)?;
        let Some(found) = self.class(subject.device, subject.handle)? else { return Ok(false) };
        let (Some(asked_htb), Some(mut found_htb)) = (asked.htb, found.htb) else { return Ok(false) };
        // The kernel tells the quantum that it computed.
        if asked_htb.quantum.is_none() {
            found_htb.quantum = None;
        }
        Ok(subject.may_be_under(found.parent) && asked_htb == found_htb)
    }

    /// What hangs at the place that the message is about.
    fn qdisc_of(&mut self, subject: &Subject) -> Result<Option<QdiscEntry>, Error> {
        let qdiscs = match self.qdiscs(Some(subject.device)) {
            Err(Error::NoSuchDevice { .. }) => return Ok(None),
            qdiscs => qdiscs?,
        };
        Ok(qdiscs.into_iter().find(|qdisc| {
            let named = subject.handle == Handle::UNSPEC || qdisc.handle == subject.handle;
            qdisc.parent == subject.parent && qdisc.handle != Handle::UNSPEC && named
        }))
    }

    fn shows_qdisc(&mut self, subject: &Subject, payload: &[u8]) -> Result<bool, Error> {
        let asked = QdiscEntry::decode(payload)?;
        let Some(found) = self.qdisc_of(subject)? else { return Ok(false) };
        let link = self.link(subject.device)?;
        Ok(match (asked.options, found.options) {
            (Some(asked), Some(found)) => asked.meets(&found, link),
            // Without settings in the message, any of the kind is what was asked for.
            (None, _) => asked.kind == found.kind,
            (Some(_), None) => false,
        })
    }

    /// The filters of one prio.
    fn filters_of(&mut self, subject: &Subject, asked: &FilterEntry) -> Result<Vec<FilterEntry>, Error> {
        let mut filters = match self.filters(subject.device, subject.parent) {
            // What it hung on has gone.
            Err(Error::Kernel { errno: libc::ENOENT | libc::ENODEV | libc::EINVAL, .. }) => {
                return Ok(Vec::new());
            }
            filters => filters?,
        };
        filters.retain(|filter| {
            filter.chain == asked.chain
                && (asked.prio == 0 || filter.prio == asked.prio)
                && (asked.handle == 0 || filter.handle == asked.handle)
        });
        Ok(filters)
    }

    fn shows_filter(&mut self, subject: &Subject, payload: &[u8]) -> Result<bool, Error> {
        let asked = FilterEntry::decode(payload)?;
        let found = self.filters_of(subject, &asked)?;
        let Some(asked) = asked.filter else { return Ok(false) };
        Ok(found.iter().filter_map(|entry| entry.filter.as_ref()).any(|found| asked.meets(found)))
    }

    fn shows_no_filter(&mut self, subject: &Subject, payload: &[u8]) -> Result<bool, Error> {
        let asked = FilterEntry::decode(payload)?;
        Ok(self.filters_of(subject, &asked)?.is_empty())
    }
}
