//! `tc -batch` files, and what the commands in them leave.

use std::collections::{BTreeMap, HashSet};

use super::{
    DeviceTree, Hook, PlacedClass, PlacedFilter, PlacedQdisc, Tree, TreeError, is_hook, majors_below,
    parent_class,
};
use crate::command::{Command, Object, Verb};
use crate::filter::{Filter, FilterName};
use crate::handle::Handle;
use crate::htb::Rounding;
use crate::words::{Syntax, split};

/// What is wrong with a `tc -batch` file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct BatchError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl BatchError {
    fn new(line: usize, problem: &impl ToString) -> Self {
        Self { line, problem: problem.to_string() }
    }
}

/// The commands of a `tc -batch` file with their lines. Everything after a `#` is a comment, and a line that ends in a backslash
/// goes on in the next one (`getcmdline` of iproute2).
pub(crate) fn commands(text: &str) -> impl Iterator<Item = Result<(usize, Command), BatchError>> {
    let mut lines = (1..).zip(text.lines());
    std::iter::from_fn(move || {
        loop {
            let (number, first) = lines.next()?;
            let mut line = first.to_owned();
            while line.ends_with('\\') {
                line.pop();
                let Some((_, more)) = lines.next() else { break };
                line += more;
            }
            if let Some(comment) = line.find('#') {
                line.truncate(comment);
            }
            let read = split(&line).and_then(|words| {
                if words.is_empty() { Ok(None) } else { Command::from_words(&words).map(Some) }
            });
            match read {
                Ok(None) => {}
                Ok(Some(command)) => return Some(Ok((number, command))),
                Err(problem) => return Some(Err(BatchError::new(number, &problem))),
            }
        }
    })
}

impl Tree {
    /// What the commands of a `tc -batch` file leave on devices that have nothing. They may come in any order; what one makes
    /// another may change and remove. `qdisc del dev … root` of what the file did not make empties the hook.
    ///
    /// A file that refers to qdiscs and classes which it does not make is refused: it does not say what there is to be. So is one in
    /// which a class gets a leaf qdisc and then a child, which the kernel would destroy the qdisc for without a word.
    pub fn from_batch(text: &str, rounding: Rounding) -> Result<Self, BatchError> {
        let mut reader = Reader::default();
        for command in commands(text) {
            let (line, command) = command?;
            let command = match rounding {
                Rounding::Exact => command,
                Rounding::Microseconds => command.with_whole_microseconds(),
            };
            reader.carry_out(line, command).map_err(|problem| BatchError::new(line, &problem))?;
        }
        let Reader { tree, lines, .. } = reader;
        tree.check().map_err(|TreeError { device, object, problem }| {
            let line = lines.get(&(device.clone(), object)).copied().unwrap_or(1);
            BatchError::new(line, &format!("{device}: {problem}"))
        })?;
        Ok(tree)
    }
}

/// An object that a problem may be about: its handle or, of filters, their parent.
pub(super) type ObjectId = (Kind, Handle);

/// Kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// By its parent.
    Qdisc,
    /// By its classid.
    Class,
    /// By its parent.
    Filter,
}

#[derive(Default)]
struct Reader {
    tree: Tree,
    /// Addresses of filters that have a handle: most are new, which is not to be found out by looking through all.
    addresses: HashSet<(String, Handle, u32, u16, u32)>,
    /// Where each object came last.
    lines: BTreeMap<(String, ObjectId), usize>,
}

impl Reader {
    fn carry_out(&mut self, line: usize, command: Command) -> Result<(), Syntax> {
        let Command { verb, device: name, object } = command;
        let id = match &object {
            Object::Qdisc { parent, .. } => (Kind::Qdisc, *parent),
            Object::Class { classid, .. } => (Kind::Class, *classid),
            Object::Filter { parent, .. } => (Kind::Filter, *parent),
        };
        let before = self.lines.insert((name.clone(), id), line);
        let device = self.tree.devices.entry(name.clone()).or_default();
        let done = match object {
            Object::Qdisc { parent, handle, qdisc } => match (verb, qdisc) {
                (Verb::Delete, _) => device.delete_qdisc(parent),
                (_, Some(qdisc)) => device.put_qdisc(verb, parent, PlacedQdisc { handle, qdisc }),
                (_, None) => Ok(()),
            },
            Object::Class { parent, classid, class } => match (verb, class) {
                (Verb::Delete, _) => device.delete_class(classid),
                (_, Some(class)) => device.put_class(verb, classid, PlacedClass { parent, class }),
                (_, None) => Ok(()),
            },
            Object::Filter { parent, name: address, filter } => match (verb, filter) {
                (Verb::Delete, _) | (_, None) => device.delete_filters(parent, &address),
                (verb, Some(filter)) => device.filter_parent(parent).and_then(|parent| {
                    // Filters of the root are those of its qdisc.
                    let address = (name, parent, filter.chain, filter.prio, filter.handle);
                    let is_new = filter.handle == 0 || self.addresses.insert(address);
                    device.put_filter(verb, parent, *filter, is_new)
                }),
            },
        };
        done.map_err(|problem| match before {
            Some(before) => Syntax::new(format!("{problem} (line {before})")),
            None => Syntax::new(problem),
        })
    }
}

