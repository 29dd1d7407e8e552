//! Filters: which packets go to which class, and what else is done with them. One file a classifier.

mod address;
mod bpf;
mod entry;
mod flower;
mod fw;
mod matchall;
mod name;
mod protocol;
mod skip;
mod u32;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::action::{self, Action, ActionOptions, Police};
use crate::attribute::{NLA_HEADER_SIZE, nest, put};
use crate::handle::Handle;
use crate::reply::Malformed;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, abbreviates, number};

pub use bpf::{Bpf, Bytecode, Instruction};
pub use entry::FilterEntry;
pub use flower::{CtState, Flower, IpPrefix, IpProto, MacMask, MaskedByte, Ports, TcpFlags};
pub use fw::Fw;
pub use matchall::Matchall;
pub use name::FilterName;
pub use protocol::{ParseProtocolError, Protocol};
pub use skip::SkipFlags;
pub use u32::{U32, U32HashKey, U32Hits, U32Key, U32Mark, U32Offset, U32VariableOffset};

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_CHAIN: u16 = 11;

/// `TCA_ACT_MAX_PRIO`: the kernel leaves out what comes after.
const MOST_ACTIONS: usize = 32;
/// With two rate tables of 1 KiB each; beside the longest program of 32 KiB they fit.
const MOST_POLICE: usize = 8;

/// A filter: `tc filter … [chain <chain>] protocol <protocol> prio <prio> [handle <handle>] <classifier> …`. On what it hangs is
/// not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Which list of filters; 0 is where every packet starts.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub chain: u32,
    /// Filters of a lower number are asked first; 1 to ffff. 0: the kernel takes one less than the lowest there is, from 49152 on.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub prio: u16,
    /// The packets that it is asked about.
    #[serde(default)]
    pub protocol: Protocol,
    /// Its number within the prio, in the form of its classifier; 0: the kernel takes a free one.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub handle: u32,
    /// Where its packets go: a class of the qdisc. [`Handle::UNSPEC`]: not said.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub classid: Handle,
    /// `police`: a word of the classifier itself, older than actions and instead of them. Not all classifiers have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub police: Option<Box<Police>>,
    /// What is done with its packets, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// How it tells its packets.
    #[serde(flatten)]
    pub classifier: Classifier,
}

/// How a filter tells its packets from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Classifier {
    /// By a program.
    Bpf(Bpf),
    /// By the headers of the packet.
    Flower(Box<Flower>),
    /// By the mark that the firewall has set.
    Fw(Fw),
    /// None: all packets are the filter's.
    Matchall(Matchall),
    /// By words of the packet; also u32's hash tables.
    U32(U32),
}

/// The attributes of `TCA_OPTIONS` that say the same in every classifier, each under a number of its own.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    classid: u16,
    police: Option<u16>,
    actions: u16,
}

/// What every classifier's words may say.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) classid: Handle,
    pub(crate) police: Option<Box<Police>>,
    pub(crate) actions: Vec<Action>,
    /// Instead of a classid, the minor of a class whose major is that of the filter's parent.
    pub(crate) minor_of_parent: Option<u16>,
}

impl Common {
    /// Reads `word` and what belongs to it, if it is one of those that every classifier takes.
    pub(crate) fn take(&mut self, word: &str, words: &mut Words) -> Result<bool, Syntax> {
        match word {
            "flowid" => self.classid = words.parse(word)?,
            _ if abbreviates(word, "classid") => self.classid = words.parse(word)?,
            _ if abbreviates(word, "action") => action::parse(words, &mut self.actions)?,
            _ if abbreviates(word, "police") => self.police = Some(Box::new(Police::parse(words)?)),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Classifier {
    /// The kernel's name of the kind, such as `u32`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Bpf(_) => "bpf",
            Self::Flower(_) => "flower",
            Self::Fw(_) => "fw",
            Self::Matchall(_) => "matchall",
            Self::U32(_) => "u32",
        }
    }

    const fn numbers(&self) -> Numbers {
        match self {
            Self::Bpf(_) => bpf::NUMBERS,
            Self::Flower(_) => flower::NUMBERS,
            Self::Fw(_) => fw::NUMBERS,
            Self::Matchall(_) => matchall::NUMBERS,
            Self::U32(_) => u32::NUMBERS,
        }
    }

    /// `terminal`: the filter says where its packets go, or what is done with them.
    fn encode(&self, protocol: Protocol, terminal: bool, buffer: &mut Vec<u8>) {
        match self {
            Self::Bpf(bpf) => bpf.encode(buffer),
            Self::Flower(flower) => flower.encode(protocol, buffer),
            Self::Fw(fw) => fw.encode(buffer),
            Self::Matchall(matchall) => matchall.encode(buffer),
            Self::U32(u32) => u32.encode(terminal, buffer),
        }
    }

    fn decode(kind: &str, options: &[u8]) -> Result<Option<Self>, Malformed> {
        Ok(match kind {
            "bpf" => Bpf::decode(options)?.map(Self::Bpf),
            "flower" => Flower::decode(options)?.map(|flower| Self::Flower(Box::new(flower))),
            "fw" => Fw::decode(options)?.map(Self::Fw),
            "matchall" => Some(Self::Matchall(Matchall::decode(options)?)),
            "u32" => Some(Self::U32(U32::decode(options)?)),
            _ => None,
        })
    }
}

impl Filter {
    /// A filter of the lowest chain, whose prio and handle the kernel chooses.
    pub const fn new(protocol: Protocol, classifier: Classifier) -> Self {
        Self {
            chain: 0,
            prio: 0,
            protocol,
            handle: 0,
            classid: Handle::UNSPEC,
            police: None,
            actions: Vec::new(),
            classifier,
        }
    }

