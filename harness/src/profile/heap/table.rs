//! The sampled allocations: how often each site allocated and freed, and which of them live.
//!
//! One lock is enough: with an interval of half a megabyte it is taken some hundred times a second. Whoever holds it may allocate, which
//! then goes straight to the system's allocator, for the thread is marked as busy; and nobody takes it with a lock of the allocator's
//! in hand. pprof's signal handler never takes it: it allocates in its first sample only, before the process has a second thread.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Frames that are kept of a stack.
pub(super) const DEPTH: usize = 128;

/// The number of the profile that is being made; 0 while there is none.
static PROFILE: AtomicU32 = AtomicU32::new(0);
static EVERY: AtomicU64 = AtomicU64::new(1);
static SEED: AtomicU64 = AtomicU64::new(0);
static TABLE: Mutex<Option<Table>> = Mutex::new(None);

const FILTERS: usize = 1 << 12;

/// How many sampled allocations live at addresses that share an entry: most of what is freed was not sampled, and is seen
/// here without the lock.
static LIVE: [AtomicU32; FILTERS] = [const { AtomicU32::new(0) }; FILTERS];

struct Table {
    profile: u32,
    sites: Vec<Counts>,
    /// A site is a size and a stack, in one slice, because what a sample stands for depends on its size.
    by_stack: HashMap<Box<[usize]>, u32>,
    live: HashMap<usize, u32>,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    allocated: u64,
    freed: u64,
}

/// A place in the program, and what it allocated of one size.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) size: usize,
    /// Innermost first.
    pub(super) stack: Box<[usize]>,
    pub(super) allocated: u64,
    pub(super) freed: u64,
}

/// The number of the profile that is being made.
#[inline]
pub(super) fn profile() -> Option<u32> {
    match PROFILE.load(Ordering::Relaxed) {
        0 => None,
        profile => Some(profile),
    }
}

/// Its interval in bytes.
pub(super) fn every() -> u64 {
    EVERY.load(Ordering::Relaxed)
}

/// Another for each thread, the same in each run of a program whose threads start in the same order.
pub(super) fn seed() -> u64 {
    SEED.fetch_add(0xd134_2543_de82_ef95, Ordering::Relaxed)
}

/// Begins a profile, unless one is being made.
pub(super) fn begin(every: NonZeroU64) -> bool {
    static PROFILES: AtomicU32 = AtomicU32::new(0);
    let mut table = lock();
    if table.is_some() {
        return false;
    }
    let profile = PROFILES.fetch_add(1, Ordering::Relaxed) + 1;
    *table = Some(Table { profile, sites: Vec::new(), by_stack: HashMap::new(), live: HashMap::new() });
    EVERY.store(every.get(), Ordering::Relaxed);
    SEED.store(1, Ordering::Relaxed);
    PROFILE.store(profile, Ordering::Release);
    true
}

/// Ends the profile that is being made, and returns its sites.
pub(super) fn end() -> Vec<Site> {
    PROFILE.store(0, Ordering::Relaxed);
    // Whoever saw it a moment ago finds none, or another's number.
    let Some(table) = lock().take() else { return Vec::new() };
    for filter in &LIVE {
        filter.store(0, Ordering::Relaxed);
    }
    let site = |(key, index): (Box<[usize]>, u32)| {
        let Counts { allocated, freed } = table.sites[index as usize];
        Site { size: key[0], stack: key[1..].into(), allocated, freed }
    };
    table.by_stack.into_iter().map(site).collect()
}

/// Records an allocation; `key` is its size and then its stack.
pub(super) fn allocated(profile: u32, address: usize, key: &[usize]) {
    let mut table = lock();
    let Some(table) = table.as_mut().filter(|table| table.profile == profile) else { return };
    let site = if let Some(&site) = table.by_stack.get(key) {
        site
    } else {
        let Ok(site) = u32::try_from(table.sites.len()) else { return };
        table.by_stack.insert(key.into(), site);
        table.sites.push(Counts::default());
        site
    };
    table.sites[site as usize].allocated += 1;
    table.lives(address, site);
}

/// Whether [`freed`] is worth asking. Whoever frees has got the address from whoever allocated, and sees their count.
#[inline]
pub(super) fn may_be_sampled(address: usize) -> bool {
    filter(address).load(Ordering::Relaxed) != 0
}

/// Records that what is at `address` is freed, and returns its site if it was sampled.
pub(super) fn freed(address: usize) -> Option<u32> {
    let mut table = lock();
    let table = table.as_mut()?;
    let site = table.live.remove(&address)?;
    filter(address).fetch_sub(1, Ordering::Relaxed);
    table.sites[site as usize].freed += 1;
    Some(site)
}

/// Takes back what [`freed`] recorded.
pub(super) fn not_freed(address: usize, site: u32) {
    if let Some(table) = lock().as_mut()
        && let Some(counts) = table.sites.get_mut(site as usize)
        && counts.freed > 0
    {
        counts.freed -= 1;
        table.lives(address, site);
    }
}

impl Table {
    fn lives(&mut self, address: usize, site: u32) {
        match self.live.insert(address, site) {
            // Its end was not seen.
            Some(former) => self.sites[former as usize].freed += 1,
            None => {
                filter(address).fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn lock() -> MutexGuard<'static, Option<Table>> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn filter(address: usize) -> &'static AtomicU32 {
    // Allocations are multiples of 16, and of the same size are as far apart.
    let mixed = (address as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &LIVE[(mixed >> 52) as usize]
}
