//! Trees on a real kernel: from any to any other, and each time what `tc -batch` makes of the same file.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;

use libtest_mimic::Failed;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use support::{run, veth};
use tc_adapter::Connection;
use tc_adapter::tree::{Rounding, State, Tree, apply};

const OURS: &str = "ours";
const THEIRS: &str = "theirs";

/// A file that some shaper could have written: classes at any depth, leaf qdiscs with and without names, another HTB below a class,
/// filters.
struct Shaper {
    random: ChaCha8Rng,
    text: String,
    inner: Vec<(String, usize)>,
    leaves: Vec<String>,
}

impl Shaper {
    fn file(seed: u64) -> String {
        let mut shaper = Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            text: String::new(),
            inner: Vec::new(),
            leaves: Vec::new(),
        };
        shaper.tree(1, "root");
        shaper.leaf_qdiscs();
        shaper.filters();
        shaper.text
    }

    /// Some of few, so that many are the same from one file to the next, in another order.
    fn filters(&mut self) {
        let root = self.text.split_whitespace().nth(6).unwrap_or("1:").to_owned();
        let mut places = vec![root.clone()];
        places.extend(
            self.inner
                .iter()
                .filter(|(classid, _)| classid.starts_with(&root))
                .map(|(classid, _)| classid.clone()),
        );
        let tabled = self.random.random_ratio(1, 2);
        if tabled {
            let divisor = *[4, 16].choose(&mut self.random).unwrap_or(&4);
            self.line(&format!(
                "filter add dev ours parent {root} protocol ip prio 5 handle 2: u32 divisor {divisor}"
            ));
            self.line(&format!("filter add dev ours parent {root} protocol ip prio 5 u32 match ip dst 10.0.0.0/8 hashkey mask 3 at 16 link 2:"));
        }
        for _ in 0..self.random.random_range(0..12) {
            let parent = places.choose(&mut self.random).cloned().unwrap_or_default();
            let subscriber = self.random.random_range(1..6);
            let class = self.random.random_range(1..10);
            let what = match self.random.random_range(0..9) {
                0 => "prio 1 u32 match u32 0 0".to_owned(),
                1 => "u32 match ip protocol 6 0xff".to_owned(),
                4 => format!("prio 4 bpf bytecode '1,6 0 0 {},'", subscriber % 2),
                2 => format!("prio 3 u32 match ip src 10.0.0.{subscriber} match ip dport 80 0xffff"),
                3 if tabled => {
                    format!("prio 5 u32 ht 2:{}: match ip dst 10.0.0.{subscriber}", subscriber % 4)
                }
                _ => format!("prio 7 u32 match ip dst 10.0.0.{subscriber}"),
            };
            // The table is the root's.
            let parent = if what.starts_with("prio 5") { root.clone() } else { parent };
            self.line(&format!(
                "filter add dev ours parent {parent} protocol ip {what} flowid {root}{class}"
            ));
        }
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    fn tree(&mut self, major: u16, place: &str) {
        // Sometimes under another name, which takes a new tree.
        let major = if major == 1 && self.random.random_ratio(1, 8) { 2 } else { major };
        let default = self.random.random_range(1..4);
        self.line(&format!("qdisc add dev ours {place} handle {major}: htb default {default}"));
        let mut classes: Vec<(String, usize)> = Vec::new();
        let mut with_children = Vec::new();
        let mut minors: Vec<u16> = (1..=9).collect();
        minors.shuffle(&mut self.random);
        minors.truncate(self.random.random_range(1..=9));
        for minor in minors {
            let above = classes.choose(&mut self.random).filter(|(_, depth)| *depth < 4).cloned();
            let above = above.filter(|_| self.random.random_ratio(2, 3));
            let (parent, depth) = above.unwrap_or_else(|| (format!("{major}:"), 0));
            let rate = self.random.random_range(1..5);
            let more = *["", " ceil 9mbit", " burst 20k", " prio 3 quantum 3000"]
                .choose(&mut self.random)
                .unwrap_or(&"");
            let classid = format!("{major}:{minor}");
            self.line(&format!(
                "class add dev ours parent {parent} classid {classid} htb rate {rate}mbit{more}"
            ));
            with_children.push(parent);
            classes.push((classid, depth + 1));
        }
        for (classid, depth) in classes {
            if with_children.contains(&classid) {
                self.inner.push((classid, depth));
            } else {
                self.leaves.push(classid);
            }
        }
    }

    fn leaf_qdiscs(&mut self) {
        let mut leaves = std::mem::take(&mut self.leaves);
        leaves.shuffle(&mut self.random);
        let mut handle = 0x10;
        for leaf in leaves {
            let kind = match self.random.random_range(0..6) {
                0 => "pfifo limit 10",
                1 => "pfifo",
                2 => "bfifo limit 9000b",
                3 if self.random.random_ratio(1, 3) => {
                    self.tree(0x30 + handle, &format!("parent {leaf}"));
                    handle += 1;
                    continue;
                }
                _ => continue,
            };
            let name =
                if self.random.random_ratio(2, 3) { format!("handle {handle:x}: ") } else { String::new() };
            // Names are taken again by others, but not in the same order.
            handle += self.random.random_range(1..3);
            self.line(&format!("qdisc add dev ours parent {leaf} {name}{kind}"));
        }
    }
}

