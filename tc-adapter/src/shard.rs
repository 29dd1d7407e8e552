//! Round the kernel's O(N): many qdiscs with few classes each. Pure.

use std::collections::BTreeSet;

use crate::handle::Handle;

/// Deals classes to several HTB qdiscs, so that none of them becomes large.
///
/// The kernel walks all classes of a qdisc to add or to delete one, so ten qdiscs of 1,000 classes are filled in a tenth of the
/// time that one of 10,000 takes. A shard is the root qdisc of a device (the veth or VLAN of a group of subscribers, an `ifb`),
/// the child of a queue (`mq` with an HTB for each), or an HTB qdisc under a leaf class of another one.
///
/// **What it means for borrowing:** a class borrows from its ancestors in the same qdisc only. Subscribers in different shards
/// do not share what others leave unused, and the sum of the shards' rates is no limit by itself. Put those who are to share a
/// link under one parent, in one shard; give each shard a root class with its part of the link as rate and ceil.
///
/// ```
/// use tc_adapter::Shards;
///
/// let mut shards = Shards::new([2, 4, 6]); // interface indices
/// let (device, classid) = shards.place().expect("there is room");
/// assert_eq!((device, classid.to_string()), (2, "1:1".to_owned()));
/// shards.vacate(device, classid);
/// ```
#[derive(Clone, Debug)]
pub struct Shards {
    shards: Vec<Shard>,
}

#[derive(Clone, Debug)]
struct Shard {
    device: u32,
    /// The first minor that was never used.
    next: u32,
    vacant: BTreeSet<u16>,
    classes: u32,
}

/// The major of every shard's qdisc, `1:`.
const MAJOR: u16 = 1;

impl Shards {
    /// An HTB qdisc `1:` on each of these devices.
    pub fn new(devices: impl IntoIterator<Item = u32>) -> Self {
        let shard = |device| Shard { device, next: 1, vacant: BTreeSet::new(), classes: 0 };
        Self { shards: devices.into_iter().map(shard).collect() }
    }

    /// A place for one more class, on the device that has the fewest. `None`: every minor of every shard is taken.
    pub fn place(&mut self) -> Option<(u32, Handle)> {
        let shard = self
            .shards
            .iter_mut()
            .filter(|shard| !shard.vacant.is_empty() || u16::try_from(shard.next).is_ok())
            .min_by_key(|shard| shard.classes)?;
        let minor = if let Some(minor) = shard.vacant.pop_first() {
            minor
        } else {
            shard.next += 1;
            u16::try_from(shard.next - 1).ok()?
        };
        shard.classes += 1;
        Some((shard.device, Handle::new(MAJOR, minor)))
    }

    /// The class has gone; its place may be given out again. One that was never given out is ignored.
    pub fn vacate(&mut self, device: u32, classid: Handle) {
        let minor = classid.minor();
        let Some(shard) = self.shards.iter_mut().find(|shard| shard.device == device) else { return };
        if classid.major() == MAJOR
            && (1..shard.next).contains(&u32::from(minor))
            && shard.vacant.insert(minor)
        {
            shard.classes -= 1;
        }
    }

    /// How many classes stand on the fullest and on the emptiest device.
    pub fn spread(&self) -> Option<(u32, u32)> {
        let counts = || self.shards.iter().map(|shard| shard.classes);
        Some((counts().max()?, counts().min()?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn classes_are_spread_evenly_and_places_are_used_again() {
        let mut shards = Shards::new([2, 4, 6]);
        let mut places: Vec<_> = (0..300).map(|_| shards.place().unwrap()).collect();
        assert_eq!(places.iter().collect::<HashSet<_>>().len(), 300);
        assert_eq!(shards.spread(), Some((100, 100)));
        for (device, classid) in places.drain(..).filter(|(device, _)| *device == 4) {
            shards.vacate(device, classid);
            shards.vacate(device, classid);
        }
        assert_eq!(shards.spread(), Some((100, 0)));
        for _ in 0..100 {
            assert_eq!(shards.place().unwrap().0, 4);
        }
        assert_eq!(shards.spread(), Some((100, 100)));
    }

    #[test]
    fn a_qdisc_has_no_more_minors_than_sixteen_bits() {
        let mut shards = Shards::new([2]);
        let last = (0..u16::MAX).map(|_| shards.place().unwrap()).last();
        assert_eq!(last, Some((2, Handle::new(1, u16::MAX))));
        assert_eq!(shards.place(), None);
        shards.vacate(2, Handle::new(1, 7));
        assert_eq!(shards.place(), Some((2, Handle::new(1, 7))));
        assert_eq!(Shards::new([]).place(), None);
    }
}