    /// Its address.
    pub fn name(&self) -> FilterName {
        FilterName {
            chain: self.chain,
            prio: self.prio,
            protocol: Some(self.protocol),
            handle: self.handle,
            kind: Some(self.classifier.kind().to_owned()),
        }
    }

    /// Reads the word after `handle`, in the form of the kind.
    pub(crate) fn parse_handle(kind: &str, text: &str) -> Result<u32, Syntax> {
        let read = match kind {
            "fw" => fw::parse_mark(text).map(|(mark, _)| mark),
            "u32" => u32::parse_handle(text),
            _ => number(text),
        };
        read.map_err(|error| Syntax::new(format!("handle: {error}")))
    }

    /// Whether it only makes its prio, with the root table: `tc filter add … u32`, as in the first line of the textbook's hash tables.
    pub(crate) fn says_nothing(&self) -> bool {
        let mut bytes = Vec::new();
        let nothing = Self { chain: 0, ..Self::new(self.protocol, self.classifier.clone()) };
        let says_more = self.handle != 0
            || self.classid != Handle::UNSPEC
            || self.police.is_some()
            || !self.actions.is_empty();
        !says_more && matches!(self.classifier, Classifier::U32(_) | Classifier::Fw(_)) && {
            nothing.encode(&mut bytes);
            let mut kind = Vec::new();
            put_kind(self.classifier.kind(), &mut kind);
            bytes == kind
        }
    }

    /// Whether it is a hash table of `u32`, and not a filter.
    pub(crate) fn is_table(&self) -> bool {
        matches!(&self.classifier, Classifier::U32(u32) if u32.is_table())
    }

    /// Whether it hands packets on to a hash table of `u32`.
    pub(crate) fn leads_to_a_table(&self) -> bool {
        matches!(&self.classifier, Classifier::U32(u32) if u32.link.is_some())
    }

    /// The bucket of a hash table of `u32` that it is in; 0: that of its prio, and of other classifiers.
    pub(crate) fn bucket(&self) -> u32 {
        match &self.classifier {
            Classifier::U32(u32) => u32.bucket(),
            _ => 0,
        }
    }

    /// Its number among the filters of its prio and its bucket.
    pub(crate) fn number(&self) -> u32 {
        match &self.classifier {
            Classifier::U32(u32) if !u32.is_table() => u32::node(self.handle),
            _ => self.handle,
        }
    }

    /// Whether the kernel asks filters of its kind in the order of their handles.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(self.classifier, Classifier::U32(_))
    }

    /// Whether the kernel asks the filter of its kind that came last first (`cls_bpf_change`).
    pub(crate) fn is_stacked(&self) -> bool {
        matches!(self.classifier, Classifier::Bpf(_))
    }

    /// Whether the kernel has one filter of its kind in a prio, which goes with the prio only and is never changed (`mall_change`,
    /// `mall_delete`).
    pub(crate) fn is_single(&self) -> bool {
        matches!(self.classifier, Classifier::Matchall(_))
    }

    /// Whether it cannot be in a prio for as long as `present` has been there: all marks of a prio have one mask (`fw_change`), and
    /// some filters are alone.
    pub(crate) fn is_kept_out_by(&self, present: &Self) -> bool {
        match (&self.classifier, &present.classifier) {
            (Classifier::Fw(wanted), Classifier::Fw(present)) => !wanted.meets(*present),
            (Classifier::Matchall(_), Classifier::Matchall(_)) => {
                !self.meets(present) || ![0, present.handle].contains(&self.handle)
            }
            _ => false,
        }
    }

    /// Whether it takes the packets that `present` takes, so that a change in place makes the one of the other. The kernel does not
    /// change the packets that a filter of `u32` takes.
    pub(crate) fn takes_same_packets(&self, present: &Self) -> bool {
        let (classid, actions, police) = (present.classid, present.actions.clone(), present.police.clone());
        Self { classid, police, actions, ..self.clone() }.meets(present)
    }

