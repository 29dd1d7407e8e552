//! `tc` commands about qdiscs, classes and filters, as text.

use std::fmt;
use std::str::FromStr;

use crate::filter::{Filter, FilterName, Protocol};
use crate::handle::{Handle, ParseHandleError};
use crate::htb::HtbClass;
use crate::qdisc::Qdisc;
use crate::request::Request;
use crate::words::{self, Syntax, Words, abbreviates};

/// What a command does to its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Makes it; there must be none.
    Add,
    /// Gives it new settings; there must be one.
    Change,
    /// Makes it or changes it.
    Replace,
    /// Removes it.
    Delete,
}

/// One `tc qdisc|class|filter add|change|replace|del` command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What it does.
    pub verb: Verb,
    /// The name of the device.
    pub device: String,
    /// What it does that to.
    pub object: Object,
}

/// What a command is about. Settings are missing only where the verb is [`Verb::Delete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// `tc qdisc`
    Qdisc {
        /// What it hangs on.
        parent: Handle,
        /// Its name; [`Handle::UNSPEC`]: not given.
        handle: Handle,
        /// Kind and settings.
        qdisc: Option<Qdisc>,
    },
    /// `tc class`
    Class {
        /// What it hangs on; [`Handle::UNSPEC`]: not given.
        parent: Handle,
        /// Its name.
        classid: Handle,
        /// Settings.
        class: Option<HtbClass>,
    },
    /// `tc filter`
    Filter {
        /// What it hangs on.
        parent: Handle,
        /// Which; of a filter with settings, that filter's address.
        name: FilterName,
        /// The filter.
        filter: Option<Box<Filter>>,
    },
}

impl FromStr for Command {
    type Err = Syntax;

    /// Reads a command without the `tc` in front, words parted by blanks; a word with blanks in it stands in quotes, as in
    /// `tc -batch`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_words(&words::split(text)?)
    }
}

impl Command {
    /// Reads the words of a command without the `tc` in front.
    pub fn from_words(words: &[String]) -> Result<Self, Syntax> {
        let mut words = Words::new(words);
        let object = words.value("tc")?;
        let (_, read) = READERS
            .iter()
            .find(|(name, _)| abbreviates(object, name))
            .ok_or_else(|| Syntax::new(format!("{object:?} is none of qdisc, class, filter")))?;
        let verb = verb(words.value(object)?)?;
        read(verb, &mut words)
    }

    /// With the bursts that `tc` before iproute2 6.15 makes of these.
    #[must_use]
    pub(crate) fn with_whole_microseconds(self) -> Self {
        let object = match self.object {
            Object::Class { parent, classid, class } => {
                Object::Class { parent, classid, class: class.map(HtbClass::with_whole_microseconds) }
            }
            Object::Qdisc { parent, handle, qdisc } => {
                Object::Qdisc { parent, handle, qdisc: qdisc.map(Qdisc::with_whole_microseconds) }
            }
            Object::Filter { parent, name, filter } => {
                let filter = filter.map(|filter| Box::new(filter.with_whole_microseconds()));
                Object::Filter { parent, name, filter }
            }
        };
        Self { object, ..self }
    }

    /// The request that does this. `lookup` gives the index of a device by its name.
    pub fn request<E>(&self, mut lookup: impl FnMut(&str) -> Result<u32, E>) -> Result<Request, E> {
        let device = lookup(&self.device)?;
        Ok(match (self.verb, self.object.clone()) {
            (Verb::Add, Object::Qdisc { parent, handle, qdisc: Some(qdisc) }) => {
                Request::AddQdisc { device, parent, handle, qdisc }
            }
            (Verb::Change, Object::Qdisc { parent, handle, qdisc: Some(qdisc) }) => {
                Request::ChangeQdisc { device, parent, handle, qdisc }
            }
            (Verb::Replace, Object::Qdisc { parent, handle, qdisc: Some(qdisc) }) => {
                Request::ReplaceQdisc { device, parent, handle, qdisc }
            }
            (_, Object::Qdisc { parent, handle, .. }) => Request::DeleteQdisc { device, parent, handle },
            (Verb::Add, Object::Class { parent, classid, class: Some(class) }) => {
                Request::AddClass { device, parent, classid, class }
            }
            (Verb::Change, Object::Class { parent, classid, class: Some(class) }) => {
                Request::ChangeClass { device, parent, classid, class }
            }
            (Verb::Replace, Object::Class { parent, classid, class: Some(class) }) => {
                Request::ReplaceClass { device, parent, classid, class }
            }
            (_, Object::Class { classid, .. }) => Request::DeleteClass { device, classid },
            (verb, Object::Filter { parent, name, filter }) => match (verb, filter) {
                (Verb::Delete, _) | (_, None) => {
                    Request::DeleteFilter { device, parent, name: Box::new(name) }
                }
                (verb, Some(mut filter)) => {
                    filter.resolve(lookup)?;
                    match verb {
                        Verb::Add => Request::AddFilter { device, parent, filter },
                        Verb::Change => Request::ChangeFilter { device, parent, filter },
                        _ => Request::ReplaceFilter { device, parent, filter },
                    }
                }
            },
        })
    }

