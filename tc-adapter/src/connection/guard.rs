//! What must be known before a request is sent: its parent, itself, the root qdisc that it would replace.

use super::{Answer, Connection};
use crate::checks::{Check, Checks};
use crate::entry::QdiscEntry;
use crate::error::Error;
use crate::handle::Handle;
use crate::message::{MessageType, NETLINK_HEADER};
use crate::packet::{Packet, Stake, Subject};
use crate::parents::{Known, Parents, Place, Touched, decide};
use crate::request::{self, Request};

const RTM_NEWQDISC: u16 = MessageType::NewQdisc.value();

impl Connection {
    /// Whether `subject` may be sent.
    #[cold]
    pub(super) fn ask_first(&mut self, subject: &Subject, request: &Request) -> Result<(), Error> {
        if let (Stake::Root, Request::ReplaceQdisc { qdisc, .. }) = (subject.at_stake, request) {
            return self.spare_root(subject, qdisc.kind());
        }
        let mut itself = None;
        if subject.at_stake == Stake::Itself {
            let known = self.ask_for_class(subject.device, subject.handle)?;
            // One that is where it is to be has its parent.
            if matches!(known, Known::There(_)) {
                return decide(subject, None, Some(&known));
            }
            itself = Some(known);
        }
        let mut parent = None;
        if let Some(classid) = subject.needs {
            let mut known = self.ask_for_class(subject.device, classid)?;
            if let (true, Some(above)) = (subject.checks.contains(Check::Depth), known.depends_on()) {
                known.is_below(&self.ask_for_class(subject.device, above)?);
            }
            parent = Some(known);
        }
        decide(subject, parent.as_ref(), itself.as_ref())
    }

    fn ask_for_class(&mut self, device: u32, classid: Handle) -> Result<Known, Error> {
        match self.request_valid(&Request::GetClass { device, classid }, Checks::NONE) {
            answer @ (Ok(_) | Err(Error::Kernel { errno: libc::ENOENT, .. })) => Ok(Known::from(&answer)),
            Err(error) => Err(error),
        }
    }

    /// As [`Self::spare_root`], for a message that would replace it.
    fn spare_root_from(&mut self, subject: &Subject, message: &[u8]) -> Result<(), Error> {
        let (_, kind) = QdiscEntry::decode_name(message.get(NETLINK_HEADER..).unwrap_or_default())?;
        self.spare_root(subject, &kind)
    }

    /// Refuses to replace a root qdisc that somebody has put there, unless it is only changed.
    fn spare_root(&mut self, subject: &Subject, kind: &str) -> Result<(), Error> {
        let question =
            Subject { handle: Handle::ROOT, ..Subject::named(MessageType::GetQdisc, subject.device) };
        self.packet.only(question, |buffer| request::encode_get_root(subject.device, buffer));
        let mut root = None;
        let told = self.ask(&question, |message_type, payload| {
            if message_type == RTM_NEWQDISC {
                root = Some(QdiscEntry::decode_name(payload)?);
            }
            Ok(())
        });
        match told {
            // The kernel shows nobody the `noop` of a device that was never up.
            Err(Error::Kernel { errno: libc::ENOENT, .. }) => return Ok(()),
            told => told?,
        };
        // One without a handle is the kernel's own.
        let Some((present, present_kind)) = root.filter(|(handle, _)| *handle != Handle::UNSPEC) else {
            return Ok(());
        };
        let changed_only =
            if subject.handle == Handle::UNSPEC { present_kind == kind } else { present == subject.handle };
        if changed_only {
            return Ok(());
        }
        let (device, asked) = (subject.device, subject.handle);
        Err(Error::WouldReplaceRoot { device, present, kind: present_kind, asked })
    }

    /// Carries out what is in `window`, which fits into one packet, and tells each message's outcome by its index. The
    /// window's content is lost.
    pub(crate) fn carry_out(
        &mut self,
        window: &mut Packet,
        parents: &mut Parents,
        mut outcome: impl FnMut(usize, Result<Answer, Error>),
    ) {
        if !window.subjects().iter().any(Subject::asks_first) {
            parents.forget(window.subjects());
            std::mem::swap(&mut self.packet, window);
            return self.transmit(outcome);
        }
        let mut next = 0;
        while let Some(first) = window.subjects().get(next).copied() {
            let start = next;
            if first.at_stake == Stake::Root
                && let Err(error) = self.spare_root_from(&first, window.message(next))
            {
                outcome(next, Err(error));
                next += 1;
                continue;
            }
            self.look_for_classes(&window.subjects()[next..], parents);
            // As far as no message depends on what another one of the packet does.
            self.packet.clear();
            let (mut indices, mut touched) = (Vec::new(), Touched::default());
            while let Some(&subject) = window.subjects().get(next) {
                // What is at the root is asked for when all that may change it is done.
                if subject.at_stake == Stake::Root && next != start {
                    break;
                }
                // One that was refused made nothing, so that its class may be unknown: it is asked for in the next round.
                if subject.places().any(|place| touched.holds(place) || !parents.knows(place)) {
                    break;
                }
                if let Err(error) = parents.require(&subject) {
                    outcome(next, Err(error));
                    next += 1;
                    continue;
                }
                touched.by(&subject);
                self.packet.push_message(subject, window.message(next));
                indices.push(next);
                next += 1;
            }
            self.transmit(|sent, result| {
                let index = indices[sent];
                parents.learn(&window.subjects()[index], &result);
                outcome(index, result);
            });
        }
    }

    /// Asks, in one packet, for the classes that nothing is known of.
    fn look_for_classes(&mut self, subjects: &[Subject], parents: &mut Parents) {
        let wanted = parents.unknown(subjects);
        self.ask_for_classes(&wanted, parents);
        if subjects.iter().any(|subject| subject.checks.contains(Check::Depth)) {
            let above = parents.measure(&wanted);
            self.ask_for_classes(&above, parents);
            parents.measure(&wanted);
        }
    }

    fn ask_for_classes(&mut self, places: &[Place], parents: &mut Parents) {
        for some in places.chunks(self.limits.messages) {
            self.packet.clear();
            for &(device, classid) in some {
                self.packet.push(&Request::GetClass { device, classid }, Checks::NONE);
            }
            self.transmit(|index, result| parents.found(some[index], &result));
        }
    }
}
