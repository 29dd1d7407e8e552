//! What flower compares: values with masks, as `tc` writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::filter::address;
use crate::text::serde_as_text;
use crate::words::{Syntax, hexadecimal, number};

/// An address and how many of its bits are compared: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpPrefix {
    /// The address.
    pub address: IpAddr,
    /// How many of its bits, from the front on.
    pub bits: u8,
}

impl IpPrefix {
    /// The bytes of the address and of the mask.
    pub(super) fn bytes(self) -> (Vec<u8>, Vec<u8>) {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0).to_be_bytes();
        match self.address {
            IpAddr::V4(address) => (address.octets().to_vec(), mask[..4].to_vec()),
            IpAddr::V6(address) => (address.octets().to_vec(), mask.to_vec()),
        }
    }

    /// `None`: not an address, or a mask that is no prefix.
    pub(super) fn from_bytes(address: &[u8], mask: &[u8]) -> Option<Self> {
        let address = match address.len() {
            4 => IpAddr::V4(Ipv4Addr::from(*address.first_chunk::<4>()?)),
            16 => IpAddr::V6(Ipv6Addr::from(*address.first_chunk::<16>()?)),
            _ => return None,
        };
        let ones = mask.iter().take_while(|byte| **byte == u8::MAX).count();
        let last = mask.get(ones).copied().unwrap_or(0);
        let bits = u8::try_from(ones * 8).ok()? + u8::try_from(last.leading_ones()).ok()?;
        let prefix = Self { address, bits };
        (prefix.bytes().1 == mask).then_some(prefix)
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

serde_as_text!(IpPrefix, IpPrefix::to_string);

impl FromStr for IpPrefix {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Syntax> {
        if text.contains(':') {
            address::ipv6(text).map(|(address, bits)| Self { address: address.into(), bits })
        } else {
            address::ipv4(text).map(|(address, bits)| Self { address: address.into(), bits })
        }
    }
}

/// An Ethernet address and which of its bits are compared: `02:00:00:00:00:01`, `…/24`, or the mask as an address, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacMask {
    /// The address.
    pub address: [u8; 6],
    /// Which bits.
    pub mask: [u8; 6],
}

impl fmt::Display for MacMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_mac(self.address, f)?;
        if self.mask == [u8::MAX; 6] {
            return Ok(());
        }
        f.write_str("/")?;
        write_mac(self.mask, f)
    }
}

fn write_mac(address: [u8; 6], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, byte) in address.iter().enumerate() {
        write!(f, "{}{byte:02x}", if index == 0 { "" } else { ":" })?;
    }
    Ok(())
}

serde_as_text!(MacMask, MacMask::to_string);

impl FromStr for MacMask {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Syntax> {
        let Some((address, mask)) = text.split_once('/') else {
            return Ok(Self { address: address::ethernet(text)?, mask: [u8::MAX; 6] });
        };
        let address = address::ethernet(address)?;
        if mask.contains(':') {
            return Ok(Self { address, mask: address::ethernet(mask)? });
        }
        let bits: u32 = number(mask)?;
        if !(1..=48).contains(&bits) {
            return Err(Syntax::new(format!("{text:?}: the mask must have 1 to 48 bits")));
        }
        let bytes = (u64::MAX << (64 - bits)).to_be_bytes();
        let mut mask = [0; 6];
        mask.copy_from_slice(&bytes[..6]);
        Ok(Self { address, mask })
    }
}

/// A byte of the IP header and which of its bits are compared: `0x10`, `0x10/0xfc`. As in `tc` the value may be decimal, the mask is
/// hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaskedByte {
    /// The value.
    pub value: u8,
    /// Which bits.
    pub mask: u8,
}

impl fmt::Display for MaskedByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        if self.mask == u8::MAX { Ok(()) } else { write!(f, "/{:#x}", self.mask) }
    }
}

serde_as_text!(MaskedByte, MaskedByte::to_string);

impl FromStr for MaskedByte {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Syntax> {
        let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
        let decimal = value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok()).flatten();
        let value = decimal.map_or_else(|| hexadecimal(value), Ok)?;
        Ok(Self { value, mask: mask.map_or(Ok(u8::MAX), hexadecimal)? })
    }
}

/// Flags of a TCP header and which of them are compared, 12 bits each: `0x2/0x17`; hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpFlags {
    /// The flags.
    pub value: u16,
    /// Which.
    pub mask: u16,
}

/// `TCP_FLAGS_MAX_MASK` of `tc/f_flower.c`.
const TCP_FLAGS_MASK: u16 = 0xFFF;

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        if self.mask == TCP_FLAGS_MASK { Ok(()) } else { write!(f, "/{:#x}", self.mask) }
    }
}

serde_as_text!(TcpFlags, TcpFlags::to_string);