/// What `tc` shows of a device, but for counters and for the names of those qdiscs that the file gives none: any will do.
fn shown(device: &str, file: &str) -> Result<Vec<String>, Failed> {
    let nameless: HashSet<&str> = file
        .lines()
        .filter(|line| line.starts_with("qdisc") && !line.contains("handle"))
        .filter_map(|line| line.split_whitespace().nth(5))
        .collect();
    let mut lines: Vec<String> = filters(device)?;
    let others = lines.len();
    for what in ["qdisc", "class"] {
        for line in run(&format!("tc -d {what} show dev {device}"))?.lines() {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            // "qdisc pfifo 8001: parent 1:2 …", "class htb 1:2 parent 1:1 leaf 8001: …"
            let place = words[if what == "qdisc" { 4 } else { 2 }];
            let name = words.iter().position(|word| *word == "leaf").map_or(2, |leaf| leaf + 1);
            if nameless.contains(place) && words[name].ends_with(':') {
                words[name] = "any";
            }
            lines.push(words.join(" "));
        }
    }
    lines[others..].sort();
    Ok(lines)
}

/// The filters of a device, those of a hash table in the order in which they are asked. Their numbers, and those of the tables that
/// the kernel made, are its own, and so is the order of the tables.
fn filters(device: &str) -> Result<Vec<String>, Failed> {
    let mut tables: Vec<String> = Vec::new();
    let classes = run(&format!("tc class show dev {device}"))?;
    let mut parents: Vec<&str> = classes.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    parents.extend(["1:", "2:"]);
    parents.sort_unstable();
    for parent in parents {
        for line in run(&format!("tc filter show dev {device} parent {parent}"))?.lines() {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            for name in ["fh", "ht", "order", "handle"] {
                let at = words.iter().position(|word| *word == name).map_or(usize::MAX, |at| at + 1);
                if let Some(word) = words.get_mut(at) {
                    *word = if name == "order" || name == "handle" || word.starts_with('8') {
                        "automatic"
                    } else {
                        word.split(':').next().unwrap_or(word)
                    };
                }
            }
            let line = format!("{parent} {}", words.join(" "));
            match tables.last_mut() {
                Some(table) if !line.contains("divisor") && !line.ends_with("chain 0") => {
                    table.push('\n');
                    table.push_str(&line);
                }
                _ => tables.push(line),
            }
        }
    }
    tables.sort();
    Ok(tables)
}