    /// The command that does what `request` does, to the device of this name. `None`: `tc` has no such command.
    pub fn of(request: &Request, device: &str) -> Option<Self> {
        let (verb, object) = match request {
            Request::AddQdisc { parent, handle, qdisc, .. } => {
                (Verb::Add, Object::qdisc(*parent, *handle, Some(qdisc)))
            }
            Request::ChangeQdisc { parent, handle, qdisc, .. } => {
                (Verb::Change, Object::qdisc(*parent, *handle, Some(qdisc)))
            }
            Request::ReplaceQdisc { parent, handle, qdisc, .. } => {
                (Verb::Replace, Object::qdisc(*parent, *handle, Some(qdisc)))
            }
            Request::DeleteQdisc { parent, handle, .. } => {
                (Verb::Delete, Object::qdisc(*parent, *handle, None))
            }
            Request::AddClass { parent, classid, class, .. } => {
                (Verb::Add, Object::class(*parent, *classid, Some(class)))
            }
            Request::ChangeClass { parent, classid, class, .. } => {
                (Verb::Change, Object::class(*parent, *classid, Some(class)))
            }
            Request::ReplaceClass { parent, classid, class, .. } => {
                (Verb::Replace, Object::class(*parent, *classid, Some(class)))
            }
            Request::DeleteClass { classid, .. } => {
                (Verb::Delete, Object::class(Handle::UNSPEC, *classid, None))
            }
            Request::GetClass { .. } => return None,
            Request::AddFilter { parent, filter, .. } => (Verb::Add, Object::filter(*parent, filter)),
            Request::ChangeFilter { parent, filter, .. } => (Verb::Change, Object::filter(*parent, filter)),
            Request::ReplaceFilter { parent, filter, .. } => (Verb::Replace, Object::filter(*parent, filter)),
            Request::DeleteFilter { parent, name, .. } => {
                let (parent, name) = (*parent, name.as_ref().clone());
                (Verb::Delete, Object::Filter { parent, name, filter: None })
            }
        };
        Some(Self { verb, device: device.to_owned(), object })
    }
}

impl Object {
    fn qdisc(parent: Handle, handle: Handle, qdisc: Option<&Qdisc>) -> Self {
        Self::Qdisc { parent, handle, qdisc: qdisc.cloned() }
    }

    fn class(parent: Handle, classid: Handle, class: Option<&HtbClass>) -> Self {
        Self::Class { parent, classid, class: class.cloned() }
    }

    fn filter(parent: Handle, filter: &Filter) -> Self {
        Self::Filter { parent, name: filter.name(), filter: Some(Box::new(filter.clone())) }
    }
}

type Read = fn(Verb, &mut Words) -> Result<Command, Syntax>;

const READERS: [(&str, Read); 3] = [("qdisc", qdisc), ("class", class), ("filter", filter)];

fn verb(word: &str) -> Result<Verb, Syntax> {
    let verbs =
        [("add", Verb::Add), ("change", Verb::Change), ("replace", Verb::Replace), ("delete", Verb::Delete)];
    verbs
        .into_iter()
        .find(|(name, _)| abbreviates(word, name))
        .map(|(_, verb)| verb)
        .ok_or_else(|| Syntax::new(format!("{word:?} is none of add, change, replace, del")))
}

/// A qdisc's or a parent's handle: to `tc` a bare number is a major here.
fn major(text: &str) -> Result<Handle, ParseHandleError> {
    text.parse().or_else(|error| format!("{text}:").parse().map_err(|_: ParseHandleError| error))
}

fn parse_major(keyword: &str, words: &mut Words) -> Result<Handle, Syntax> {
    major(words.value(keyword)?).map_err(|error| Syntax::new(format!("{keyword}: {error}")))
}

fn device_or(what: &str, device: Option<String>) -> Result<String, Syntax> {
    let device = device.ok_or_else(|| Syntax::new(format!("{what}: no device is given (dev NAME)")))?;
    if device.is_empty() || device.contains(char::is_whitespace) {
        return Err(Syntax::new(format!("{what}: {device:?} is no name of a device")));
    }
    Ok(device)
}

