//! What happens to qdiscs.

use libtest_mimic::Failed;
use nix::libc;
use tc_adapter::{Check, Checks, Error, Handle, HtbQdisc, Qdisc, Request};

use super::world::{QDISC, World, add_class, add_qdisc, class};

pub(crate) fn refusals_come_with_text() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let htb = || HtbQdisc::new().into();
    let same_handle = Request::ReplaceQdisc { device, parent: Handle::ROOT, handle: QDISC, qdisc: htb() };
    for (request, errno, text) in [
        (add_qdisc(device, QDISC), libc::EEXIST, "Exclusivity flag on"),
        (same_handle, libc::EINVAL, "Change operation not supported"),
        (
            Request::DeleteQdisc { device, parent: Handle::ROOT, handle: Handle::qdisc(9) },
            libc::EINVAL,
            "Invalid handle",
        ),
        (
            Request::AddQdisc { device, parent: class(5), handle: Handle::qdisc(2), qdisc: htb() },
            libc::ENOENT,
            "class not found",
        ),
    ] {
        let error =
            world.connection.request(&request).err().ok_or_else(|| format!("{request:?} was accepted"))?;
        let told = matches!(&error, Error::Kernel { .. }) && error.errno() == Some(errno);
        if !told || !error.ext_ack().unwrap_or_default().contains(text) {
            return Err(format!("expected errno {errno} and {text:?}: {error}").into());
        }
        assert!(error.to_string().contains(text), "{error}");
    }
    Ok(())
}

pub(crate) fn a_new_handle_wipes_the_tree() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    world.add(QDISC, 1)?;
    world.add(class(1), 2)?;
    let handle = Handle::qdisc(2);
    let qdisc = HtbQdisc { default_class: 0x20, r2q: 100, ..HtbQdisc::new() };
    let request = Request::ReplaceQdisc { device, parent: Handle::ROOT, handle, qdisc: qdisc.clone().into() };
    world.connection.request_with(&request, Checks::ALL.without(Check::RootReplacement))?;
    assert_eq!(world.connection.classes(device)?, []);
    let list = world.connection.qdiscs(Some(device))?;
    let [entry] = list.as_slice() else { return Err(format!("{list:?}").into()) };
    assert_eq!((entry.handle, entry.parent, &*entry.kind), (Handle::qdisc(2), Handle::ROOT, "htb"));
    let Some(Qdisc::Htb(shown)) = &entry.options else { return Err("no HTB options".into()) };
    assert!(shown.direct_qlen.is_some(), "the kernel tells what it chose");
    assert_eq!(HtbQdisc { direct_qlen: None, ..shown.clone() }, qdisc);
    Ok(())
}

pub(crate) fn a_child_destroys_the_leaf_qdisc() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    world.add(QDISC, 1)?;
    let (handle, qdisc) = (Handle::qdisc(2), HtbQdisc::new().into());
    world.connection.request(&Request::AddQdisc { device, parent: class(1), handle, qdisc })?;
    assert_eq!(world.class(1)?.and_then(|entry| entry.leaf), Some(Handle::qdisc(2)));
    let parents = |world: &mut World| -> Result<Vec<Handle>, Failed> {
        Ok(world.connection.qdiscs(Some(device))?.into_iter().map(|entry| entry.parent).collect())
    };
    assert_eq!(parents(&mut world)?, [Handle::ROOT, class(1)]);
    let allowed = Checks::ALL.without(Check::LeafLoss);
    world.connection.request_with(&add_class(device, class(1), 2), allowed)?;
    assert_eq!(parents(&mut world)?, [Handle::ROOT]);
    assert_eq!(world.class(1)?.and_then(|entry| entry.leaf), None);
    Ok(())
}

/// A veth device shapes nothing itself. `tc` says the same: `tc qdisc add dev tc0 root handle 1: htb offload`.
pub(crate) fn offload_is_asked_for() -> Result<(), Failed> {
    let mut world = World::new()?;
    let (handle, qdisc) = (Handle::qdisc(2), HtbQdisc { offload: true, ..HtbQdisc::new() }.into());
    let request = Request::ReplaceQdisc { device: world.device, parent: Handle::ROOT, handle, qdisc };
    let allowed = Checks::ALL.without(Check::RootReplacement);
    let error =
        world.connection.request_with(&request, allowed).err().ok_or("a veth device that offloads HTB")?;
    assert_eq!(error.errno(), Some(libc::EOPNOTSUPP), "{error}");
    Ok(())
}
