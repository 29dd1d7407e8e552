//! Which accidents are looked out for.

use std::fmt;

/// One thing that the kernel would take in silence and that is refused here. Each can be allowed by name:
/// `Checks::ALL.without(Check::LeafLoss)`.
///
/// What can never be sent, or is refused by the kernel anyway, has no check: device index 0, a device whose index was not looked
/// up, a qdisc's handle with a minor. Nor has a rate that fits no message, which [`Rate`](crate::Rate) cannot hold. Rates from 2^32
/// bytes/s on always go out with their 64-bit attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Check {
    /// A class is added or replaced under a class that does not exist: it would become a root class.
    /// [`Error::MissingParent`](crate::Error::MissingParent). Costs a question for the parent and, against the race with whoever
    /// deletes it in between, an echo of the class.
    MissingParent,
    /// A class is replaced under another parent than it has: it would be changed and not moved.
    /// [`Error::WouldNotMove`](crate::Error::WouldNotMove). Costs a question for the class.
    ///
    /// Also: a class is *changed* with another parent. That stays one message: the kernel is made to echo the class, and the
    /// difference is reported after the fact, as [`Error::ParentNotApplied`](crate::Error::ParentNotApplied).
    Reparenting,
    /// The first child of a class destroys the qdisc that somebody put there, with the packets, classes and filters in it.
    /// [`Error::WouldDestroyLeaf`](crate::Error::WouldDestroyLeaf). Costs nothing beside [`Check::MissingParent`].
    LeafLoss,
    /// The root qdisc is replaced under another handle, or (without a handle) by another kind: all classes and filters would go.
    /// [`Error::WouldReplaceRoot`](crate::Error::WouldReplaceRoot). Costs a question for the root qdisc.
    RootReplacement,
    /// A class on the ninth level of a hierarchy, which HTB does not have. [`Error::TooDeep`](crate::Error::TooDeep). The kernel
    /// would refuse it, too, but says why only since Linux 6.4. Costs nothing beside [`Check::MissingParent`], except for the first
    /// child of a class that is itself under another one: a question for that one.
    Depth,
    /// A ceil below the rate.
    CeilBelowRate,
    /// A priority above 7: it would be clamped.
    Priority,
    /// A burst of 0, or one that takes longer than the kernel can count (it would be sent as the longest that can be counted).
    Burst,
    /// A quantum of 0 ("compute it") or of 2^31 and more.
    Quantum,
    /// A classid without a minor, or without a major (which the kernel fills in).
    Classid,
    /// A parent without a major: `none`, which the kernel takes for the root, or `:5`.
    Parent,
    /// A setting of a qdisc, filter or action that the kernel would take for another one, such as an r2q of 0.
    Settings,
}

/// A set of [`Check`]s, [`Checks::ALL`] by default.
///
/// They are set for a connection ([`SocketOptions::checks`](crate::SocketOptions::checks)), or for a single call:
///
/// ```no_run
/// use tc_adapter::{Check, Checks, Connection, Handle, HtbQdisc, Request};
///
/// # fn replace(tc: &mut Connection, device: u32) -> Result<(), tc_adapter::Error> {
/// let (parent, handle, qdisc) = (Handle::ROOT, Handle::qdisc(2), HtbQdisc::new().into());
/// // tc qdisc replace dev eth0 root handle 2: htb
/// let request = Request::ReplaceQdisc { device, parent, handle, qdisc };
/// tc.request_with(&request, Checks::ALL.without(Check::RootReplacement))?;
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Checks(u16);

impl Check {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::MissingParent,
        Self::Reparenting,
        Self::LeafLoss,
        Self::RootReplacement,
        Self::Depth,
        Self::CeilBelowRate,
        Self::Priority,
        Self::Burst,
        Self::Quantum,
        Self::Classid,
        Self::Parent,
        Self::Settings,
    ];

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl Checks {
    /// Everything is looked out for.
    pub const ALL: Self = Self((1 << Check::ALL.len()) - 1);
    /// Nothing is: what the kernel takes is sent, in one message.
    pub const NONE: Self = Self(0);

    /// With this one, too.
    #[must_use]
    pub const fn with(self, check: Check) -> Self {
        Self(self.0 | check.bit())
    }

    /// Without this one.
    #[must_use]
    pub const fn without(self, check: Check) -> Self {
        Self(self.0 & !check.bit())
    }

    /// Whether this one is made.
    pub const fn contains(self, check: Check) -> bool {
        self.0 & check.bit() != 0
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<Check> for Checks {
    fn from_iter<T: IntoIterator<Item = Check>>(checks: T) -> Self {
        checks.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Check::ALL.into_iter().filter(|check| self.contains(*check))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        const FEW: Checks = Checks::NONE.with(Check::Settings).with(Check::MissingParent);
        assert_eq!(Check::ALL.into_iter().collect::<Checks>(), Checks::ALL);
        assert_eq!(Check::ALL.into_iter().fold(Checks::ALL, Checks::without), Checks::NONE);
        for check in Check::ALL {
            assert!(Checks::ALL.contains(check) && !Checks::NONE.contains(check), "{check:?}");
            assert!(!Checks::ALL.without(check).contains(check), "{check:?}");
            assert_eq!(Checks::ALL.without(check).with(check), Checks::default(), "{check:?}");
            let expected = matches!(check, Check::Settings | Check::MissingParent);
            assert_eq!(FEW.contains(check), expected, "{check:?}");
        }
        assert_eq!(format!("{FEW:?}"), "{MissingParent, Settings}");
    }
}