fn qdisc(verb: Verb, words: &mut Words) -> Result<Command, Syntax> {
    let (mut device, mut parent, mut handle, mut settings) = (None, None, Handle::UNSPEC, None);
    while let Some(word) = words.next() {
        match word {
            "dev" => device = Some(words.value(word)?.to_owned()),
            "root" => parent = Some(Handle::ROOT),
            "parent" => parent = Some(words.parse(word)?),
            "handle" => handle = parse_major(word, words)?,
            "ingress" | "clsact" => {
                parent = Some(Handle::INGRESS);
                handle = Handle::qdisc(0xFFFF);
                settings = Some(Qdisc::parse(word, words)?);
            }
            kind => settings = Some(Qdisc::parse(kind, words)?),
        }
    }
    let device = device_or("qdisc", device)?;
    let parent = parent.ok_or_else(|| Syntax::new("qdisc: neither root nor parent is given"))?;
    if verb != Verb::Delete && settings.is_none() {
        return Err(Syntax::new("qdisc: no kind is given, such as htb"));
    }
    Ok(Command { verb, device, object: Object::Qdisc { parent, handle, qdisc: settings } })
}

fn class(verb: Verb, words: &mut Words) -> Result<Command, Syntax> {
    let (mut device, mut parent, mut classid, mut settings) = (None, Handle::UNSPEC, None, None);
    while let Some(word) = words.next() {
        match word {
            "dev" => device = Some(words.value(word)?.to_owned()),
            "root" => parent = Handle::ROOT,
            "parent" => parent = parse_major(word, words)?,
            "classid" => classid = Some(words.parse(word)?),
            "htb" if verb == Verb::Delete => {}
            "htb" => settings = Some(HtbClass::parse(words)?),
            other => {
                return Err(Syntax::new(format!("class: {other:?} is neither a place nor the kind htb")));
            }
        }
    }
    let device = device_or("class", device)?;
    let classid = classid.ok_or_else(|| Syntax::new("class: no classid is given"))?;
    if verb != Verb::Delete && settings.is_none() {
        return Err(Syntax::new("class: no kind is given (htb)"));
    }
    Ok(Command { verb, device, object: Object::Class { parent, classid, class: settings } })
}

fn filter(verb: Verb, words: &mut Words) -> Result<Command, Syntax> {
    let (mut device, mut parent, mut handle, mut kind, mut filter) = (None, None, None, None, None);
    let (mut chain, mut prio, mut protocol) = (0, 0, None);
    while let Some(word) = words.next() {
        match word {
            "dev" => device = Some(words.value(word)?.to_owned()),
            "root" => parent = Some(Handle::ROOT),
            // clsact's two hooks (TC_H_MIN_INGRESS, TC_H_MIN_EGRESS)
            "ingress" => parent = Some(Handle::new(0xFFFF, 0xFFF2)),
            "egress" => parent = Some(Handle::new(0xFFFF, 0xFFF3)),
            "parent" => parent = Some(parse_major(word, words)?),
            "handle" => handle = Some(words.value(word)?),
            "chain" => chain = words.number(word)?,
            _ if abbreviates(word, "preference") || abbreviates(word, "priority") => {
                prio = words.number(word)?;
            }
            _ if abbreviates(word, "protocol") => protocol = Some(words.parse(word)?),
            name if verb == Verb::Delete => {
                if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') || name.is_empty() {
                    return Err(Syntax::new(format!("filter: {name:?} is no kind of filter")));
                }
                // What would follow the kind says nothing to the kernel.
                kind = Some(name);
                while words.next().is_some() {}
            }
            name => {
                kind = Some(name);
                filter = Some(Box::new(Filter::parse(name, handle, parent.unwrap_or(Handle::ROOT), words)?));
            }
        }
    }
    let device = device_or("filter", device)?;
    let parent = parent.unwrap_or(Handle::ROOT);
    let name = match &mut filter {
        Some(filter) => {
            (filter.chain, filter.prio) = (chain, prio);
            // To a change it is one more way to tell which filter is meant.
            let unsaid = if verb == Verb::Change { Protocol::from_number(0) } else { Protocol::ALL };
            filter.protocol = protocol.unwrap_or(unsaid);
            filter.name()
        }
        None if verb != Verb::Delete => return Err(Syntax::new("filter: no kind is given, such as u32")),
        None => FilterName {
            chain,
            prio,
            protocol,
            handle: handle.zip(kind).map_or(Ok(0), |(handle, kind)| Filter::parse_handle(kind, handle))?,
            kind: kind.map(str::to_owned),
        },
    };
    Ok(Command { verb, device, object: Object::Filter { parent, name, filter } })
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Replace => "replace",
            Self::Delete => "del",
        })
    }
}

