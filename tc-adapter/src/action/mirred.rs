//! Sends packets to another device (tc-mirred(8), `net/sched/act_mirred.c`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::options::ActionOptions;
use crate::attribute::{each, put, u32_at};
use crate::reply::Malformed;
use crate::text::serde_as_text;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, abbreviates};

const PARMS: u16 = 2;

/// `tc … action mirred egress|ingress mirror|redirect dev <device>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirred {
    /// Out of the device, or as if it had come in by it.
    pub direction: Direction,
    /// The packet, or a copy.
    pub act: MirredAct,
    /// Which device.
    pub dev: DeviceRef,
    /// What becomes of the packet then; `None`: `pipe` when it was a copy that was sent, else `stolen`. `tc` can only say the
    /// former.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<Control>,
    /// What every action may say.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub options: ActionOptions,
}

/// Which way a packet goes through the other device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It is sent.
    Egress,
    /// It is taken for one that came in.
    Ingress,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MirredAct {
    /// A copy.
    Mirror,
    /// The packet itself.
    Redirect,
}

/// A device; as text its name, or `if<index>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeviceRef {
    /// By name, of which the index must be looked up before a request is sent; see [`Filter::resolve`](crate::Filter::resolve).
    Name(String),
    /// By index.
    Index(u32),
}

impl fmt::Display for DeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "if{index}"),
        }
    }
}

serde_as_text!(DeviceRef, DeviceRef::to_string);

impl FromStr for DeviceRef {
    type Err = std::convert::Infallible;

    /// `if7` is the device of index 7, as in `tc` where no device has that name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits =
            text.strip_prefix("if").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let index = digits.filter(|digits| *digits == "0" || !digits.starts_with('0'));
        Ok(index
            .and_then(|index| index.parse().ok())
            .map_or_else(|| Self::Name(text.to_owned()), Self::Index))
    }
}

impl DeviceRef {
    pub(super) fn resolve<E>(&mut self, mut lookup: impl FnMut(&str) -> Result<u32, E>) -> Result<(), E> {
        if let Self::Name(name) = self {
            *self = Self::Index(lookup(name)?);
        }
        Ok(())
    }
}

impl Mirred {
    /// To this device, with `tc`'s control.
    pub fn new(direction: Direction, act: MirredAct, dev: DeviceRef) -> Self {
        Self { direction, act, dev, control: None, options: ActionOptions::default() }
    }

    /// What becomes of the packet then.
    pub const fn effective_control(&self) -> Control {
        match (self.control, self.act) {
            (Some(control), _) => control,
            (None, MirredAct::Mirror) => Control::Pipe,
            (None, MirredAct::Redirect) => Control::Stolen,
        }
    }

