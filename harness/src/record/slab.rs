//! What the kernel keeps for qdiscs and classes: `htb_change_class()` takes each class by `kzalloc()` (`net/sched/sch_htb.c`), which ends
//! in the `kmalloc-*` caches. They are the whole machine's, so others' memory is in it, too.

use std::fs;

/// Bytes of objects in use in the kernel's general caches (/proc/slabinfo, slabinfo(5)), which root may read; elsewhere all of what
/// cannot be reclaimed (`SUnreclaim` of /proc/meminfo, `proc_meminfo(5)`), which changes by pages. `None` where neither is told.
pub(super) fn bytes_in_use() -> Option<u64> {
    let read = |path: &str, parse: fn(&str) -> Option<u64>| parse(&fs::read_to_string(path).ok()?);
    read("/proc/slabinfo", in_caches).or_else(|| read("/proc/meminfo", unreclaimable))
}

/// The sum over `kmalloc-*`, `kmalloc-rnd-*` too. Left out are `kmalloc-cg-*`, which is charged to whoever caused it and hence for user
/// space (pipes, sockets, …), and `kmalloc-rcl-*`, which can be reclaimed.
fn in_caches(slabinfo: &str) -> Option<u64> {
    let bytes = |line: &str| {
        let mut words = line.split_whitespace();
        let size = words.next()?.strip_prefix("kmalloc-")?;
        if size.starts_with("cg-") || size.starts_with("rcl-") {
            return None;
        }
        let (objects, _, object_bytes) = (words.next()?, words.next()?, words.next()?);
        objects.parse::<u64>().ok()?.checked_mul(object_bytes.parse().ok()?)
    };
    slabinfo.lines().filter_map(bytes).reduce(u64::saturating_add)
}

fn unreclaimable(meminfo: &str) -> Option<u64> {
    let rest = meminfo.lines().find_map(|line| line.strip_prefix("SUnreclaim:"))?;
    rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn general_caches_are_added_up() {
        let slabinfo = "slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables …
dentry             18228  18228    192   21    1 : tunables    0    0    0 : slabdata    421    421      0
kmalloc-cg-1k         81    160   1024   16    4 : tunables    0    0    0 : slabdata     10     10      0
dma-kmalloc-1k         9      9   1024   16    4 : tunables    0    0    0 : slabdata      0      0      0
kmalloc-rcl-96     18228  18228     96   42    1 : tunables    0    0    0 : slabdata    434    434      0
kmalloc-1k           631    816   1024   16    4 : tunables    0    0    0 : slabdata     51     51      0
kmalloc-rnd-01-64     10     64     64   64    1 : tunables    0    0    0 : slabdata      1      1      0
";
        assert_eq!(in_caches(slabinfo), Some(631 * 1_024 + 640));
        assert_eq!(in_caches("slabinfo - version: 2.1\n"), None);
        assert_eq!(unreclaimable("Slab:  9 kB\nSUnreclaim:     164424 kB\n"), Some(164_424 << 10));
        assert_eq!(unreclaimable("SUnreclaim: much\n"), None);
    }

    #[test]
    fn this_kernel_keeps_some() {
        assert!(bytes_in_use().is_some_and(|bytes| bytes > 100_000));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(kmalloc-[0-9a-z-]{0,4} [0-9]{1,25} [0-9]{1,3} [0-9]{1,25} \n|.){0,6}") {
            let _ = in_caches(&text);
            let _ = unreclaimable(&text);
        }
    }
}
