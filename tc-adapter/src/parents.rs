//! Which classes are there, and what with, as far as one batch knows.

use std::collections::{HashMap, HashSet};

use crate::checks::{Check, Checks};
use crate::connection::{Answer, Evidence, is_under};
use crate::entry::ClassEntry;
use crate::error::{Error, Inquiry, Loss};
use crate::handle::Handle;
use crate::message::MessageType;
use crate::packet::{Act, Stake, Subject};
use crate::reply::{Malformed, Verdict};
use crate::request::Request;

/// A class by its device and classid.
pub(crate) type Place = (u32, Handle);

/// What is known of a class that others are to hang under, or that is to be replaced.
#[derive(Debug)]
pub(crate) enum Known {
    There(Class),
    /// With the kernel's explanation.
    Missing(Option<String>),
    /// The kernel refused to tell.
    Refused(i32, Option<String>),
    /// It could not be asked for; the next packet asks again.
    Unclear(Loss),
}

/// A class that is there.
#[derive(Debug)]
pub(crate) struct Class {
    parent: Handle,
    /// The qdisc that somebody put there.
    leaf: Option<Handle>,
    /// 1 for one directly under its qdisc.
    depth: Option<u32>,
}

/// Levels of an HTB hierarchy (`TC_HTB_MAXDEPTH`).
const DEEPEST: u32 = 8;

impl Class {
    fn of(entry: &ClassEntry) -> Self {
        // The kernel counts inner classes from above, 7 to 1, and calls every leaf 0.
        let depth = match entry.level {
            _ if entry.parent == Handle::ROOT => Some(1),
            0 => None,
            level => DEEPEST.checked_sub(level),
        };
        Self { parent: entry.parent, leaf: entry.leaf, depth }
    }

    fn below(above: Option<&Known>) -> Option<u32> {
        match above {
            Some(Known::There(class)) => class.depth.map(|depth| depth + 1),
            _ => None,
        }
    }
}

/// What asking for a class gave.
impl From<&Result<Answer, Error>> for Known {
    fn from(answer: &Result<Answer, Error>) -> Self {
        match answer {
            Ok(Answer { class: Some(class), .. }) => Self::There(Class::of(class)),
            Ok(_) => Self::Unclear(Loss::Malformed(Malformed("an answer without the class"))),
            Err(Error::Kernel { errno: libc::ENOENT, ext_ack, .. }) => Self::Missing(ext_ack.clone()),
            Err(Error::AnswerLost { loss, .. }) => Self::Unclear(*loss),
            Err(Error::Malformed(malformed)) => Self::Unclear(Loss::Malformed(*malformed)),
            Err(error) => {
                Self::Refused(error.errno().unwrap_or_default(), error.ext_ack().map(str::to_owned))
            }
        }
    }
}

impl Known {
    /// The class above, which must be asked for to know how deep this one is.
    pub(crate) fn depends_on(&self) -> Option<Handle> {
        match self {
            Self::There(Class { parent, depth: None, .. }) => Some(*parent),
            _ => None,
        }
    }

    /// Which is this one.
    pub(crate) fn is_below(&mut self, above: &Self) {
        if let Self::There(class @ Class { depth: None, .. }) = self {
            class.depth = Class::below(Some(above));
        }
    }
}

/// Whether `subject` may be sent, by what is known of its parent and of itself.
pub(crate) fn decide(subject: &Subject, parent: Option<&Known>, itself: Option<&Known>) -> Result<(), Error> {
    match itself {
        None | Some(Known::Missing(_)) => {}
        // It has its parent, and is there already.
        Some(Known::There(class)) if is_under(class.parent, subject.parent) => return Ok(()),
        Some(Known::There(class)) => return Err(subject.would_not_move(class.parent)),
        Some(unknown) => return Err(not_told(subject, subject.handle, unknown)),
    }
    let Some(classid) = subject.needs else { return Ok(()) };
    let required = subject.checks.contains(Check::MissingParent);
    match parent {
        Some(Known::There(Class { leaf: Some(leaf), .. })) if subject.checks.contains(Check::LeafLoss) => {
            Err(subject.would_destroy(*leaf))
        }
        Some(Known::There(Class { depth: Some(DEEPEST..), .. })) if subject.checks.contains(Check::Depth) => {
            Err(subject.too_deep())
        }
        Some(Known::Missing(ext_ack)) if required => Err(subject.without_parent(classid, ext_ack.clone())),
        None if required => Err(subject.without_parent(classid, None)),
        Some(unknown @ (Known::Refused(..) | Known::Unclear(_))) => Err(not_told(subject, classid, unknown)),
        _ => Ok(()),
    }
}