impl DeviceTree {
    fn put_qdisc(&mut self, verb: Verb, parent: Handle, placed: PlacedQdisc) -> Result<(), String> {
        match (self.qdiscs.get(&parent), verb) {
            (Some(_), Verb::Add) => return Err(format!("there is a qdisc with the parent {parent} already")),
            (None, Verb::Change) => {
                return Err(format!("there is no qdisc with the parent {parent} to change"));
            }
            (Some(present), Verb::Replace) if present.handle != placed.handle => self.delete_qdisc(parent)?,
            (Some(present), Verb::Change | Verb::Replace) => {
                if present.qdisc != placed.qdisc && !present.qdisc.is_changeable() {
                    return Err(format!("{} cannot be changed", present.qdisc.kind()));
                }
                // What is not said stays as it is.
                let qdisc = present.qdisc.overlaid_by(&placed.qdisc).unwrap_or(placed.qdisc);
                self.qdiscs.insert(parent, PlacedQdisc { handle: present.handle, qdisc });
                return Ok(());
            }
            _ => {}
        }
        self.qdiscs.insert(parent, placed);
        Ok(())
    }

    fn delete_qdisc(&mut self, parent: Handle) -> Result<(), String> {
        let hook = match parent {
            Handle::ROOT => Some(Hook::Root),
            Handle::INGRESS => Some(Hook::Ingress),
            _ => None,
        };
        self.cleared.extend(hook);
        match self.qdiscs.shift_remove(&parent) {
            Some(gone) => self.delete_below(gone.handle),
            None if hook.is_some() => {}
            None => return Err(format!("there is no qdisc with the parent {parent} to delete")),
        }
        Ok(())
    }

    /// What goes with a qdisc.
    fn delete_below(&mut self, handle: Handle) {
        let majors =
            majors_below(handle, &self.qdiscs.iter().map(|(parent, placed)| (*parent, placed.handle)));
        self.classes.retain(|classid, _| !majors.contains(&classid.major()));
        self.filters.retain(|placed| !majors.contains(&placed.parent.major()));
        self.qdiscs.retain(|parent, _| is_hook(*parent) || !majors.contains(&parent.major()));
    }

    fn put_class(&mut self, verb: Verb, classid: Handle, placed: PlacedClass) -> Result<(), String> {
        let mut placed = placed;
        match (self.classes.get(&classid), verb) {
            (Some(_), Verb::Add) => return Err(format!("there is a class {classid} already")),
            (None, Verb::Change) => return Err(format!("there is no class {classid} to change")),
            (Some(present), Verb::Change | Verb::Replace) => {
                if placed.parent == Handle::UNSPEC {
                    placed.parent = present.parent;
                }
                if placed.parent_class() != present.parent_class() {
                    return Err(format!(
                        "class {classid} is under {}, and HTB does not move classes",
                        present.parent
                    ));
                }
            }
            _ => {}
        }
        if placed.parent == Handle::UNSPEC {
            return Err(format!("class {classid} has no parent"));
        }
        if let Some(leaf) = placed.parent_class().and_then(|parent| self.qdiscs.get(&parent)) {
            return Err(format!(
                "{} has the leaf qdisc {}, which the kernel would destroy for a child",
                placed.parent,
                leaf.qdisc.kind()
            ));
        }
        self.classes.insert(classid, placed);
        Ok(())
    }

    fn delete_class(&mut self, classid: Handle) -> Result<(), String> {
        if self.classes.values().any(|class| parent_class(class.parent) == Some(classid)) {
            return Err(format!("class {classid} has children, and cannot be deleted before them"));
        }
        if self.classes.shift_remove(&classid).is_none() {
            return Err(format!("there is no class {classid} to delete"));
        }
        self.filters.retain(|placed| placed.parent != classid);
        if let Some(leaf) = self.qdiscs.shift_remove(&classid) {
            self.delete_below(leaf.handle);
        }
        Ok(())
    }

