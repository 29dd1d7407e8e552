//! Which parent classes are there, as far as one batch knows.

use std::collections::{HashMap, HashSet};

use crate::connection::Answer;
use crate::error::{Error, Inquiry, Loss};
use crate::handle::Handle;
use crate::message::MessageType;
use crate::packet::Subject;
use crate::request::Request;

/// A class by its device and classid.
type Place = (u32, Handle);

/// What is known of a class that others are to hang under.
#[derive(Debug)]
enum Known {
    There,
    /// With the kernel's explanation.
    Missing(Option<String>),
    /// The kernel refused to tell.
    Refused(i32),
    /// It could not be asked for; the next packet asks again.
    Unclear(Loss),
}

/// Learns from the outcomes of a batch's own requests, and knows for whom to ask.
#[derive(Debug, Default)]
pub(crate) struct Parents(HashMap<Place, Known>);

/// What requests that are on their way may have made or unmade.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    classes: HashSet<Place>,
    devices: HashSet<u32>,
}

impl Touched {
    pub(crate) fn by(&mut self, subject: &Subject) {
        match subject.operation {
            MessageType::NewClass | MessageType::DelClass => {
                self.classes.insert((subject.device, subject.handle));
            }
            // All classes of a qdisc go with it.
            MessageType::NewQdisc | MessageType::DelQdisc => {
                self.devices.insert(subject.device);
            }
            _ => {}
        }
    }

    pub(crate) fn holds(&self, place: Place) -> bool {
        self.classes.contains(&place) || self.devices.contains(&place.0)
    }
}

impl Parents {
    /// The parents among `subjects` that must be asked for before any is sent: those of which nothing is known and which none
    /// of the earlier subjects touches.
    pub(crate) fn unknown(&self, subjects: &[Subject]) -> Vec<Place> {
        let (mut unknown, mut listed, mut touched) = (Vec::new(), HashSet::new(), Touched::default());
        for subject in subjects {
            if let Some(parent) = subject.needs {
                let place = (subject.device, parent);
                let known = self.0.get(&place).is_some_and(|known| !matches!(known, Known::Unclear(_)));
                if !known && !touched.holds(place) && listed.insert(place) {
                    unknown.push(place);
                }
            }
            touched.by(subject);
        }
        unknown
    }

    /// What asking for a parent gave.
    pub(crate) fn found(&mut self, place: Place, answer: &Result<Answer, Error>) {
        let known = match answer {
            Ok(_) => Known::There,
            Err(Error::Kernel { errno: libc::ENOENT, ext_ack, .. }) => Known::Missing(ext_ack.clone()),
            Err(Error::AnswerLost { loss, .. }) => Known::Unclear(*loss),
            Err(Error::Malformed(malformed)) => Known::Unclear(Loss::Malformed(*malformed)),
            Err(error) => Known::Refused(error.errno().unwrap_or_default()),
        };
        self.0.insert(place, known);
    }

    /// Whether `subject` may be sent.
    pub(crate) fn require(&self, subject: &Subject, parent: Handle) -> Result<(), Error> {
        match self.0.get(&(subject.device, parent)) {
            Some(Known::There) => Ok(()),
            Some(Known::Missing(ext_ack)) => Err(subject.without_parent(parent, ext_ack.clone())),
            // The kernel would say the same of the class itself.
            Some(Known::Refused(errno)) => Err(Error::Kernel {
                operation: subject.operation,
                device: subject.device,
                handle: subject.handle,
                errno: *errno,
                ext_ack: None,
            }),
            Some(Known::Unclear(loss)) => {
                let question = Request::GetClass { device: subject.device, classid: parent };
                Err(Subject::of(&question).lost(0, *loss, Inquiry::NotNeeded))
            }
            None => Err(subject.without_parent(parent, None)),
        }
    }

    /// Whether a class was asked for, or is known otherwise.
    pub(crate) fn knows(&self, place: Place) -> bool {
        self.0.contains_key(&place)
    }