impl FromStr for TcpFlags {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Syntax> {
        let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
        let flags = Self { value: hexadecimal(value)?, mask: mask.map_or(Ok(TCP_FLAGS_MASK), hexadecimal)? };
        if flags.value > TCP_FLAGS_MASK || flags.mask > TCP_FLAGS_MASK {
            return Err(Syntax::new(format!("tcp_flags: {text:?} exceeds fff")));
        }
        Ok(flags)
    }
}

/// Which ports: `80`, `80/0xfff0`, `8000-8080`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// Those that are equal in the bits of the mask.
    Masked {
        /// The port.
        port: u16,
        /// Which bits; all ones: this one.
        mask: u16,
    },
    /// Those from the first to the second, which must be the larger one.
    Range(u16, u16),
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masked { port, mask: u16::MAX } => write!(f, "{port}"),
            Self::Masked { port, mask } => write!(f, "{port}/{mask:#x}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
        }
    }
}

serde_as_text!(Ports, Ports::to_string);

impl FromStr for Ports {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Syntax> {
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (decimal(first)?, decimal(last)?);
            return if 0 < first && first < last {
                Ok(Self::Range(first, last))
            } else {
                Err(Syntax::new(format!(
                    "{text:?}: the second port must be larger than the first, which is not 0"
                )))
            };
        }
        match text.split_once('/') {
            Some((port, mask)) => Ok(Self::Masked { port: number(port)?, mask: number(mask)? }),
            None => Ok(Self::Masked { port: decimal(text)?, mask: u16::MAX }),
        }
    }
}

fn decimal(text: &str) -> Result<u16, Syntax> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    plain.ok_or_else(|| Syntax::new(format!("{text:?} is not a port")))
}

/// The protocol above IP: `tcp`, `udp`, `sctp`, `icmp`, `icmpv6` or a hexadecimal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpProto(pub u8);

const IP_PROTOS: [(&str, u8); 5] = [("tcp", 6), ("udp", 17), ("sctp", 132), ("icmp", 1), ("icmpv6", 58)];

impl fmt::Display for IpProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match IP_PROTOS.iter().find(|(_, proto)| *proto == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

serde_as_text!(IpProto, IpProto::to_string);

impl FromStr for IpProto {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Syntax> {
        match IP_PROTOS.iter().find(|(name, _)| *name == text) {
            Some((_, proto)) => Ok(Self(*proto)),
            None => hexadecimal(text).map(Self),
        }
    }
}

/// What connection tracking says of a packet: `+trk+est-new`, each flag wanted or unwanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CtState {
    /// `TCA_FLOWER_KEY_CT_FLAGS_*`: the flags that must be set.
    pub set: u16,
    /// The flags that are compared.
    pub mask: u16,
}

const CT_FLAGS: [(&str, u16); 6] =
    [("trk", 1 << 3), ("new", 1 << 0), ("est", 1 << 1), ("rel", 1 << 2), ("inv", 1 << 4), ("rpl", 1 << 5)];

impl fmt::Display for CtState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, flag) in CT_FLAGS.into_iter().filter(|(_, flag)| self.mask & flag != 0) {
            write!(f, "{}{name}", if self.set & flag == 0 { '-' } else { '+' })?;
        }
        Ok(())
    }
}

serde_as_text!(CtState, CtState::to_string);

impl FromStr for CtState {
    type Err = Syntax;

    fn from_str(text: &str) -> Result<Self, Syntax> {
        let unknown = || Syntax::unknown("ct_state", text);
        let (mut state, mut rest) = (Self::default(), text);
        while !rest.is_empty() {
            let (sign, name) = rest.split_at_checked(1).ok_or_else(unknown)?;
            let (name, after) = name.split_at_checked(3).ok_or_else(unknown)?;
            let (_, flag) = CT_FLAGS.iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
            match sign {
                "+" => state.set |= flag,
                "-" => {}
                _ => return Err(unknown()),
            }
            state.mask |= flag;
            rest = after;
        }
        if state.mask == 0 { Err(unknown()) } else { Ok(state) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9a-fx:./ct]{0,20}") {
            let _ = (text.parse::<IpPrefix>(), text.parse::<MacMask>(), text.parse::<MaskedByte>(), text.parse::<TcpFlags>());
            let _ = (text.parse::<Ports>(), text.parse::<IpProto>(), text.parse::<CtState>());
        }
    }

    #[test]
    fn what_tc_takes() {
        assert_eq!("2:0:0:0:0:1/24".parse::<MacMask>().unwrap().mask, [255, 255, 255, 0, 0, 0]);
        assert_eq!("+trk-new".parse(), Ok(CtState { set: 8, mask: 9 }));
        assert_eq!("10".parse(), Ok(MaskedByte { value: 10, mask: 255 }));
        assert_eq!("b8/fc".parse(), Ok(MaskedByte { value: 0xB8, mask: 0xFC }));
        assert!("80-80".parse::<Ports>().is_err() && "1000/fff".parse::<TcpFlags>().is_err());
    }
}