    fn put_filter(
        &mut self,
        verb: Verb,
        parent: Handle,
        mut filter: Filter,
        is_new: bool,
    ) -> Result<(), String> {
        if filter.prio == 0 {
            if verb == Verb::Change {
                return Err("to change a filter its prio must be given".to_owned());
            }
            filter.prio = self.next_prio(parent, filter.chain);
        }
        let same = |placed: &PlacedFilter| {
            let known = &placed.filter;
            placed.parent == parent
                && (known.chain, known.prio, known.handle) == (filter.chain, filter.prio, filter.handle)
        };
        let present = (!is_new).then(|| self.filters.iter().position(same)).flatten();
        match (present, verb) {
            (Some(_), Verb::Add) => return Err("there is such a filter already".to_owned()),
            (None, Verb::Change) => return Err("there is no such filter to change".to_owned()),
            (Some(index), _) => {
                let present = &mut self.filters[index].filter;
                if filter.protocol.number() == 0 {
                    filter.protocol = present.protocol;
                }
                *present = filter;
            }
            (None, _) => self.filters.push(PlacedFilter { parent, filter }),
        }
        Ok(())
    }

    fn delete_filters(&mut self, parent: Handle, name: &FilterName) -> Result<(), String> {
        let parent = self.filter_parent(parent)?;
        let before = self.filters.len();
        self.filters.retain(|placed| {
            let known = &placed.filter;
            let named = placed.parent == parent
                && known.chain == name.chain
                && (name.prio == 0 || known.prio == name.prio)
                && (name.handle == 0 || known.handle == name.handle);
            !named
        });
        if self.filters.len() == before {
            Err("there is no such filter to delete".to_owned())
        } else {
            Ok(())
        }
    }

    /// What a filter hangs on: `root` means the root's qdisc.
    fn filter_parent(&self, parent: Handle) -> Result<Handle, String> {
        if parent != Handle::ROOT {
            return Ok(parent);
        }
        let root = self.qdiscs.get(&Handle::ROOT).map(|root| root.handle);
        root.filter(|handle| *handle != Handle::UNSPEC)
            .ok_or_else(|| "a filter needs a parent, such as 1:".to_owned())
    }

