//! Any filter of u32, and what its selectors become.

use super::*;
use crate::filter::Common;
use crate::words::Words;
use proptest::prelude::*;

/// Whatever `tc`'s words can say.
pub(in crate::filter) fn anything() -> impl Strategy<Value = U32> {
    let key = |offset: i32| {
        (any::<u32>(), any::<u32>(), any::<bool>()).prop_map(move |(value, mask, next)| U32Key {
            value: value & mask,
            mask,
            offset,
            offmask: if next { select::NEXT_HEADER } else { 0 },
        })
    };
    let keys = (key(-8), key(0), key(16), key(400)).prop_map(|(a, b, c, d)| vec![a, b, c, d]);
    let variable = (any::<i16>(), any::<u16>(), any::<u8>())
        .prop_map(|(at, mask, shift)| U32VariableOffset { at: at & !1, mask, shift });
    let offset = (any::<Option<u16>>(), prop::option::of(variable), any::<bool>())
        .prop_map(|(plus, variable, eat)| U32Offset { plus, variable, eat });
    let hashkey = (any::<u32>(), any::<i16>()).prop_map(|(mask, at)| U32HashKey { mask, at: at & !3 });
    let mark = (any::<u32>(), any::<u32>()).prop_map(|(value, mask)| U32Mark { value: value & mask, mask });
    let tables =
        (prop::option::of((0_u32..9).prop_map(|bits| 1 << bits)), any::<Option<u32>>(), any::<Option<u32>>());
    let rest = (prop::option::of("[a-z]{1,15}"), prop::option::of(mark), any::<u8>());
    (tables, keys, prop::option::of(hashkey), prop::option::of(offset), rest).prop_map(
        |((divisor, ht, link), keys, hashkey, offset, (indev, mark, skip))| U32 {
            divisor,
            ht: ht.map(|ht| ht & !handle::NODE_MASK).filter(|ht| *ht != 0),
            link: link.map(|link| link & !handle::NODE_MASK),
            keys,
            mark,
            hashkey: hashkey.filter(|hashkey| *hashkey != U32HashKey::default()),
            offset: offset.filter(|offset| *offset != U32Offset::default()),
            indev,
            skip: SkipFlags { skip_hw: skip == 1, skip_sw: skip == 2 },
        },
    )
}

fn read(text: &str) -> U32 {
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    U32::parse(None, &mut Words::new(&words), &mut Common::default()).unwrap().1
}

#[test]
fn selectors_become_words() {
    for (text, keys) in [
        ("match ip dst 10.1.0.0/16", vec![U32Key::new(0x0A01_0000, 0xFFFF_0000, 16)]),
        ("match ip protocol 6 0xff", vec![U32Key::new(0x0006_0000, 0x00FF_0000, 8)]),
        ("match ip sport 80 0xffff match ip dport 443 0xffff", vec![U32Key::new(0x0050_01BB, u32::MAX, 20)]),
        (
            "match ip6 dst 2001:db8::/48",
            vec![U32Key::new(0x2001_0DB8, u32::MAX, 24), U32Key::new(0, 0xFFFF_0000, 28)],
        ),
        ("match ip6 src ::/0", vec![]),
        ("match tcp dst 22 0xffff", vec![U32Key { offmask: -1, ..U32Key::new(22, 0xFFFF, 0) }]),
        (
            "match ether dst 0:1:2:3:4:5",
            vec![U32Key::new(0x0001, 0xFFFF, -16), U32Key::new(0x0203_0405, u32::MAX, -12)],
        ),
    ] {
        assert_eq!(read(text).keys, keys, "{text}");
    }
}

#[test]
fn a_table_of_its_own_is_no_table() {
    let wanted = read("match u32 0 0");
    let actual = |ht| U32 { ht: Some(ht), ..wanted.clone() };
    assert!(wanted.meets(&actual(0x8000_0000)) && wanted.meets(&actual(0x8010_0000)));
    assert!(!wanted.meets(&actual(0x8000_1000)), "another bucket");
    assert!(!wanted.meets(&actual(0x0020_0000)), "a table that has a name");
    assert!(!actual(0x8000_0000).meets(&actual(0x8010_0000)), "another table than was said");
    assert!(!wanted.meets(&read("match u32 0 0 at 4")) && !wanted.meets(&read("match u32 0 0 link 2:")));
}

#[test]
fn json_takes_the_selectors_of_tc() {
    let u32: U32 =
        serde_json::from_str(r#"{"match": ["ip src 10/8", "tcp dst 22 ffff"], "ht": "2:1a:"}"#).unwrap();
    assert_eq!(u32, read("match ip src 10/8 match tcp dst 22 ffff ht 2:1a:"));
    assert!(serde_json::from_str::<U32>(r#"{"matches": []}"#).is_err());
    assert!(serde_json::from_str::<U32>(r#"{"match": ["mark 1 1"]}"#).is_err());
}
