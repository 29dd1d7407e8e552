//! Stacks with names: from numbers and addresses to functions, and from those to flamegraphs.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::path::PathBuf;

use ebpf_loader::STACK_LOST;

use super::gathered::{Stack, Weight};
use super::mappings::Mappings;
use super::symbols::Symbols;
use super::{ProfileError, mixed_flamegraph};

/// How frames of the kernel are marked in folded stacks, as by `stackcollapse-perf.pl --kernel`.
pub(super) const KERNEL: &str = "_[k]";

/// A frame of which nothing is known but that there was one.
const UNKNOWN: &str = "[unknown]";
/// A stack for which there was no place in the kernel's map.
const LOST: &str = "[stack lost]";
/// A process that had ended before its mappings could be read.
const ENDED: &str = "[user code of a process that has ended]";

/// The frames behind the numbers of stacks, leaf first.
pub type Frames = HashMap<i32, Vec<u64>>;

/// The names of all frames.
pub struct Names {
    frames: Frames,
    kernel: HashMap<u64, String>,
    user: HashMap<(u32, u64), String>,
}

/// A stack as people read it: the outermost function first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// In user mode.
    pub user: Vec<String>,
    /// In the kernel.
    pub kernel: Vec<String>,
}

impl Names {
    /// Names what these stacks need. `frames` has all of them.
    pub fn find<'a>(
        stacks: impl IntoIterator<Item = &'a Stack>,
        frames: Frames,
        mappings: &Mappings,
        symbols: &Symbols,
    ) -> Result<Self, ProfileError> {
        let mut in_kernel = Vec::new();
        let mut user = HashMap::new();
        let mut wanted = HashMap::<PathBuf, Vec<(u32, u64, u64)>>::new();
        for stack in stacks {
            in_kernel.extend(frames.get(&stack.kernel).into_iter().flatten().copied());
            for (depth, &address) in frames.get(&stack.user).into_iter().flatten().enumerate() {
                let name = match mappings.place(stack.process, call(depth, address)) {
                    Some(place) => {
                        if let Some((path, offset)) = place.file {
                            wanted.entry(path).or_default().push((stack.process, address, offset));
                        }
                        format!("[{}]", place.module.trim_matches(['[', ']']))
                    }
                    None if mappings.knows(stack.process) => UNKNOWN.to_owned(),
                    None => ENDED.to_owned(),
                };
                user.insert((stack.process, address), name);
            }
        }
        for (path, places) in wanted {
            let names = symbols.file(&path, places.iter().map(|(.., offset)| *offset).collect());
            for (process, address, offset) in places {
                if let Some(name) = names.get(&offset) {
                    user.insert((process, address), name.clone());
                }
            }
        }
        Ok(Self { frames, kernel: symbols.kernel(in_kernel)?, user })
    }

    /// The functions of a stack.
    pub fn of(&self, stack: &Stack) -> Named {
        let unknown = || UNKNOWN.to_owned();
        let mut user = self.names(stack.user, |address| {
            self.user.get(&(stack.process, address)).cloned().unwrap_or_else(unknown)
        });
        // Of a process that has ended every frame would say so.
        if user.iter().all(|name| name == ENDED) {
            user.truncate(1);
        }
        let kernel =
            self.names(stack.kernel, |address| self.kernel.get(&address).cloned().unwrap_or_else(unknown));
        Named { user, kernel }
    }

    fn names(&self, number: i32, name: impl Fn(u64) -> String) -> Vec<String> {
        if number == STACK_LOST {
            return vec![LOST.to_owned()];
        }
        let frames = self.frames.get(&number).map_or(&[][..], Vec::as_slice);
        frames.iter().rev().map(|&address| name(address)).collect()
    }
}

/// All but the innermost frame are return addresses, which may already belong to the next function.
fn call(depth: usize, address: u64) -> u64 {
    if depth == 0 { address } else { address.saturating_sub(1) }
}

/// Functions through which every request comes, and every system call and worker: they say nothing about what it does.
const PLUMBING: [&str; 22] = [
    "entry_SYSCALL_64_after_hwframe",
    "do_syscall_64",
    "x64_sys_call",
    "sock_sendmsg",
    "__sock_sendmsg",
    "sock_recvmsg",
    "sock_write_iter",
    "netlink_sendmsg",
    "netlink_unicast",
    "netlink_rcv_skb",
    "rtnetlink_rcv",
    "rtnetlink_rcv_msg",
    "netlink_recvmsg",
    "netlink_dump",
    "__netlink_dump_start",
    "rtnl_dumpit",
    "ret_from_fork_asm",
    "ret_from_fork",
    "kthread",
    "worker_thread",
    "process_one_work",
    "sock_do_ioctl",
];

