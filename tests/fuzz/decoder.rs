//! Any bytes from the kernel: a value or an error, never a panic, never an endless loop. What is understood says the same when it is
//! sent back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tc_adapter::{ClassEntry, FilterEntry, Handle, QdiscEntry, Request};

/// Bytes of a `struct nlmsghdr`.
const HEADER: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    tc_adapter::read_any_datagram(bytes);
    let mut message = Vec::new();
    if let Ok(QdiscEntry { device, parent, handle, options: Some(qdisc), .. }) = QdiscEntry::decode(bytes) {
        Request::AddQdisc { device, parent, handle, qdisc: qdisc.clone() }.encode(1, 2, &mut message);
        // Some kinds are sent without options, as tc does, where the kernel's defaults are meant.
        let again = QdiscEntry::decode(&message[HEADER..]).expect("what we send is understood").options;
        assert!(again.is_none_or(|again| again.kind() == qdisc.kind()));
    }
    if let Ok(ClassEntry { device, parent, classid, htb: Some(class), .. }) = ClassEntry::decode(bytes) {
        Request::AddClass { device, parent, classid, class: class.clone() }.encode(1, 2, &mut message);
        let again = ClassEntry::decode(&message[HEADER..]).expect("what we send is understood").htb;
        assert_eq!(
            again.map(|again| (again.rate, again.ceil, again.prio)),
            Some((class.rate, class.ceil, class.prio))
        );
    }
    if let Ok(FilterEntry { device, parent, filter: Some(filter), .. }) = FilterEntry::decode(bytes) {
        let parent = if parent == Handle::UNSPEC { Handle::ROOT } else { parent };
        if filter.validate().is_ok() {
            Request::AddFilter { device, parent, filter: Box::new(filter.clone()) }.encode(
                1,
                2,
                &mut message,
            );
            let again = FilterEntry::decode(&message[HEADER..]).expect("what we send is understood").filter;
            // One that says nothing is sent without settings.
            assert!(again.is_none_or(|again| filter.meets(&again)), "{filter:?}");
        }
    }
});
