//! Round the kernel's O(N): classes that are changed instead of deleted and added. Pure.

use std::collections::HashMap;

use crate::handle::Handle;
use crate::htb::HtbClass;
use crate::rate::Rate;
use crate::request::Request;

/// Where classes can stand in for each other: siblings on one device.
type Family = (u32, Handle);

/// Classes that nobody uses, kept at a low rate until somebody needs one.
///
/// The kernel walks *all* classes of a qdisc to add or to delete one (`tc_bind_tclass`), and every class block of the whole
/// system to add one (`flow_indr_dev_setup_offload`). Changing a class costs the same 2 µs however many there are. So a
/// subscriber who leaves gives the class back, and the next one gets it with another rate: what comes and goes costs nothing
/// that grows.
///
/// This only says what to send, and keeps the books. A class keeps its name, so who has the subscriber's filters points them to
/// the class that [`Recycler::acquire`] names. Packets that still wait in a class's queue when it is given back are sent at
/// its parked rate. A parked class guarantees its rate to nobody, and takes it from the parent's all the same: keep it low.
///
/// ```
/// use tc_adapter::{Handle, HtbClass, Recycler, Request};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut recycler = Recycler::new("8kbit".parse()?);
/// let (device, parent) = (3, "1:".parse()?);
/// // tc class change dev eth0 classid 1:10 htb rate 8kbit
/// let request = recycler.release(device, parent, "1:10".parse()?);
/// // tc class change dev eth0 classid 1:10 htb rate 20mbit
/// let (classid, request) = recycler.acquire(device, parent, HtbClass::new("20mbit".parse()?)).expect("one is parked");
/// assert_eq!(classid.to_string(), "1:10");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Recycler {
    parked: HashMap<Family, Vec<Handle>>,
    settings: HtbClass,
}

impl Recycler {
    /// Parks classes at `rate`, which is also their ceil. At least 47 bit/s, for the burst of 1,600 bytes must not take longer than
    /// 274 s; the quantum is set to 1,514 bytes, lest the kernel remark on what it would derive.
    pub fn new(rate: Rate) -> Self {
        Self { parked: HashMap::new(), settings: HtbClass { quantum: Some(1_514), ..HtbClass::new(rate) } }
    }

    /// Gives a class back. Gives the request that parks it; if the kernel refuses that, tell [`Recycler::forget`].
    pub fn release(&mut self, device: u32, parent: Handle, classid: Handle) -> Request {
        self.parked.entry((device, parent)).or_default().push(classid);
        change(device, classid, self.settings.clone())
    }

    /// Takes a parked class with new settings, the one that was parked last. Gives its name and the request that makes it so; if
    /// the kernel refuses that with `ENOENT`, it has gone, and is not parked any more. `None`: nothing is parked there, add a
    /// class.
    pub fn acquire(&mut self, device: u32, parent: Handle, class: HtbClass) -> Option<(Handle, Request)> {
        let classid = self.parked.get_mut(&(device, parent))?.pop()?;
        Some((classid, change(device, classid, class)))
    }

    /// A class that is to be parked no more, because it has gone or somebody else has it.
    pub fn forget(&mut self, device: u32, classid: Handle) {
        for (_, parked) in self.parked.iter_mut().filter(|((there, _), _)| *there == device) {
            parked.retain(|held| *held != classid);
        }
    }

    /// How many are parked on a device under a parent.
    pub fn parked(&self, device: u32, parent: Handle) -> usize {
        self.parked.get(&(device, parent)).map_or(0, Vec::len)
    }
}

/// Without a parent, so that the kernel is not asked to echo the class: a class does not move.
fn change(device: u32, classid: Handle, class: HtbClass) -> Request {
    Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_given_back_is_given_out_again() {
        let (device, parent) = (3, Handle::qdisc(1));
        let mut recycler = Recycler::new(rate("8kbit"));
        let class = || HtbClass::new(rate("20mbit"));
        assert_eq!(recycler.acquire(device, parent, class()), None);
        for minor in 1..=3 {
            let request = recycler.release(device, parent, Handle::new(1, minor));
            assert_eq!(request.validate(), Ok(()));
            let Request::ChangeClass { class, .. } = request else { panic!() };
            assert_eq!(class.rate, rate("8kbit"));
        }
        recycler.forget(device, Handle::new(1, 2));
        assert_eq!(recycler.acquire(4, parent, class()), None, "another device");
        assert_eq!(recycler.acquire(device, Handle::new(1, 9), class()), None, "another parent");
        let given: Vec<u16> = std::iter::from_fn(|| recycler.acquire(device, parent, class()))
            .map(|(id, _)| id.minor())
            .collect();
        assert_eq!(given, [3, 1]);
        assert_eq!(recycler.parked(device, parent), 0);
    }
}
