//! What the kernel would take in silence, or refuse without a word, is refused here with one.

use crate::checks::{Check, Checks};
use crate::handle::Handle;
use crate::htb::{HtbClass, transmit_ticks};
use crate::rate::Rate;
use crate::request::Request;
use crate::size::Size;

/// A request that makes no sense to HTB.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// A class needs a major and a minor of 1 to ffff. The kernel would create `1:0`, which then becomes the parent of
    /// the classes added under `1:`.
    #[error("{0} cannot name a class: major and minor must both be from 1 to ffff")]
    NotAClass(Handle),
    /// A qdisc is named by a major alone.
    #[error("{0} cannot name a qdisc: it must be like 1:, without a minor")]
    NotAQdisc(Handle),
    /// The parent must be `root`, a qdisc or a class, with a major (only a change may leave it out, as `none`).
    #[error("{0} cannot be the parent here")]
    NotAParent(Handle),
    /// `ceil` below `rate`: the guarantee would exceed the limit.
    #[error("ceil {ceil} is below rate {rate}")]
    CeilBelowRate {
        /// The rate.
        rate: Rate,
        /// The ceil.
        ceil: Rate,
    },
    /// The kernel would clamp it to 7.
    #[error("priority {0} is above 7")]
    Priority(u32),
    /// With a burst of 0 the class could never send. Leave it out for the default.
    #[error("a burst of 0 would block the class")]
    BurstZero,
    /// The burst would take 274.9 s or longer, more than the kernel's 32-bit tick count holds.
    #[error("a burst of {burst} takes too long at {rate}: 274 s at most")]
    BurstTooLong {
        /// The burst.
        burst: Size,
        /// The rate that it goes with.
        rate: Rate,
    },
    /// 0 means "compute it" to the kernel (leave it out for that), and from 2^31 on it would be negative.
    #[error("quantum {0} is not from 1 to 2147483647")]
    Quantum(u32),
    /// The kernel would take an r2q of 0 for 1.
    #[error("r2q must be at least 1")]
    R2qZero,
    /// A setting that the kernel would refuse without a word, or take for another one.
    #[error("{kind}: {setting} must be {allowed}")]
    Setting {
        /// The kind of the qdisc, filter or action.
        kind: &'static str,
        /// `tc`'s word for it.
        setting: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// A device by name where the kernel needs its index.
    #[error("the index of the device {0:?} was not looked up")]
    Unresolved(String),
    /// Device index 0 is no device.
    #[error("the device index is 0")]
    NoDevice,
}

impl InvalidRequest {
    /// The check that found it. `None`: it has no opt-out, since it cannot be sent or the kernel refuses it anyway.
    pub fn check(&self) -> Option<Check> {
        match self {
            Self::NotAClass(_) => Some(Check::Classid),
            Self::NotAParent(_) => Some(Check::Parent),
            Self::CeilBelowRate { .. } => Some(Check::CeilBelowRate),
            Self::Priority(_) => Some(Check::Priority),
            Self::BurstZero | Self::BurstTooLong { .. } => Some(Check::Burst),
            Self::Quantum(_) => Some(Check::Quantum),
            Self::R2qZero | Self::Setting { .. } => Some(Check::Settings),
            Self::NotAQdisc(_) | Self::Unresolved(_) | Self::NoDevice => None,
        }
    }

    fn unless_allowed(self, checks: Checks) -> Result<(), Self> {
        if self.check().is_none_or(|check| checks.contains(check)) { Err(self) } else { Ok(()) }
    }
}

impl Request {
    /// Checks what the kernel does not check or does not explain, as far as the request alone shows it.
    /// [`Connection`](crate::Connection) and [`Client`](crate::Client) do this before sending.
    pub fn validate(&self) -> Result<(), InvalidRequest> {
        self.validate_with(Checks::ALL)
    }