    /// What a request of the batch itself has changed.
    pub(crate) fn learn(&mut self, subject: &Subject, outcome: &Result<Answer, Error>) {
        let place = (subject.device, subject.handle);
        let errno = outcome.as_ref().err().and_then(Error::errno);
        let known = match (subject.operation, outcome) {
            (MessageType::NewQdisc | MessageType::DelQdisc, _) => {
                self.0.retain(|(device, _), _| *device != subject.device);
                return;
            }
            (MessageType::NewClass, Ok(_) | Err(Error::ParentNotApplied { .. })) => Known::There,
            (MessageType::NewClass, Err(_)) if errno == Some(libc::EEXIST) => Known::There,
            (MessageType::DelClass, Ok(_)) => Known::Missing(None),
            (MessageType::NewClass | MessageType::DelClass, _) => {
                self.0.remove(&place);
                return;
            }
            _ => return,
        };
        self.0.insert(place, known);
    }

    /// Forgets what `subjects` may change, whose outcomes will not be learnt.
    pub(crate) fn forget(&mut self, subjects: &[Subject]) {
        if self.0.is_empty() {
            return;
        }
        let mut touched = Touched::default();
        for subject in subjects {
            touched.by(subject);
        }
        self.0.retain(|place, _| !touched.holds(*place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Evidence;
    use crate::htb::HtbClass;

    fn class(minor: u16) -> Handle {
        Handle::new(1, minor)
    }

    fn add(parent: Handle, minor: u16) -> Subject {
        let settings = HtbClass::new("8mbit".parse().unwrap());
        Subject::of(&Request::AddClass { device: 1, parent, classid: class(minor), class: settings })
    }

    fn delete(minor: u16) -> Subject {
        Subject::of(&Request::DeleteClass { device: 1, classid: class(minor) })
    }

    #[expect(clippy::unnecessary_wraps, reason = "an outcome")]
    fn done() -> Result<Answer, Error> {
        Ok(Answer { sequence: 1, warning: None, class: None, evidence: Evidence::Acknowledged })
    }

    #[test]
    fn each_unknown_parent_is_asked_for_once_unless_the_batch_makes_it() {
        let subjects = [
            add(class(9), 1),
            add(class(9), 2),
            add(Handle::qdisc(1), 5),
            add(class(5), 6),
            add(class(7), 8),
            delete(9),
            add(class(9), 3),
        ];
        let mut parents = Parents::default();
        assert_eq!(parents.unknown(&subjects), [(1, class(9)), (1, class(7))]);
        parents.found((1, class(9)), &done());
        parents.found((1, class(7)), &Err(delete(7).refused(crate::reply::Verdict { errno: 2, text: None })));
        assert_eq!(parents.unknown(&subjects), []);
        assert!(parents.require(&subjects[0], class(9)).is_ok());
        let missing = parents.require(&subjects[4], class(7));
        assert!(matches!(missing, Err(Error::MissingParent { .. })), "{missing:?}");
    }

    #[test]
    fn an_unclear_parent_is_not_missing_and_is_asked_for_again() {
        let mut parents = Parents::default();
        let child = add(class(9), 1);
        parents.found((1, class(9)), &Err(delete(9).lost(1, Loss::Overrun, Inquiry::NotNeeded)));
        let told = parents.require(&child, class(9));
        assert!(matches!(told, Err(Error::AnswerLost { handle, .. }) if handle == class(9)), "{told:?}");
        assert_eq!(parents.unknown(&[child]), [(1, class(9))]);
    }

    /// A request that is refused before it is sent makes nothing, also for those of the same batch that build on it.
    #[test]
    fn what_a_refused_request_would_have_made_is_not_known() {
        let subjects = [add(class(9), 5), add(class(5), 6)];
        let parents = Parents::default();
        assert_eq!(parents.unknown(&subjects), [(1, class(9))]);
        assert!(!parents.knows((1, class(5))));
        assert_eq!(parents.unknown(&subjects[1..]), [(1, class(5))]);
    }

    #[test]
    fn what_the_batch_changes_is_learnt_or_forgotten() {
        let (child, parent) = (add(class(5), 6), add(Handle::qdisc(1), 5));
        let mut parents = Parents::default();
        parents.learn(&parent, &done());
        assert!(parents.require(&child, class(5)).is_ok());
        parents.learn(&delete(5), &done());
        assert!(parents.require(&child, class(5)).is_err());
        parents.learn(&parent, &done());
        parents.forget(&[delete(5)]);
        assert_eq!(parents.unknown(&[child]), [(1, class(5))]);
        parents.learn(&parent, &done());
        let qdisc = Request::DeleteQdisc { device: 1, parent: Handle::ROOT, handle: Handle::qdisc(1) };
        parents.learn(&Subject::of(&qdisc), &done());
        assert_eq!(parents.unknown(&[child]), [(1, class(5))]);
    }
}