    /// Takes away the name of its prio's root table, which the kernel gives anew each time: `ht 800::` in a file means the table that
    /// the first prio has got there.
    pub(crate) fn forget_root_table(&mut self) {
        if let Classifier::U32(u32) = &mut self.classifier
            && !u32.is_table()
            && u32.bucket() == 0
        {
            u32.ht = None;
            self.handle = u32::node(self.handle);
        }
    }

    /// What it says, without its address: the same for two that are to be the same.
    pub(crate) fn content(&self) -> String {
        let mut nameless = Self { chain: 0, prio: 0, ..self.clone() };
        nameless.forget_root_table();
        nameless.handle = 0;
        nameless.to_string()
    }

    /// Appends `TCA_KIND`, `TCA_CHAIN` and `TCA_OPTIONS`.
    // Never inlined: what classes go through, which are many, would get their stack frame.
    #[inline(never)]
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        put_kind(self.classifier.kind(), buffer);
        if self.chain != 0 {
            put(buffer, TCA_CHAIN, &self.chain.to_ne_bytes());
        }
        let start = buffer.len();
        nest(buffer, TCA_OPTIONS, |buffer| {
            let numbers = self.classifier.numbers();
            let terminal =
                self.classid != Handle::UNSPEC || self.police.is_some() || !self.actions.is_empty();
            self.classifier.encode(self.protocol, terminal, buffer);
            if self.classid != Handle::UNSPEC {
                put(buffer, numbers.classid, &self.classid.raw().to_ne_bytes());
            }
            if let Some((number, police)) = numbers.police.zip(self.police.as_ref()) {
                nest(buffer, number, |buffer| police.encode(buffer));
            }
            if !self.actions.is_empty() {
                nest(buffer, numbers.actions, |buffer| action::encode(&self.actions, buffer));
            }
        });
        // Where nothing is said `tc` sends no options, and to the kernel that is something else than empty ones.
        if buffer.len() == start + NLA_HEADER_SIZE {
            buffer.truncate(start);
        }
    }

    /// Reads the words that follow the kind in a `tc filter` command. `handle` is the word after `handle`.
    pub(crate) fn parse(
        kind: &str,
        handle: Option<&str>,
        parent: Handle,
        words: &mut Words,
    ) -> Result<Self, Syntax> {
        let mut common = Common::default();
        let (handle, classifier) = match kind {
            "bpf" => with(Bpf::parse(handle, words, &mut common)?, Classifier::Bpf),
            "flower" => with(Flower::parse(handle, words, &mut common)?, |flower| {
                Classifier::Flower(Box::new(flower))
            }),
            "fw" => with(fw::parse(handle, words, &mut common)?, Classifier::Fw),
            "matchall" => with(Matchall::parse(handle, words, &mut common)?, Classifier::Matchall),
            "u32" => with(U32::parse(handle, words, &mut common)?, Classifier::U32),
            other => return Err(Syntax::new(format!("filters of kind {other:?} are not supported"))),
        };
        let Common { classid, police, actions, minor_of_parent } = common;
        let classid = minor_of_parent.map_or(classid, |minor| Handle::new(parent.major(), minor));
        if police.is_some() && classifier.numbers().police.is_none() {
            return Err(Syntax::new(format!("{kind}: police only as an action")));
        }
        Ok(Self { handle, classid, police, actions, ..Self::new(Protocol::default(), classifier) })
    }

    /// Puts names in the place of the indices of devices in its actions, where they are known.
    pub(crate) fn name_devices(&mut self, name: impl Fn(u32) -> Option<String>) {
        self.actions.iter_mut().for_each(|action| action.name_device(&name));
    }

    /// Looks the devices up that its actions name.
    pub fn resolve<E>(&mut self, mut lookup: impl FnMut(&str) -> Result<u32, E>) -> Result<(), E> {
        self.actions.iter_mut().try_for_each(|action| action.resolve(&mut lookup))
    }

    /// What the kernel would take in silence, or refuse without a word.
    #[inline(never)]
    pub fn validate(&self) -> Result<(), InvalidRequest> {
        match &self.classifier {
            Classifier::Bpf(bpf) => bpf.validate()?,
            Classifier::Flower(flower) => flower.validate(self.protocol)?,
            Classifier::Fw(_) => {}
            Classifier::Matchall(matchall) => matchall.skip.validate("matchall")?,
            Classifier::U32(u32) => u32.validate()?,
        }
        if let Some(police) = &self.police {
            let kind = self.classifier.kind();
            if self.classifier.numbers().police.is_none() {
                return Err(InvalidRequest::Setting { kind, setting: "police", allowed: "an action" });
            }
            if !self.actions.is_empty() {
                let allowed = "said without actions, which the kernel would leave out";
                return Err(InvalidRequest::Setting { kind, setting: "police", allowed });
            }
            let index = police.options.index;
            if police.options != (ActionOptions { index, ..ActionOptions::default() }) {
                return Err(InvalidRequest::Setting {
                    kind,
                    setting: "police",
                    allowed: "without cookie and hw_stats",
                });
            }
            police.validate()?;
        }
        self.actions.iter().try_for_each(Action::validate)?;
        let kind = self.classifier.kind();
        if self.actions.len() > MOST_ACTIONS {
            return Err(InvalidRequest::Setting {
                kind,
                setting: "action",
                allowed: "said 32 times at most",
            });
        }
        // The length of an attribute has 16 bits: with rate tables of 1 KiB each, and long programs, that could be too few.
        let tables = self.actions.iter().filter(|action| matches!(action, Action::Police(_))).count();
        if tables > MOST_POLICE {
            let allowed = "police 8 times at most";
            return Err(InvalidRequest::Setting { kind, setting: "action", allowed });
        }
        Ok(())
    }

    /// With the bursts that `tc` before iproute2 6.15 makes of these: it rounds their times down to whole microseconds.
    #[must_use]
    pub(crate) fn with_whole_microseconds(self) -> Self {
        let police = self.police.map(|police| Box::new(police.with_whole_microseconds()));
        let actions = self.actions.into_iter().map(Action::with_whole_microseconds).collect();
        Self { police, actions, ..self }
    }

    /// Whether a filter that is to be this one may stay as it is, `actual` being what the kernel reports. Prio, protocol, chain and
    /// handle are its address, and not compared.
    pub fn meets(&self, actual: &Self) -> bool {
        let police = match (&self.police, &actual.police) {
            (Some(wanted), Some(actual)) => wanted.meets(actual),
            (wanted, actual) => wanted.is_none() && actual.is_none(),
        };
        police
            && self.classid == actual.classid
            && self.actions.len() == actual.actions.len()
            && self.actions.iter().zip(&actual.actions).all(|(wanted, actual)| wanted.meets(actual))
            && match (&self.classifier, &actual.classifier) {
                (Classifier::Bpf(wanted), Classifier::Bpf(actual)) => wanted == actual,
                (Classifier::Flower(wanted), Classifier::Flower(actual)) => wanted.meets(actual),
                (Classifier::Fw(wanted), Classifier::Fw(actual)) => wanted.meets(*actual),
                (Classifier::Matchall(wanted), Classifier::Matchall(actual)) => wanted == actual,
                (Classifier::U32(wanted), Classifier::U32(actual)) => wanted.meets(actual),
                _ => false,
            }
    }
}