/// Beginnings of the names of others, also of BPF programs that lie in between, and of what has no name.
const PLUMBING_BEGINS: [&str; 7] =
    ["__x64_sys_", "__sys_", "___sys_", "____sys_", "bpf_trampoline_", "bpf_prog_", "["];

impl Named {
    /// What the thread does in the kernel, by the outermost function that says something: `tc_ctl_tclass`, `cleanup_net`.
    pub fn handler(&self) -> Option<&str> {
        self.kernel.iter().map(String::as_str).find(|name| {
            !PLUMBING.contains(name) && !PLUMBING_BEGINS.iter().any(|begin| name.starts_with(begin))
        })
    }
}

/// Adds stacks to the lines of Brendan Gregg's folded format, each below what `root` says, the kernel's frames marked.
pub(super) fn fold(
    lines: &mut BTreeMap<String, u64>,
    stacks: &[(Stack, Weight)],
    names: &Names,
    root: impl Fn(&Stack) -> Vec<String>,
) {
    for (stack, weight) in stacks {
        let Named { user, kernel } = names.of(stack);
        // Semicolons divide frames.
        let mut frames: Vec<_> = root(stack).into_iter().map(|frame| frame.replace(';', ":")).collect();
        frames.extend(user);
        frames.extend(kernel.into_iter().map(|name| name + KERNEL));
        *lines.entry(frames.join(";")).or_default() += weight.nanos;
    }
}

/// The text of folded lines: `root;outermost;…;innermost µs`, sorted.
pub(super) fn folded(lines: BTreeMap<String, u64>) -> String {
    let mut text = String::new();
    for (line, nanos) in lines.into_iter().filter(|(_, nanos)| *nanos >= 500) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line} {}", (nanos + 500) / 1000);
    }
    text
}

/// The flamegraph of [`folded`]; `None` where there is nothing to draw.
pub(super) fn draw(title: &str, subtitle: &str, folded: &str) -> Result<Option<Vec<u8>>, ProfileError> {
    if folded.is_empty() {
        return Ok(None);
    }
    mixed_flamegraph(title, subtitle, folded).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::Doing;
    use super::*;

    fn stack(doing: Doing, kernel: i32, user: i32) -> Stack {
        Stack { doing, process: 7, comm: 0, kernel, user }
    }

    fn names() -> Names {
        Names {
            frames: HashMap::from([(1, vec![30, 20, 10]), (2, vec![101, 100])]),
            kernel: HashMap::from([
                (10, "entry_SYSCALL_64_after_hwframe".into()),
                (20, "bpf_trampoline_6442467214".into()),
                (30, "tc_ctl_tclass".into()),
            ]),
            user: HashMap::from([((7, 100), "main".into()), ((7, 101), "[libc.so.6]".into())]),
        }
    }

    #[test]
    fn frames_go_from_the_process_through_its_code_into_the_kernel() {
        let stacks = [
            (stack(Doing::OnCpu, 1, 2), Weight { samples: 1, nanos: 2_600 }),
            (stack(Doing::OnCpu, -14, 2), Weight { samples: 1, nanos: 1_000 }),
            (stack(Doing::RtnlWait, STACK_LOST, -14), Weight { samples: 1, nanos: 1_000 }),
            (stack(Doing::RtnlWait, 9, 9), Weight { samples: 1, nanos: 100 }),
        ];
        let mut lines = BTreeMap::new();
        fold(&mut lines, &stacks, &names(), |stack| vec!["tc".into(), format!("{:?}", stack.doing)]);
        let text = folded(lines);
        assert_eq!(
            text,
            "tc;OnCpu;main;[libc.so.6] 1\n\
             tc;OnCpu;main;[libc.so.6];entry_SYSCALL_64_after_hwframe_[k];bpf_trampoline_6442467214_[k];tc_ctl_tclass_[k] 3\n\
             tc;RtnlWait;[stack lost]_[k] 1\n"
        );
        let svg = String::from_utf8(draw("t", "s", &text).unwrap().unwrap()).unwrap();
        assert!(svg.contains("tc_ctl_tclass") && !svg.contains("_[k]"), "marks are for colours");
        assert!(draw("t", "s", "").unwrap().is_none());
    }

    #[test]
    fn what_a_holder_does_is_told_by_the_first_function_that_says_something() {
        assert_eq!(names().of(&stack(Doing::OnCpu, 1, 2)).handler(), Some("tc_ctl_tclass"));
        assert_eq!(names().of(&stack(Doing::OnCpu, -14, 2)).handler(), None);
    }

    #[test]
    fn a_process_that_has_ended_says_so_once() {
        let mut names = names();
        names.user = HashMap::from([((7, 100), ENDED.into()), ((7, 101), ENDED.into())]);
        assert_eq!(names.of(&stack(Doing::OnCpu, -14, 2)).user, [ENDED]);
    }
}