    /// As [`Request::validate`], with these checks only.
    pub fn validate_with(&self, checks: Checks) -> Result<(), InvalidRequest> {
        if self.device() == 0 {
            return Err(InvalidRequest::NoDevice);
        }
        match self {
            Self::AddQdisc { parent, handle, qdisc, .. }
            | Self::ChangeQdisc { parent, handle, qdisc, .. }
            | Self::ReplaceQdisc { parent, handle, qdisc, .. } => {
                check_qdisc(*handle)?;
                qdisc.validate().or_else(|invalid| invalid.unless_allowed(checks))?;
                check_parent(*parent, checks)
            }
            Self::AddFilter { parent, filter, .. }
            | Self::ChangeFilter { parent, filter, .. }
            | Self::ReplaceFilter { parent, filter, .. } => {
                filter.validate().or_else(|invalid| invalid.unless_allowed(checks))?;
                check_parent(*parent, checks)
            }
            Self::DeleteFilter { parent, .. } => check_parent(*parent, checks),
            Self::DeleteQdisc { parent, handle, .. } => {
                check_qdisc(*handle)?;
                check_parent(*parent, checks)
            }
            Self::AddClass { parent, classid, class, .. }
            | Self::ReplaceClass { parent, classid, class, .. } => {
                check_classid(*classid, checks)?;
                check_parent(*parent, checks)?;
                check_class(class, checks)
            }
            Self::ChangeClass { parent, classid, class, .. } => {
                check_classid(*classid, checks)?;
                if *parent != Handle::UNSPEC {
                    check_parent(*parent, checks)?;
                }
                check_class(class, checks)
            }
            Self::DeleteClass { classid, .. } | Self::GetClass { classid, .. } => {
                check_classid(*classid, checks)
            }
        }
    }
}

/// An HTB class, wherever it comes from.
pub(crate) fn check_class_at(
    classid: Handle,
    parent: Handle,
    class: &HtbClass,
) -> Result<(), InvalidRequest> {
    check_classid(classid, Checks::ALL)?;
    check_parent(parent, Checks::ALL)?;
    check_class(class, Checks::ALL)
}

fn check_qdisc(handle: Handle) -> Result<(), InvalidRequest> {
    if handle.minor() == 0 { Ok(()) } else { Err(InvalidRequest::NotAQdisc(handle)) }
}

fn check_classid(classid: Handle, checks: Checks) -> Result<(), InvalidRequest> {
    if classid.major() == 0 || classid.minor() == 0 || classid == Handle::ROOT {
        return InvalidRequest::NotAClass(classid).unless_allowed(checks);
    }
    Ok(())
}

fn check_parent(parent: Handle, checks: Checks) -> Result<(), InvalidRequest> {
    if parent.major() == 0 { InvalidRequest::NotAParent(parent).unless_allowed(checks) } else { Ok(()) }
}

