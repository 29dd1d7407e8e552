//! By a program (tc-bpf(8), `net/sched/cls_bpf.c`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Common, Numbers, SkipFlags};
use crate::attribute::{each, put, u16_at, u32_at};
use crate::reply::Malformed;
use crate::text::serde_as_text;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, abbreviates, number};

const ACT: u16 = 1;
const POLICE: u16 = 2;
const CLASSID: u16 = 3;
const OPS_LEN: u16 = 4;
const OPS: u16 = 5;
const FLAGS: u16 = 8;
const FLAGS_GEN: u16 = 9;

pub(super) const NUMBERS: Numbers = Numbers { classid: CLASSID, police: Some(POLICE), actions: ACT };

/// `TCA_BPF_FLAG_ACT_DIRECT`.
const DIRECT_ACTION: u32 = 1;
/// `BPF_MAXINSNS`.
const MOST_INSTRUCTIONS: usize = 4096;
/// Bytes of a `struct sock_filter`.
const INSTRUCTION_SIZE: usize = 8;

/// `tc filter … bpf bytecode '<program>' [direct-action]`: a program of the classic Berkeley packet filter. What it gives is a
/// class, or -1 for the filter's own one, or 0: another filter is asked.
///
/// Programs of the extended one (`object-pinned`, `object-file`) are not supported: a filter that runs one is listed without
/// settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bpf {
    /// `bytecode`: the program.
    pub bytecode: Bytecode,
    /// `direct-action`, `da`: what the program gives is what becomes of the packet. The kernel takes it of extended programs only.
    #[serde(rename = "direct-action", default, skip_serializing_if = "crate::text::is_default")]
    pub direct_action: bool,
    /// Whether the hardware, and whether the kernel, is to be left out.
    #[serde(default, skip_serializing_if = "crate::text::is_default")]
    pub skip: SkipFlags,
}

/// A classic program of 1 to 4096 instructions; as text their number and each of them, `1,6 0 0 4294967295`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bytecode(Vec<Instruction>);

/// `struct sock_filter` of `include/uapi/linux/filter.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are left out if a comparison holds.
    pub jt: u8,
    /// And if it does not.
    pub jf: u8,
    /// A number.
    pub k: u32,
}

impl Bytecode {
    /// Of these instructions.
    pub fn new(instructions: impl Into<Vec<Instruction>>) -> Self {
        Self(instructions.into())
    }

    /// Its instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

impl fmt::Display for Bytecode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.len())?;
        self.0.iter().try_for_each(|Instruction { code, jt, jf, k }| write!(f, ",{code} {jt} {jf} {k}"))
    }
}

serde_as_text!(Bytecode, Bytecode::to_string);

impl FromStr for Bytecode {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (count, rest) = text.trim_start().split_once(',')?;
            let rest = rest.trim_end();
            let rest = rest.strip_suffix(',').unwrap_or(rest);
            let instructions: Option<Vec<_>> = rest.split(',').map(instruction).collect();
            instructions.filter(|all| decimal(count).is_some_and(|count: usize| count == all.len()))
        };
        let read = parse().filter(|instructions| (1..=MOST_INSTRUCTIONS).contains(&instructions.len()));
        read.map(Self).ok_or_else(|| {
            Syntax::new(format!(
                "{text:?} is not a program: expected the number of instructions and each as code jt jf k, with commas between"
            ))
        })
    }
}

fn instruction(text: &str) -> Option<Instruction> {
    let mut numbers = text.split_ascii_whitespace();
    let code = decimal(numbers.next()?)?;
    let (jt, jf) = (decimal(numbers.next()?)?, decimal(numbers.next()?)?);
    let k = decimal(numbers.next()?)?;
    numbers.next().is_none().then_some(Instruction { code, jt, jf, k })
}