/// What `tc -batch` makes of a file on a device that has nothing.
fn by_tc(file: &str) -> Result<Vec<String>, Failed> {
    let path = tempfile::NamedTempFile::new()?;
    fs::write(path.path(), file.replace(OURS, THEIRS))?;
    let _ = run("tc qdisc del dev theirs root");
    run(&format!("tc -batch {}", path.path().display()))?;
    Ok(shown(THEIRS, file)?.into_iter().map(|line| line.replace(THEIRS, OURS)).collect())
}

/// How many trees: fewer where each takes seconds, as under an emulated processor.
const TREES: &str = "QDISCOPE_TREES";

pub(crate) fn any_tree_becomes_any_other() -> Result<(), Failed> {
    let count = std::env::var(TREES).ok().map_or(Ok(150), |text| text.parse())?;
    walk((0..count).map(Shaper::file))
}

const ONE_CLASS: &str = "qdisc add dev ours root handle 1: htb\n\
                         class add dev ours parent 1: classid 1:1 htb rate 1mbit\n";

/// One filter in a hash table that has a name.
fn tabled(prio: u32, divisor: u32) -> String {
    let at = format!("filter add dev ours parent 1: protocol ip prio {prio}");
    format!(
        "{ONE_CLASS}{at} handle 3: u32 divisor {divisor}\n\
         {at} u32 ht 800:: match ip src 10.0.1.0/24 hashkey mask 0x000000ff at 12 link 3:\n\
         {at} u32 ht 3:1: match ip src 10.0.1.1/32 flowid 1:1\n"
    )
}

fn plain(filters: u32) -> String {
    let at = "filter add dev ours parent 1: protocol ip prio 5 u32 match ip dst";
    let filter = |n: u32| format!("{at} 100.{}.{}.0/24 flowid 1:1\n", n >> 8, n & 0xFF);
    ONE_CLASS.to_owned() + &(0..filters).map(filter).collect::<String>()
}

/// What the manual of `u32` does not tell: tables whose names are the qdisc's, a bucket whose upper numbers are used up, a prio
/// without filters.
pub(crate) fn the_odd_ways_of_u32() -> Result<(), Failed> {
    let empty_first =
        tabled(5, 256).replacen("filter", "filter add dev ours parent 1: protocol ip prio 5 u32\nfilter", 1);
    walk([
        tabled(5, 256),
        plain(1),
        tabled(5, 256),
        tabled(6, 256),
        tabled(6, 16),
        plain(2300),
        plain(2299),
        plain(2300),
        empty_first.clone(),
        plain(3),
        empty_first,
        ONE_CLASS.to_owned(),
    ])
}

/// Applies one file after the other, and compares each time with what `tc` makes of it.
fn walk(files: impl IntoIterator<Item = String>) -> Result<(), Failed> {
    veth(OURS, THEIRS)?;
    let mut connection = Connection::connect()?;
    let mut last = String::new();
    for (number, file) in files.into_iter().enumerate() {
        let context = |what: &str| format!("file {number}: {what}\nfrom:\n{last}\nto:\n{file}");
        // As the tc of this machine reads bursts.
        let tree =
            Tree::from_batch(&file, Rounding::Microseconds).map_err(|error| context(&error.to_string()))?;
        let plan =
            tree.plan(&State::read(&mut connection, &tree)?, |_| unreachable!("no device is named"))?;
        let applied =
            apply(&mut connection, &tree).map_err(|error| context(&format!("{error}\nplan:\n{plan}")))?;
        assert_eq!(applied.steps, plan.steps.len());
        let (ours, theirs) = (shown(OURS, &file)?, by_tc(&file)?);
        if ours != theirs {
            return Err(context(&format!("plan:\n{plan}\nours: {ours:#?}\n  tc: {theirs:#?}")).into());
        }
        assert_eq!(apply(&mut connection, &tree)?.steps, 0, "{}", context("twice"));
        last = file;
    }
    Ok(())
}