/// A handle and what becomes a classifier.
fn with<T>((handle, kind): (u32, T), classifier: fn(T) -> Classifier) -> (u32, Classifier) {
    (handle, classifier(kind))
}

/// `tcm_info` of a filter: the prio, and the protocol in network byte order.
pub(crate) fn info(prio: u16, protocol: Protocol) -> u32 {
    u32::from(prio) << 16 | u32::from(protocol.number().to_be())
}

/// Appends `TCA_KIND`, or `TCA_ACT_KIND`, which has the same number.
pub(crate) fn put_kind(name: &str, buffer: &mut Vec<u8>) {
    // IFNAMSIZ in the kernel; a longer one is none that there is.
    let mut kind = [0; 16];
    let length = name.len().min(kind.len() - 1);
    kind[..length].copy_from_slice(&name.as_bytes()[..length]);
    put(buffer, TCA_KIND, &kind[..=length]);
}

/// As words of a `tc` command, from `protocol` on.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.chain != 0 {
            write!(f, "chain {} ", self.chain)?;
        }
        write!(f, "protocol {}", self.protocol)?;
        if self.prio != 0 {
            write!(f, " prio {}", self.prio)?;
        }
        match &self.classifier {
            Classifier::U32(_) if self.handle != 0 => write!(f, " handle {} ", u32::Text(self.handle))?,
            // The mask is a part of the handle.
            Classifier::Fw(_) => {}
            _ if self.handle != 0 => write!(f, " handle {:#x} ", self.handle)?,
            _ => f.write_str(" ")?,
        }
        match &self.classifier {
            Classifier::Bpf(bpf) => bpf.fmt(f)?,
            Classifier::Flower(flower) => write!(f, "flower{flower}")?,
            Classifier::Fw(fw) => fw.write(self.handle, f)?,
            Classifier::Matchall(matchall) => matchall.fmt(f)?,
            Classifier::U32(u32) => u32.fmt(f)?,
        }
        if self.classid != Handle::UNSPEC {
            write!(f, " classid {}", self.classid)?;
        }
        if let Some(police) = &self.police {
            write!(f, " {police}")?;
        }
        self.actions.iter().try_for_each(|action| write!(f, " action {action}"))
    }
}

#[cfg(test)]
mod tests;
