//! Netlink attributes: written into a growing buffer, read from bytes that may be anything.

use crate::reply::Malformed;

/// Bytes of a `struct nlattr`.
pub(crate) const NLA_HEADER_SIZE: usize = 4;
/// Without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
const KIND_MASK: u16 = 0x3fff;

/// Appends one attribute. Values of this crate are far below the 64 KiB that the length field can say.
pub(crate) fn put(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    nest(buffer, kind, |buffer| buffer.extend_from_slice(value));
}

/// Appends an attribute whose value is what `fill` appends. Without `NLA_F_NESTED`, as `tc` sends `TCA_OPTIONS`
/// (the kernel parses it either way).
pub(crate) fn nest(buffer: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; NLA_HEADER_SIZE]);
    fill(buffer);
    let length = u16::try_from(buffer.len() - start).unwrap_or(u16::MAX);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
    buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    buffer[start + 2..start + NLA_HEADER_SIZE].copy_from_slice(&kind.to_ne_bytes());
}

/// The attributes in `bytes` as (kind without flags, value), until one has a length that cannot be.
pub(crate) fn each(bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let attribute = first(rest);
        rest = match &attribute {
            // The last one needs no padding.
            Some((_, value)) => {
                rest.get((NLA_HEADER_SIZE + value.len()).next_multiple_of(4)..).unwrap_or_default()
            }
            None => &[],
        };
        Some(attribute.ok_or(Malformed("an attribute's length exceeds its message")))
    })
}

/// `struct nlattr`: length with this header, type with two flags, value.
fn first(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let length = usize::from(u16_at(bytes, 0)?);
    let kind = u16_at(bytes, 2)? & KIND_MASK;
    Some((kind, bytes.get(NLA_HEADER_SIZE..length)?))
}

/// The 32-bit number at `offset`, in the host's byte order as all of rtnetlink.
pub(crate) fn u32_at(value: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*value.get(offset..)?.first_chunk()?))
}

/// The 64-bit number at `offset`.
pub(crate) fn u64_at(value: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*value.get(offset..)?.first_chunk()?))
}

/// The 16-bit number at `offset`.
pub(crate) fn u16_at(value: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*value.get(offset..)?.first_chunk()?))
}

/// A string attribute, up to its NUL; bytes that are not UTF-8 are replaced.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nested_attributes_are_padded_to_four() {
        let mut buffer = Vec::new();
        nest(&mut buffer, 2, |buffer| put(buffer, 1, b"htb\0x"));
        let expected = [[16_u16, 2], [9, 1]].map(|header| header.map(u16::to_ne_bytes).concat());
        assert_eq!(buffer, [expected.concat().as_slice(), b"htb\0x\0\0\0"].concat());
    }

    #[test]
    fn the_last_attribute_needs_no_padding() {
        let bytes = [5_u16.to_ne_bytes(), 7_u16.to_ne_bytes()].concat();
        let read: Vec<_> = each(&[bytes.as_slice(), &[42]].concat())
            .map(|item| item.map(|(kind, value)| (kind, value.to_vec())))
            .collect();
        assert_eq!(read, [Ok((7, vec![42]))]);
    }

    proptest! {
        #[test]
        fn reads_what_was_written(list in prop::collection::vec((0_u16..0x4000, prop::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let mut buffer = Vec::new();
            for (kind, value) in &list {
                put(&mut buffer, *kind, value);
            }
            let read: Result<Vec<_>, _> = each(&buffer).map(|item| item.map(|(kind, value)| (kind, value.to_vec()))).collect();
            prop_assert_eq!(read, Ok(list));
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            each(&bytes).for_each(drop);
        }
    }
}