    /// The prio that the kernel gives a filter without one: one less than the lowest of the upper half (`tcf_auto_prio`).
    pub(super) fn next_prio(&self, parent: Handle, chain: u32) -> u16 {
        const FIRST: u16 = 0xC000;
        const UPPER_HALF: u16 = 0x8000;
        let used =
            self.filters.iter().filter(|placed| placed.parent == parent && placed.filter.chain == chain);
        let automatic = used.map(|placed| placed.filter.prio).filter(|prio| *prio >= UPPER_HALF);
        automatic.min().map_or(FIRST, |lowest| lowest - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tree {
        Tree::from_batch(text, Rounding::Exact).unwrap_or_else(|error| panic!("{error}"))
    }

    fn problem(text: &str) -> String {
        Tree::from_batch(text, Rounding::Exact).unwrap_err().to_string()
    }

    const TREE: &str = "qdisc add dev eth0 root handle 1: htb default 10\n\
        class add dev eth0 parent 1: classid 1:1 htb rate 100mbit\n\
        class add dev eth0 parent 1:1 classid 1:10 htb rate 10mbit\n\
        qdisc add dev eth0 parent 1:10 handle 10: pfifo limit 50\n\
        filter add dev eth0 parent 1: protocol ip prio 5 handle 0x6 fw classid 1:10\n";

    #[test]
    fn what_is_read_is_what_is_printed() {
        assert_eq!(read(TREE).to_batch(), TREE);
        let json = serde_json::to_string(&read(TREE)).unwrap();
        assert_eq!(serde_json::from_str::<Tree>(&json).unwrap(), read(TREE), "{json}");
        let toml = toml::to_string(&read(TREE)).unwrap();
        assert_eq!(toml::from_str::<Tree>(&toml).unwrap(), read(TREE), "{toml}");
    }

    #[test]
    fn the_order_does_not_matter() {
        let mut lines: Vec<&str> = TREE.lines().collect();
        lines.reverse();
        assert_eq!(read(&lines.join("\n")).to_batch(), TREE);
    }

    #[test]
    fn comments_continuations_and_blanks() {
        let text = "# a shaper\n\nqdisc add dev eth0 \\\n  root handle 1: htb # the root\n   \n";
        assert_eq!(read(text).to_batch(), "qdisc add dev eth0 root handle 1: htb\n");
        assert_eq!(
            problem("\n\nqdisc add \\\ndev eth0\nclass"),
            "line 3: qdisc: neither root nor parent is given"
        );
    }

    #[test]
    fn later_commands_change_what_earlier_ones_made() {
        let text = format!(
            "{TREE}class change dev eth0 parent 1:1 classid 1:10 htb rate 20mbit\n\
             qdisc change dev eth0 parent 1:10 handle 10: pfifo limit 60\n\
             filter del dev eth0 parent 1: prio 5\n"
        );
        let plain = read(&text).to_batch();
        assert!(
            plain.contains("1:10 htb rate 20mbit") && plain.contains("limit 60") && !plain.contains("filter")
        );
        let text = format!("{TREE}qdisc del dev eth0 root\n");
        assert_eq!(read(&text).to_batch(), "qdisc del dev eth0 root\n");
        let text = format!("qdisc del dev eth0 root\n{TREE}");
        assert_eq!(read(&text).to_batch(), TREE);
    }

    #[test]
    fn with_a_qdisc_goes_all_that_is_below() {
        let nested = "class add dev eth0 parent 1: classid 1:20 htb rate 1mbit\n\
            class add dev eth0 parent 1: classid 1:30 htb rate 1mbit\n\
            qdisc add dev eth0 parent 1:20 handle 20: htb\n\
            class add dev eth0 parent 20: classid 20:1 htb rate 1mbit\n\
            qdisc add dev eth0 parent 20:1 pfifo\n\
            qdisc add dev eth0 parent 1:30 pfifo\n";
        let text = format!("{TREE}{nested}qdisc del dev eth0 root\n");
        assert_eq!(read(&text).to_batch(), "qdisc del dev eth0 root\n");
        let text = format!("{TREE}{nested}qdisc del dev eth0 parent 1:20\n");
        let left = read(&text).to_batch();
        assert!(!left.contains("20:") && left.contains("parent 1:30 pfifo"), "{left}");
    }

    #[test]
    fn a_prio_that_is_not_given_is_the_kernels() {
        let filter = "filter add dev eth0 parent 1: protocol ip handle 6 fw classid 1:10\n";
        let text = format!("{}{filter}{filter}", TREE.lines().take(4).collect::<Vec<_>>().join("\n") + "\n");
        let prios: Vec<u16> =
            read(&text).devices["eth0"].filters.iter().map(|placed| placed.filter.prio).collect();
        assert_eq!(prios, [49152, 49151]);
    }

    #[test]
    fn errors_name_the_line() {
        for (more, expected) in [
            (
                "qdisc add dev eth0 root handle 2: htb",
                "line 6: there is a qdisc with the parent root already (line 1)",
            ),
            (
                "class add dev eth0 parent 1: classid 1:10 htb rate 1mbit",
                "line 6: there is a class 1:10 already (line 3)",
            ),
            ("class change dev eth0 classid 1:99 htb rate 1mbit", "line 6: there is no class 1:99 to change"),
            (
                "class replace dev eth0 parent 1: classid 1:10 htb rate 1mbit",
                "line 6: class 1:10 is under 1:1, and HTB does not move classes (line 3)",
            ),
            (
                "class del dev eth0 classid 1:1",
                "line 6: class 1:1 has children, and cannot be deleted before them (line 2)",
            ),
            (
                "class add dev eth0 parent 1:10 classid 1:11 htb rate 1mbit",
                "line 6: 1:10 has the leaf qdisc pfifo, which the kernel would destroy for a child",
            ),
            ("qdisc change dev eth0 root handle 1: htb default 20", "line 6: htb cannot be changed (line 1)"),
            (
                "class add dev eth0 parent 1:7 classid 1:20 htb rate 1mbit",
                "line 6: eth0: class 1:20: its parent 1:7 is not in the tree",
            ),
            (
                "class add dev eth0 parent 2: classid 2:20 htb rate 1mbit",
                "line 6: eth0: class 2:20: its qdisc 2: is not in the tree, or is not htb",
            ),
            (
                "class add dev eth0 parent 1: classid 1:20 htb rate 2mbit ceil 1mbit",
                "line 6: eth0: class 1:20: ceil 1Mbit is below rate 2Mbit",
            ),
            ("nonsense", "line 6: \"nonsense\" is none of qdisc, class, filter"),
        ] {
            assert_eq!(problem(&format!("{TREE}{more}\n")), expected);
        }
    }
}
