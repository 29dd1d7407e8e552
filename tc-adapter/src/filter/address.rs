//! Addresses with prefixes, as `tc` reads them (`lib/utils.c`, `get_prefix_1`).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::words::{Syntax, number};

/// `any`, or an address with or without `/<bits>` or `/<mask>`. IPv4 addresses may be short: `10/8`.
pub(super) fn ipv4(text: &str) -> Result<(Ipv4Addr, u8), Syntax> {
    let parse = || {
        if is_any(text) {
            return Some((Ipv4Addr::UNSPECIFIED, 0));
        }
        let (address, bits) = split(text);
        let mut octets = [0; 4];
        let parts: Vec<&str> = address.split('.').collect();
        for (index, part) in parts.into_iter().enumerate() {
            *octets.get_mut(index)? = number(part).ok()?;
        }
        let bits = match bits {
            None => 32,
            Some(bits) => number(bits).ok().or_else(|| mask_bits(bits))?,
        };
        (bits <= 32).then_some((Ipv4Addr::from(octets), bits))
    };
    parse().ok_or_else(|| Syntax::new(format!("{text:?} is not an IPv4 address with or without /bits")))
}

/// `any`, or an address with or without `/<bits>`.
pub(super) fn ipv6(text: &str) -> Result<(Ipv6Addr, u8), Syntax> {
    let parse = || {
        if is_any(text) {
            return Some((Ipv6Addr::UNSPECIFIED, 0));
        }
        let (address, bits) = split(text);
        let bits = bits.map_or(Some(128), |bits| number(bits).ok())?;
        (bits <= 128).then_some((address.parse().ok()?, bits))
    };
    parse().ok_or_else(|| Syntax::new(format!("{text:?} is not an IPv6 address with or without /bits")))
}

/// Six bytes of one or two hexadecimal digits.
pub(super) fn ethernet(text: &str) -> Result<[u8; 6], Syntax> {
    let parse = || {
        let mut address = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut address {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
            part.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(address)
    };
    parse().ok_or_else(|| Syntax::new(format!("{text:?} is not an Ethernet address")))
}

/// The upper `bits` bits of 32.
pub(super) const fn mask(bits: u8) -> u32 {
    if bits == 0 { 0 } else { u32::MAX << (32 - if bits > 32 { 32 } else { bits }) }
}

fn is_any(text: &str) -> bool {
    matches!(text, "any" | "all" | "default")
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)))
}

/// The length of the prefix of which this is the mask, such as `255.255.0.0`.
fn mask_bits(text: &str) -> Option<u8> {
    let bits = u32::from(text.parse::<Ipv4Addr>().ok()?);
    let ones = u8::try_from(bits.leading_ones()).ok()?;
    (mask(ones) == bits).then_some(ones)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_tc_takes() {
        for (text, address, bits) in [
            ("10.1.2.3", [10, 1, 2, 3], 32),
            ("10/8", [10, 0, 0, 0], 8),
            ("192.168/255.255.0.0", [192, 168, 0, 0], 16),
            ("any", [0; 4], 0),
            ("1.2.3.4/0", [1, 2, 3, 4], 0),
        ] {
            assert_eq!(ipv4(text), Ok((Ipv4Addr::from(address), bits)), "{text}");
        }
        assert_eq!(ipv6("2001:db8::/32"), Ok((Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 0), 32)));
        assert_eq!(ethernet("0:1:2:a:b:ff"), Ok([0, 1, 2, 10, 11, 255]));
        for text in ["", "10/33", "1.2.3.4.5", "256", "10/255.0.255.0", "::1", "10.", "-1"] {
            assert!(ipv4(text).is_err(), "{text:?}");
        }
        for text in ["", "::/129", "10.1.1.1", "::1/x"] {
            assert!(ipv6(text).is_err(), "{text:?}");
        }
        for text in ["", "1:2:3:4:5", "1:2:3:4:5:6:7", "1:2:3:4:5:100", "1:2:3:4:5:+6"] {
            assert!(ethernet(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f.:/x]{0,20}") {
            let _ = (ipv4(&text), ipv6(&text), ethernet(&text));
        }
    }
}
