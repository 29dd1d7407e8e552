//! `/proc/kallsyms`: names and addresses of the kernel's symbols (proc(5)).

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
};

/// What the file says about one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbol {
    /// The symbol's address.
    At(u64),
    /// The symbol is there and its address is shown as zero: `kernel.kptr_restrict`, or a missing privilege.
    Hidden,
    /// No such symbol. Most kernels list functions; data symbols only with `CONFIG_KALLSYMS_ALL`.
    Absent,
}

/// Looks for the first of `names` that the file has, in the file's order.
pub(crate) fn find(names: &[&str]) -> io::Result<Symbol> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open("/proc/kallsyms")?);
    let mut line = String::new();
    while reader.read_line(&mut line)? != 0 {
        if let Some((address, name)) = parse(&line)
            && names.contains(&name)
        {
            return Ok(if address == 0 { Symbol::Hidden } else { Symbol::At(address) });
        }
        line.clear();
    }
    Ok(Symbol::Absent)
}

/// Parses `ffffffff81e7b510 T rtnl_lock\t[module]`
fn parse(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let name = words.nth(1)?;
    Some((address, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_parsed_with_and_without_a_module() {
        assert_eq!(parse("ffffffff81e7b510 T rtnl_lock\n"), Some((0xffff_ffff_81e7_b510, "rtnl_lock")));
        assert_eq!(parse("0000000000000000 t htb_init\t[sch_htb]\n"), Some((0, "htb_init")));
        assert_eq!(parse(""), None);
        assert_eq!(parse("nonsense here too"), None);
    }
}