/// As `tc -batch` reads it, without the `tc` in front.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, device, object } = self;
        match object {
            Object::Qdisc { parent, handle, qdisc } => {
                write!(f, "qdisc {verb} dev {device}")?;
                match (*parent, qdisc) {
                    (Handle::ROOT, _) => f.write_str(" root")?,
                    // Their name says the place.
                    (Handle::INGRESS, Some(qdisc)) => return write!(f, " {qdisc}"),
                    (Handle::INGRESS, None) => return f.write_str(" ingress"),
                    (parent, _) => write!(f, " parent {parent}")?,
                }
                if *handle != Handle::UNSPEC {
                    write!(f, " handle {handle}")?;
                }
                qdisc.as_ref().map_or(Ok(()), |qdisc| write!(f, " {qdisc}"))
            }
            Object::Class { parent, classid, class } => {
                write!(f, "class {verb} dev {device}")?;
                match *parent {
                    Handle::UNSPEC => {}
                    Handle::ROOT => f.write_str(" root")?,
                    parent => write!(f, " parent {parent}")?,
                }
                write!(f, " classid {classid}")?;
                class.as_ref().map_or(Ok(()), |class| write!(f, " {class}"))
            }
            Object::Filter { parent, name, filter } => {
                write!(f, "filter {verb} dev {device}")?;
                match *parent {
                    Handle::ROOT => f.write_str(" root")?,
                    parent => write!(f, " parent {parent}")?,
                }
                match filter {
                    Some(filter) => write!(f, " {filter}"),
                    None => write!(f, "{name}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Command {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_tc_takes_is_read() {
        for (given, plain) in [
            (
                "qdisc add dev eth0 root handle 1: htb default 30",
                "qdisc add dev eth0 root handle 1: htb default 30",
            ),
            (
                "q a dev eth0 root handle 1 htb default 0x30",
                "qdisc add dev eth0 root handle 1: htb default 30",
            ),
            ("qdisc del dev eth0 root", "qdisc del dev eth0 root"),
            (
                "qdisc add dev eth0 parent 1:10 handle 10: pfifo limit 50",
                "qdisc add dev eth0 parent 1:10 handle 10: pfifo limit 50",
            ),
            (
                "class add dev eth0 parent 1 classid 1:10 htb rate 1Mbit ceil 8mbit burst 15k",
                "class add dev eth0 parent 1: classid 1:10 htb rate 1mbit ceil 8mbit burst 15360b",
            ),
            (
                "cl repl dev eth0 parent 1: classid 1:a htb rate 1mbit",
                "class replace dev eth0 parent 1: classid 1:a htb rate 1mbit",
            ),
            ("class del dev eth0 classid 1:a", "class del dev eth0 classid 1:a"),
            (
                "filter add dev eth0 parent 1:0 prio 5 proto ip handle 6 fw flowid 1:10",
                "filter add dev eth0 parent 1: protocol ip prio 5 handle 0x6 fw classid 1:10",
            ),
            ("filter del dev eth0 parent 1: pref 5", "filter del dev eth0 parent 1: prio 5"),
            (
                "filter del dev eth0 parent 1: protocol ip prio 5 handle 0x6 fw",
                "filter del dev eth0 parent 1: protocol ip prio 5 handle 0x6 fw",
            ),
        ] {
            assert_eq!(read(given).to_string(), plain);
            assert_eq!(read(plain), read(given));
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for (text, problem) in [
            ("", "tc: nothing follows it"),
            ("link add dev eth0", "\"link\" is none of qdisc, class, filter"),
            ("qdisc show dev eth0", "\"show\" is none of add, change, replace, del"),
            ("qdisc add dev eth0 root teapot", "qdiscs of kind \"teapot\" are not supported"),
            ("qdisc add root htb", "qdisc: no device is given (dev NAME)"),
            ("qdisc add dev eth0 htb", "qdisc: neither root nor parent is given"),
            ("qdisc add dev eth0 root htb defalt 3", "htb: unknown word \"defalt\""),
            ("class add dev eth0 parent 1: classid 1:1 htb", "an HTB class needs a rate"),
            (
                "class add dev eth0 parent 1: classid 1:1 hfsc sc rate 1mbit",
                "class: \"hfsc\" is neither a place nor the kind htb",
            ),
            (
                "class add dev eth0 parent 1: classid 1:g htb rate 1mbit",
                "classid: \"1:g\" is not a handle: expected major:minor in hexadecimal, each at most ffff, such as 1: or 1:a, or root, or none",
            ),
        ] {
            assert_eq!(text.parse::<Command>().unwrap_err().to_string(), problem, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_errs(text in "(qdisc|class|filter) (add|del|replace) dev eth0 [ -~]{0,60}") {
            if let Ok(command) = text.parse::<Command>() {
                let plain = command.to_string();
                prop_assert_eq!(plain.parse::<Command>(), Ok(command), "{}", plain);
            }
        }
    }
}