/// Why `subject` is not sent when `classid` could not be learnt of.
fn not_told(subject: &Subject, classid: Handle, known: &Known) -> Error {
    match known {
        // The kernel would say the same of the class itself.
        Known::Refused(errno, ext_ack) => subject.refused(Verdict { errno: *errno, text: ext_ack.clone() }),
        Known::Unclear(loss) => {
            let question = Request::GetClass { device: subject.device, classid };
            Subject::of(&question, Checks::NONE).lost(0, *loss, Inquiry::NotNeeded)
        }
        Known::There(_) | Known::Missing(_) => subject.without_parent(classid, None),
    }
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
    /// The classes that must be asked for before any of `subjects` is sent: those of which nothing is known and which none
    /// of the earlier subjects touches.
    pub(crate) fn unknown(&self, subjects: &[Subject]) -> Vec<Place> {
        let (mut unknown, mut listed, mut touched) = (Vec::new(), HashSet::new(), Touched::default());
        for subject in subjects {
            for place in subject.places() {
                let known = self.0.get(&place).is_some_and(|known| !matches!(known, Known::Unclear(_)));
                if !known && !touched.holds(place) && listed.insert(place) {
                    unknown.push(place);
                }
            }
            touched.by(subject);
        }
        unknown
    }

    /// What asking for a class gave.
    pub(crate) fn found(&mut self, place: Place, answer: &Result<Answer, Error>) {
        self.0.insert(place, Known::from(answer));
    }

    /// Finds out how deep these classes are, as far as those above are known. Gives those above that are to be asked for.
    pub(crate) fn measure(&mut self, places: &[Place]) -> Vec<Place> {
        let mut unknown = HashSet::new();
        for place in places {
            let Some(above) = self.0.get(place).and_then(Known::depends_on) else { continue };
            match Class::below(self.0.get(&(place.0, above))) {
                None => drop(unknown.insert((place.0, above))),
                Some(found) => {
                    if let Some(Known::There(class)) = self.0.get_mut(place) {
                        class.depth = Some(found);
                    }
                }
            }
        }
        unknown.into_iter().collect()
    }

    /// Whether `subject` may be sent.
    pub(crate) fn require(&self, subject: &Subject) -> Result<(), Error> {
        let known = |classid| self.0.get(&(subject.device, classid));
        let itself = if subject.at_stake == Stake::Itself { known(subject.handle) } else { None };
        decide(subject, subject.needs.and_then(known), itself)
    }

    /// Whether a class was asked for, or is known otherwise.
    pub(crate) fn knows(&self, place: Place) -> bool {
        self.0.contains_key(&place)
    }

    /// What a request of the batch itself has changed.
    pub(crate) fn learn(&mut self, subject: &Subject, outcome: &Result<Answer, Error>) {
        let place = (subject.device, subject.handle);
        match (subject.operation, outcome) {
            (MessageType::NewQdisc | MessageType::DelQdisc, _) => {
                self.0.retain(|(device, _), _| *device != subject.device);
            }
            (MessageType::NewClass, Ok(answer)) => self.learn_class(subject, answer),
            // It stands as it stood.
            (MessageType::NewClass, Err(error))
                if error.errno() == Some(libc::EEXIST)
                    && matches!(self.0.get(&place), Some(Known::There(_))) => {}
            (MessageType::DelClass, Ok(_)) => {
                self.0.insert(place, Known::Missing(None));
            }
            (MessageType::NewClass | MessageType::DelClass, Err(_)) => {
                self.0.remove(&place);
            }
            _ => {}
        }
    }

    fn learn_class(&mut self, subject: &Subject, answer: &Answer) {
        let place = (subject.device, subject.handle);
        let certain = answer.evidence == Evidence::Acknowledged;
        match (&answer.class, subject.act) {
            (Some(entry), _) => {
                let class = Class::of(entry);
                let depth = class.depth.or_else(|| Class::below(self.0.get(&(subject.device, entry.parent))));
                self.0.insert(place, Known::There(Class { depth, ..class }));
            }
            (None, Act::Add) if certain => {
                let at_root = subject.parent.minor() == 0;
                let parent = if at_root { Handle::ROOT } else { subject.parent };
                let above = self.0.get(&(subject.device, parent));
                let depth = if at_root { Some(1) } else { Class::below(above) };
                self.0.insert(place, Known::There(Class { parent, leaf: None, depth }));
            }
            // A change leaves it where it was, with its qdisc.
            (None, _) if certain && matches!(self.0.get(&place), Some(Known::There(_))) => {}
            (None, _) => {
                self.0.remove(&place);
            }
        }
        let above = (subject.device, subject.parent);
        match (self.0.get_mut(&above), subject.act) {
            (Some(Known::There(class)), Act::Add) => class.leaf = None,
            // It may have been there, elsewhere.
            (Some(Known::There(Class { leaf: Some(_), .. })), Act::Replace) => {
                self.0.remove(&above);
            }
            _ => {}
        }
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
    use crate::htb::HtbClass;
    use crate::stats::Stats;

    fn class(minor: u16) -> Handle {
        Handle::new(1, minor)
    }

    fn add(parent: Handle, minor: u16) -> Subject {
        let settings = HtbClass::new("8mbit".parse().unwrap());
        Subject::of(
            &Request::AddClass { device: 1, parent, classid: class(minor), class: settings },
            Checks::ALL,
        )
    }

    fn delete(minor: u16) -> Subject {
        Subject::of(&Request::DeleteClass { device: 1, classid: class(minor) }, Checks::ALL)
    }

    #[expect(clippy::unnecessary_wraps, reason = "an outcome")]
    fn done() -> Result<Answer, Error> {
        Ok(Answer { sequence: 1, warning: None, class: None, evidence: Evidence::Acknowledged, timing: None })
    }

    /// What the kernel tells of a class under `1:`.
    fn told(minor: u16, parent: Handle, leaf: Option<Handle>) -> Result<Answer, Error> {
        let entry = ClassEntry {
            device: 1,
            classid: class(minor),
            parent,
            leaf,
            level: 0,
            kind: "htb".into(),
            htb: None,
            stats: Stats::default(),
            xstats: None,
        };
        done().map(|answer| Answer { class: Some(Box::new(entry)), ..answer })
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
        parents.found((1, class(9)), &told(9, Handle::ROOT, None));
        parents.found((1, class(7)), &Err(delete(7).refused(Verdict { errno: 2, text: None })));
        assert_eq!(parents.unknown(&subjects), []);
        assert!(parents.require(&subjects[0]).is_ok());
        let missing = parents.require(&subjects[4]);
        assert!(matches!(missing, Err(Error::MissingParent { .. })), "{missing:?}");
    }

    #[test]
    fn a_leaf_qdisc_is_spared_until_it_has_gone() {
        let mut parents = Parents::default();
        let child = add(class(9), 1);
        let leaf = Handle::qdisc(0x10);
        parents.found((1, class(9)), &told(9, Handle::ROOT, Some(leaf)));
        let refused = parents.require(&child);
        assert!(
            matches!(refused, Err(Error::WouldDestroyLeaf { parent, leaf: lost, .. }) if (parent, lost) == (class(9), leaf)),
            "{refused:?}"
        );
        let allowed = Subject { checks: Checks::ALL.without(Check::LeafLoss), ..child };
        assert!(parents.require(&allowed).is_ok());
        parents.learn(&allowed, &done());
        assert!(parents.require(&child).is_ok(), "its sibling has destroyed it");
    }

    #[test]
    fn levels_are_counted() {
        let mut parents = Parents::default();
        parents.learn(&add(Handle::qdisc(1), 1), &done());
        for minor in 2..=8 {
            let child = add(class(minor - 1), minor);
            assert!(parents.require(&child).is_ok(), "{minor}");
            // With an echo or without one.
            let echo = told(minor, class(minor - 1), None);
            parents.learn(&child, &if minor % 2 == 0 { echo } else { done() });
        }
        let ninth = add(class(8), 9);
        let refused = parents.require(&ninth);
        assert!(matches!(refused, Err(Error::TooDeep { parent, .. }) if parent == class(8)), "{refused:?}");
        assert!(parents.require(&Subject { checks: Checks::ALL.without(Check::Depth), ..ninth }).is_ok());
        // An inner class tells its level, a leaf that of the one above.
        for (level, depth) in [(7, 1), (6, 2), (1, 7)] {
            let entry = |minor| told(minor, class(0x20), None).unwrap().class.unwrap();
            let above = Known::There(Class::of(&ClassEntry { level, ..*entry(0x10) }));
            assert!(
                matches!(above, Known::There(Class { depth: Some(told), .. }) if told == depth),
                "{level}"
            );
            let mut leaf = Known::There(Class::of(&entry(0x11)));
            assert_eq!((above.depends_on(), leaf.depends_on()), (None, Some(class(0x20))));
            leaf.is_below(&above);
            assert_eq!(decide(&add(class(0x11), 0x12), Some(&leaf), None).is_err(), depth == 7);
        }
    }

    #[test]
    fn a_replacement_is_held_to_where_the_class_is() {
        let replace_with = |parent, checks| {
            let settings = HtbClass::new("8mbit".parse().unwrap());
            let request = Request::ReplaceClass { device: 1, parent, classid: class(5), class: settings };
            Subject::of(&request, checks)
        };
        let replace = |parent| replace_with(parent, Checks::ALL);
        let mut parents = Parents::default();
        let (here, there) = (replace(class(9)), replace(class(8)));
        assert_eq!(parents.unknown(&[here]), [(1, class(9)), (1, class(5))]);
        parents.learn(&add(class(9), 5), &done());
        assert!(parents.require(&here).is_ok());
        let refused = parents.require(&there);
        assert!(
            matches!(refused, Err(Error::WouldNotMove { actual, .. }) if actual == class(9)),
            "{refused:?}"
        );
        // Whatever a change did, it did not move.
        let change = Subject { act: Act::Change, parent: Handle::UNSPEC, ..there };
        parents.learn(&change, &done());
        assert!(parents.require(&there).is_err());
        parents.learn(&delete(5), &done());
        parents.learn(&add(Handle::qdisc(1), 8), &done());
        assert!(parents.require(&there).is_ok(), "it is made");
        let allowed = replace_with(class(8), Checks::ALL.without(Check::Reparenting));
        assert!(allowed.at_stake == Stake::Nothing && !allowed.wants_class);
    }

    #[test]
    fn an_unclear_parent_is_not_missing_and_is_asked_for_again() {
        let mut parents = Parents::default();
        let child = add(class(9), 1);
        parents.found((1, class(9)), &Err(delete(9).lost(1, Loss::Overrun, Inquiry::NotNeeded)));
        let told = parents.require(&child);
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
        assert!(parents.require(&child).is_ok());
        parents.learn(&delete(5), &done());
        assert!(parents.require(&child).is_err());
        parents.learn(&parent, &done());
        parents.forget(&[delete(5)]);
        assert_eq!(parents.unknown(&[child]), [(1, class(5))]);
        parents.learn(&parent, &done());
        let qdisc = Request::DeleteQdisc { device: 1, parent: Handle::ROOT, handle: Handle::qdisc(1) };
        parents.learn(&Subject::of(&qdisc, Checks::ALL), &done());
        assert_eq!(parents.unknown(&[child]), [(1, class(5))]);
    }
}
