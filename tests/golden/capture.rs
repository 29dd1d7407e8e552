//! The bytes that the real `tc` hands to the kernel, read from `strace`.

use std::fs;
use std::process::Command;

use libtest_mimic::Failed;
use support::run;

/// Traffic-control message types lie in this range (`RTM_NEWQDISC` to `RTM_GETTFILTER`); before them `tc` also asks for the
/// device (`RTM_GETLINK`), which is no concern of ours.
const TRAFFIC_CONTROL: std::ops::RangeInclusive<u16> = 36..=46;

/// Carries out `tc <arguments>` in the calling thread's network namespace and gives the one traffic-control message it sent.
pub(crate) fn tc_message(arguments: &str) -> Result<Vec<u8>, Failed> {
    message_of(arguments, |strace| run(strace).map(drop))
}

/// As [`tc_message`], where the kernel may well not know what it is asked for.
pub(crate) fn tc_message_refused_or_not(arguments: &str) -> Result<Vec<u8>, Failed> {
    message_of(arguments, |strace| {
        let words = words(strace);
        let (program, rest) = words.split_first().ok_or("no command")?;
        let output = Command::new(program).args(rest).output()?;
        // 1: tc did not understand its command line; 2: the kernel refused.
        match output.status.code() {
            Some(0 | 2) => Ok(()),
            _ => Err(format!("tc {arguments}: {}", String::from_utf8_lossy(&output.stderr)).into()),
        }
    })
}

/// Parted by blanks, but for what stands between two `'`.
fn words(line: &str) -> Vec<&str> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(index, part)| if index % 2 == 0 { part.split_whitespace().collect() } else { vec![part] })
        .collect()
}

fn message_of(arguments: &str, run: impl Fn(&str) -> Result<(), Failed>) -> Result<Vec<u8>, Failed> {
    let trace = tempfile::NamedTempFile::new()?;
    let path = trace.path().display();
    run(&format!("strace -qq -o {path} -e trace=sendmsg,sendto -e write=all -s 65535 tc {arguments}"))?;
    let mut messages = sent(&fs::read_to_string(trace.path())?)?;
    messages.retain(|bytes| {
        bytes.get(4..6).is_some_and(|kind| TRAFFIC_CONTROL.contains(&u16::from_ne_bytes([kind[0], kind[1]])))
    });
    match <[Vec<u8>; 1]>::try_from(messages) {
        Ok([message]) => Ok(message),
        Err(messages) => Err(format!("tc {arguments} sent {} messages, not one", messages.len()).into()),
    }
}

/// One buffer for each system call in the trace, put together from its hexadecimal lines:
/// ` | 00010  00 00 00 00 03 00 00 00  00 00 01 00 ff ff ff ff  ................ |`.
fn sent(trace: &str) -> Result<Vec<Vec<u8>>, Failed> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in trace.lines() {
        if line.starts_with("sendmsg(") || line.starts_with("sendto(") {
            messages.push(Vec::new());
        } else if let Some(dump) = line.strip_prefix(" | ") {
            // An offset of five digits and two blanks, then 16 bytes in two groups, 49 columns.
            let bytes =
                dump.get(7..56).ok_or_else(|| format!("a line of strace that is too short: {line}"))?;
            let message = messages.last_mut().ok_or("strace dumps bytes of no call")?;
            for byte in bytes.split_whitespace() {
                message.push(u8::from_str_radix(byte, 16)?);
            }
        }
    }
    Ok(messages)
}