    /// A control that goes without saying is not said.
    fn with_control(self, control: Control) -> Self {
        let plain = Self { control: None, ..self };
        Self { control: Some(control).filter(|control| *control != plain.effective_control()), ..plain }
    }

    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        let eaction = match (self.direction, self.act) {
            (Direction::Egress, MirredAct::Redirect) => 1,
            (Direction::Egress, MirredAct::Mirror) => 2,
            (Direction::Ingress, MirredAct::Redirect) => 3,
            (Direction::Ingress, MirredAct::Mirror) => 4,
        };
        // Validation has seen to it that there is one.
        let device = if let DeviceRef::Index(index) = self.dev { index } else { 0 };
        // struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex
        let parms = [self.options.index, 0, self.effective_control().value(), 0, 0, eaction, device];
        put(buffer, PARMS, parms.map(u32::to_ne_bytes).as_flattened());
    }

    pub(super) fn decode(options: &[u8]) -> Result<Self, Malformed> {
        for attribute in each(options) {
            let (PARMS, parms) = attribute? else { continue };
            let word = |at| u32_at(parms, at).ok_or(Malformed("TCA_MIRRED_PARMS is too short"));
            let (direction, act) = match word(20)? {
                1 => (Direction::Egress, MirredAct::Redirect),
                2 => (Direction::Egress, MirredAct::Mirror),
                3 => (Direction::Ingress, MirredAct::Redirect),
                4 => (Direction::Ingress, MirredAct::Mirror),
                _ => return Err(Malformed("mirred with an unknown direction")),
            };
            let control = Control::from_value(word(8)?).ok_or(Malformed("mirred with an unknown control"))?;
            let mut mirred = Self::new(direction, act, DeviceRef::Index(word(24)?)).with_control(control);
            mirred.options.index = word(0)?;
            return Ok(mirred);
        }
        Err(Malformed("mirred without TCA_MIRRED_PARMS"))
    }

    pub(super) fn parse(words: &mut Words) -> Result<Self, Syntax> {
        let mut options = ActionOptions::default();
        let word = words.value("mirred")?;
        let direction = match word {
            _ if abbreviates(word, "egress") => Direction::Egress,
            _ if abbreviates(word, "ingress") => Direction::Ingress,
            other => return Err(Syntax::new(format!("mirred: {other:?} is neither egress nor ingress"))),
        };
        options.parse_index(words)?;
        let word = words.value("mirred")?;
        let act = match word {
            _ if abbreviates(word, "mirror") => MirredAct::Mirror,
            _ if abbreviates(word, "redirect") => MirredAct::Redirect,
            other => return Err(Syntax::new(format!("mirred: {other:?} is neither mirror nor redirect"))),
        };
        options.parse_index(words)?;
        let word = words.value("mirred")?;
        if !abbreviates(word, "dev") {
            return Err(Syntax::new(format!("mirred: {word:?} where dev must follow")));
        }
        let mut mirred = Self { options, ..Self::new(direction, act, words.parse("dev")?) };
        let control = words.peek().is_some_and(Control::begins_with);
        if control && act == MirredAct::Mirror {
            mirred = mirred.with_control(Control::parse(words)?);
        }
        mirred.options.parse_index(words)?;
        Ok(mirred)
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        match &self.dev {
            DeviceRef::Name(name) => Err(InvalidRequest::Unresolved(name.clone())),
            DeviceRef::Index(0) => Err(InvalidRequest::NoDevice),
            DeviceRef::Index(_) => self.options.validate("mirred"),
        }
    }
}

impl fmt::Display for Mirred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Egress => "egress",
            Direction::Ingress => "ingress",
        };
        let act = match self.act {
            MirredAct::Mirror => "mirror",
            MirredAct::Redirect => "redirect",
        };
        write!(f, "mirred {direction} {act} dev {}", self.dev)?;
        if let Some(control) = self.control {
            write!(f, " {control}")?;
        }
        self.options.fmt(f)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{control, options};
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn anything() -> impl Strategy<Value = Mirred> {
        let direction = prop::sample::select(&[Direction::Egress, Direction::Ingress]);
        let mirror = prop::option::of(control::tests::anything());
        (direction, mirror, any::<u32>(), options::tests::anything()).prop_map(
            |(direction, control, index, options)| {
                let act = if control.is_some() { MirredAct::Mirror } else { MirredAct::Redirect };
                let mirred = Mirred { options, ..Mirred::new(direction, act, DeviceRef::Index(index)) };
                control.map_or(mirred.clone(), |control| mirred.with_control(control))
            },
        )
    }

    #[test]
    fn a_device_by_name_is_looked_up() {
        let dev: DeviceRef = "eth1".parse().unwrap();
        let mut mirred = Mirred::new(Direction::Egress, MirredAct::Redirect, dev);
        assert_eq!(mirred.validate(), Err(InvalidRequest::Unresolved("eth1".to_owned())));
        mirred.dev.resolve(|name| if name == "eth1" { Ok(7) } else { Err(()) }).unwrap();
        assert_eq!(
            (mirred.to_string().as_str(), mirred.validate()),
            ("mirred egress redirect dev if7", Ok(()))
        );
        assert_eq!("if7".parse(), Ok(DeviceRef::Index(7)));
        for name in ["if", "if07", "ifb0", "if4294967296"] {
            assert_eq!(name.parse(), Ok(DeviceRef::Name(name.to_owned())));
        }
    }
}