fn check_class(class: &HtbClass, checks: Checks) -> Result<(), InvalidRequest> {
    let (rate, ceil) = (class.rate, class.ceil);
    if ceil < rate {
        InvalidRequest::CeilBelowRate { rate, ceil }.unless_allowed(checks)?;
    }
    if class.prio > 7 {
        InvalidRequest::Priority(class.prio).unless_allowed(checks)?;
    }
    if let Some(quantum) = class.quantum.filter(|quantum| *quantum == 0 || i32::try_from(*quantum).is_err()) {
        InvalidRequest::Quantum(quantum).unless_allowed(checks)?;
    }
    for (burst, rate) in [(class.effective_burst(), rate), (class.effective_cburst(), ceil)] {
        if burst.bytes() == 0 {
            InvalidRequest::BurstZero.unless_allowed(checks)?;
        }
        if transmit_ticks(burst, rate).is_none() {
            InvalidRequest::BurstTooLong { burst, rate }.unless_allowed(checks)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::htb::HtbQdisc;

    fn add(class: HtbClass) -> Request {
        Request::AddClass { device: 1, parent: Handle::qdisc(1), classid: Handle::new(1, 1), class }
    }

    fn base() -> HtbClass {
        HtbClass::new("10mbit".parse().unwrap())
    }

    #[test]
    fn classes_that_make_no_sense() {
        let slow: Rate = "1mbit".parse().unwrap();
        let tiny: Rate = "8bit".parse().unwrap();
        assert_eq!(add(base()).validate(), Ok(()));
        for (class, expected) in [
            (
                HtbClass { ceil: slow, ..base() },
                InvalidRequest::CeilBelowRate { rate: base().rate, ceil: slow },
            ),
            (HtbClass { prio: 8, ..base() }, InvalidRequest::Priority(8)),
            (HtbClass { burst: Some(Size::from_bytes(0)), ..base() }, InvalidRequest::BurstZero),
            (HtbClass { cburst: Some(Size::from_bytes(0)), ..base() }, InvalidRequest::BurstZero),
            (HtbClass { quantum: Some(0), ..base() }, InvalidRequest::Quantum(0)),
            (HtbClass { quantum: Some(1 << 31), ..base() }, InvalidRequest::Quantum(1 << 31)),
            (HtbClass::new(tiny), InvalidRequest::BurstTooLong { burst: Size::from_bytes(1600), rate: tiny }),
        ] {
            let allowed = Checks::ALL.without(expected.check().unwrap());
            let request = add(class);
            assert_eq!(request.validate_with(allowed), Ok(()), "{expected}");
            assert_eq!(request.validate_with(Checks::NONE), Ok(()), "{expected}");
            assert_eq!(request.validate(), Err(expected));
        }
        // What is allowed hides nothing else.
        let twice = add(HtbClass { ceil: slow, prio: 8, ..base() });
        let expected = Err(InvalidRequest::Priority(8));
        assert_eq!(twice.validate_with(Checks::ALL.without(Check::CeilBelowRate)), expected);
    }

    #[test]
    fn handles_that_name_the_wrong_thing() {
        let (qdisc, class) = (Handle::qdisc(1), Handle::new(1, 1));
        for classid in [qdisc, Handle::new(0, 1), Handle::ROOT, Handle::UNSPEC] {
            let expected = Err(InvalidRequest::NotAClass(classid));
            for request in [
                Request::AddClass { device: 1, parent: qdisc, classid, class: base() },
                Request::ChangeClass { device: 1, parent: qdisc, classid, class: base() },
                Request::ReplaceClass { device: 1, parent: qdisc, classid, class: base() },
                Request::DeleteClass { device: 1, classid },
                Request::GetClass { device: 1, classid },
            ] {
                assert_eq!(request.validate(), expected);
                assert_eq!(request.validate_with(Checks::ALL.without(Check::Classid)), Ok(()));
            }
        }
        let expected = Err(InvalidRequest::NotAQdisc(class));
        let htb = || HtbQdisc::new().into();
        let named = Request::AddQdisc { device: 1, parent: Handle::ROOT, handle: class, qdisc: htb() };
        assert_eq!(
            (named.validate(), named.validate_with(Checks::NONE)),
            (expected.clone(), expected.clone())
        );
        assert_eq!(
            Request::DeleteQdisc { device: 1, parent: Handle::ROOT, handle: class }.validate(),
            expected
        );
    }

    #[test]
    fn only_a_change_may_leave_the_parent_out() {
        let (device, parent, classid) = (1, Handle::UNSPEC, Handle::new(1, 1));
        let refused = Err(InvalidRequest::NotAParent(parent));
        let orphan = Request::AddClass { device, parent, classid, class: base() };
        assert_eq!(orphan.validate(), refused);
        assert_eq!(orphan.validate_with(Checks::ALL.without(Check::Parent)), Ok(()));
        assert_eq!(Request::ReplaceClass { device, parent, classid, class: base() }.validate(), refused);
        assert_eq!(Request::ChangeClass { device, parent, classid, class: base() }.validate(), Ok(()));
        let (handle, qdisc) = (Handle::qdisc(1), HtbQdisc { r2q: 0, ..HtbQdisc::new() }.into());
        let request = Request::AddQdisc { device, parent: Handle::ROOT, handle, qdisc };
        assert_eq!(request.validate(), Err(InvalidRequest::R2qZero));
        assert_eq!(request.validate_with(Checks::ALL.without(Check::Settings)), Ok(()));
        let nowhere = Request::GetClass { device: 0, classid };
        assert_eq!(nowhere.validate_with(Checks::NONE), Err(InvalidRequest::NoDevice));
    }
}