/// Without a sign.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl Bpf {
    /// This program.
    pub fn new(bytecode: Bytecode) -> Self {
        Self { bytecode, direct_action: false, skip: SkipFlags::default() }
    }

    pub(super) fn encode(&self, buffer: &mut Vec<u8>) {
        let instructions = self.bytecode.0.get(..MOST_INSTRUCTIONS).unwrap_or(&self.bytecode.0);
        put(buffer, OPS_LEN, &u16::try_from(instructions.len()).unwrap_or(0).to_ne_bytes());
        let mut ops = Vec::with_capacity(instructions.len() * INSTRUCTION_SIZE);
        for Instruction { code, jt, jf, k } in instructions {
            ops.extend(code.to_ne_bytes());
            ops.extend([*jt, *jf]);
            ops.extend(k.to_ne_bytes());
        }
        put(buffer, OPS, &ops);
        self.skip.encode(FLAGS_GEN, buffer);
        if self.direct_action {
            put(buffer, FLAGS, &DIRECT_ACTION.to_ne_bytes());
        }
    }

    /// `None`: it is not a classic program.
    pub(super) fn decode(options: &[u8]) -> Result<Option<Self>, Malformed> {
        let (mut bpf, mut classic) = (Self::new(Bytecode(Vec::new())), false);
        for attribute in each(options) {
            let (number, value) = attribute?;
            let word = || u32_at(value, 0).ok_or(Malformed("the flags of a bpf filter are too short"));
            match number {
                OPS => {
                    classic = true;
                    if !value.len().is_multiple_of(INSTRUCTION_SIZE) {
                        return Err(Malformed("TCA_BPF_OPS is not of whole instructions"));
                    }
                    bpf.bytecode.0 = value.chunks_exact(INSTRUCTION_SIZE).map(from_bytes).collect();
                }
                FLAGS => bpf.direct_action = word()? & DIRECT_ACTION != 0,
                FLAGS_GEN => bpf.skip = SkipFlags::from_bits(word()?),
                _ => {}
            }
        }
        Ok(Some(bpf).filter(|_| classic))
    }

    pub(super) fn validate(&self) -> Result<(), InvalidRequest> {
        if !(1..=MOST_INSTRUCTIONS).contains(&self.bytecode.0.len()) {
            let (kind, setting, allowed) = ("bpf", "bytecode", "of 1 to 4096 instructions");
            return Err(InvalidRequest::Setting { kind, setting, allowed });
        }
        self.skip.validate("bpf")
    }

    /// Reads what follows the kind.
    pub(super) fn parse(
        handle: Option<&str>,
        words: &mut Words,
        common: &mut Common,
    ) -> Result<(u32, Self), Syntax> {
        let (mut bytecode, mut direct_action, mut skip) = (None, false, SkipFlags::default());
        while let Some(word) = words.next() {
            match word {
                _ if abbreviates(word, "run") => {}
                _ if common.take(word, words)? => {}
                _ if abbreviates(word, "direct-action") || word == "da" => direct_action = true,
                "skip_hw" => skip.skip_hw = true,
                "skip_sw" => skip.skip_sw = true,
                _ if abbreviates(word, "bytecode") || word == "bc" => bytecode = Some(words.parse(word)?),
                "bytecode-file" | "bcf" => {
                    return Err(Syntax::new("bpf: bytecode-file: give what is in the file as bytecode"));
                }
                "object-file" | "obj" | "object-pinned" | "pinned" | "fd" => {
                    return Err(Syntax::new(format!(
                        "bpf: {word}: programs of the extended packet filter (eBPF) are not supported, only bytecode"
                    )));
                }
                other => return Err(Syntax::unknown("bpf", other)),
            }
        }
        let bytecode = bytecode.ok_or_else(|| Syntax::new("bpf: no program is given (bytecode '…')"))?;
        Ok((handle.map_or(Ok(0), number)?, Self { bytecode, direct_action, skip }))
    }
}

fn from_bytes(ops: &[u8]) -> Instruction {
    Instruction {
        code: u16_at(ops, 0).unwrap_or(0),
        jt: ops.get(2).copied().unwrap_or(0),
        jf: ops.get(3).copied().unwrap_or(0),
        k: u32_at(ops, 4).unwrap_or(0),
    }
}

impl fmt::Display for Bpf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bpf bytecode '{}'", self.bytecode)?;
        f.write_str(if self.direct_action { " direct-action" } else { "" })?;
        self.skip.fmt(f)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::filter) fn anything() -> impl Strategy<Value = Bpf> {
        let instruction = (any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>())
            .prop_map(|(code, jt, jf, k)| Instruction { code, jt, jf, k });
        (prop::collection::vec(instruction, 1..20), any::<bool>(), any::<bool>()).prop_map(
            |(instructions, direct_action, skip_sw)| Bpf {
                bytecode: Bytecode(instructions),
                direct_action,
                skip: SkipFlags { skip_hw: false, skip_sw },
            },
        )
    }

    #[test]
    fn what_tc_takes() {
        let program: Bytecode = "2,40 0 0 12,6 0 0 4294967295,".parse().unwrap();
        assert_eq!(program.to_string(), "2,40 0 0 12,6 0 0 4294967295");
        for text in [
            "",
            "1",
            "0,",
            "2,6 0 0 0",
            "1,6 0 0 0,6 0 0 0",
            "1,6 0 0",
            "1,6 0 256 0",
            "1,6 0 0 0 0",
            "1,-6 0 0 0",
        ] {
            assert!(text.parse::<Bytecode>().is_err(), "{text:?}");
        }
    }
}
