//! By the headers of the packet (tc-flower(8), `net/sched/cls_flower.c`).

mod values;

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Common, Numbers, Protocol, SkipFlags};
use crate::attribute::{each, put, text, u16_at, u32_at};
use crate::reply::Malformed;
use crate::validate::InvalidRequest;
use crate::words::{Syntax, Words, number};

pub use values::{CtState, IpPrefix, IpProto, MacMask, MaskedByte, Ports, TcpFlags};

/// `TCA_FLOWER_*` of `include/uapi/linux/pkt_cls.h`. A mask has the number after its value's, but for ports.
const CLASSID: u16 = 1;
const INDEV: u16 = 2;
const ACT: u16 = 3;
const ETH_DST: u16 = 4;
const ETH_SRC: u16 = 6;
const ETH_TYPE: u16 = 8;
const IP_PROTO: u16 = 9;
const IPV4_SRC: u16 = 10;
const IPV4_DST: u16 = 12;
const IPV6_SRC: u16 = 14;
const IPV6_DST: u16 = 16;
const FLAGS: u16 = 22;
const VLAN_ID: u16 = 23;
const VLAN_PRIO: u16 = 24;
const VLAN_ETH_TYPE: u16 = 25;
const ENC_KEY_ID: u16 = 26;
const ENC_IPV4_SRC: u16 = 27;
const ENC_IPV4_DST: u16 = 29;
const ENC_IPV6_SRC: u16 = 31;
const ENC_IPV6_DST: u16 = 33;
const ENC_DST_PORT: u16 = 45;
const TCP_FLAGS: u16 = 71;
const IP_TOS: u16 = 73;
const IP_TTL: u16 = 75;
const IN_HW_COUNT: u16 = 86;
const SRC_RANGE: u16 = 87;
const DST_RANGE: u16 = 89;
const CT_STATE: u16 = 91;

/// By protocol above IP: source and destination port, and the masks of both.
const PORTS: [(u8, [u16; 2], [u16; 2]); 3] =
    [(6, [18, 19], [35, 36]), (17, [20, 21], [37, 38]), (132, [41, 42], [39, 40])];

pub(super) const NUMBERS: Numbers = Numbers { classid: CLASSID, police: None, actions: ACT };

/// `tc filter … flower …`: packets whose headers are what is said. What is not said is not looked at; the protocol of the frame is
/// the filter's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flower {
    /// `indev`: the name of the device that the packet came in by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indev: Option<String>,
    /// `dst_mac`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_mac: Option<MacMask>,
    /// `src_mac`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_mac: Option<MacMask>,
    /// `vlan_id`: 0 to 4095; the filter's protocol must be `802.1q` or `802.1ad`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan_id: Option<u16>,
    /// `vlan_prio`: 0 to 7.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan_prio: Option<u8>,
    /// `vlan_ethtype`: the protocol within the VLAN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan_ethtype: Option<Protocol>,
    /// `ip_proto`: the protocol above IP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_proto: Option<IpProto>,
    /// `ip_tos`: type of service, or traffic class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_tos: Option<MaskedByte>,
    /// `ip_ttl`: time to live, or hop limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_ttl: Option<MaskedByte>,
    /// `src_ip`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_ip: Option<IpPrefix>,
    /// `dst_ip`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_ip: Option<IpPrefix>,
    /// `src_port`: of `tcp`, `udp` or `sctp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_port: Option<Ports>,
    /// `dst_port`: of `tcp`, `udp` or `sctp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<Ports>,
    /// `tcp_flags`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_flags: Option<TcpFlags>,
    /// `ct_state`: what connection tracking has found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ct_state: Option<CtState>,
    /// `enc_key_id`: the number of the tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enc_key_id: Option<u32>,
    /// `enc_src_ip`: of the tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enc_src_ip: Option<IpPrefix>,
    /// `enc_dst_ip`: of the tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enc_dst_ip: Option<IpPrefix>,
    /// `enc_dst_port`: of the tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enc_dst_port: Option<u16>,
    /// Whether the hardware, and whether the kernel, is to be left out.
    #[serde(skip_serializing_if = "crate::text::is_default")]
    pub skip: SkipFlags,
}

/// Two attributes in a row, a value and its mask.
fn put_masked(buffer: &mut Vec<u8>, number: u16, value: &[u8], mask: &[u8]) {
    put(buffer, number, value);
    put(buffer, number + 1, mask);
}

fn put_prefix(buffer: &mut Vec<u8>, numbers: [u16; 2], prefix: IpPrefix) {
    let (address, mask) = prefix.bytes();
    let number = numbers[usize::from(prefix.address.is_ipv6())];
    put_masked(buffer, number, &address, &mask);
}

impl Flower {
    /// The places of the addresses, with the attributes of both versions.
    fn prefixes(&self) -> [([u16; 2], Option<IpPrefix>); 4] {
        [
            ([IPV4_SRC, IPV6_SRC], self.src_ip),
            ([IPV4_DST, IPV6_DST], self.dst_ip),
            ([ENC_IPV4_SRC, ENC_IPV6_SRC], self.enc_src_ip),
            ([ENC_IPV4_DST, ENC_IPV6_DST], self.enc_dst_ip),
        ]
    }

    pub(super) fn encode(&self, protocol: Protocol, buffer: &mut Vec<u8>) {
        if let Some(indev) = &self.indev {
            put(buffer, INDEV, &[indev.as_bytes(), &[0]].concat());
        }
        for (number, mac) in [(ETH_DST, self.dst_mac), (ETH_SRC, self.src_mac)] {
            if let Some(MacMask { address, mask }) = mac {
                put_masked(buffer, number, &address, &mask);
            }
        }
        if let Some(id) = self.vlan_id {
            put(buffer, VLAN_ID, &id.to_ne_bytes());
        }
        if let Some(prio) = self.vlan_prio {
            put(buffer, VLAN_PRIO, &[prio]);
        }
        if let Some(protocol) = self.vlan_ethtype {
            put(buffer, VLAN_ETH_TYPE, &protocol.number().to_be_bytes());
        }
        if let Some(IpProto(proto)) = self.ip_proto {
            put(buffer, IP_PROTO, &[proto]);
        }
        for (number, byte) in [(IP_TOS, self.ip_tos), (IP_TTL, self.ip_ttl)] {
            if let Some(MaskedByte { value, mask }) = byte {
                put_masked(buffer, number, &[value], &[mask]);
            }
        }
        for (numbers, prefix) in self.prefixes() {
            if let Some(prefix) = prefix {
                put_prefix(buffer, numbers, prefix);
            }
        }
        self.encode_ports(buffer);
        if let Some(TcpFlags { value, mask }) = self.tcp_flags {
            put_masked(buffer, TCP_FLAGS, &value.to_be_bytes(), &mask.to_be_bytes());
        }
        if let Some(CtState { set, mask }) = self.ct_state {
            put_masked(buffer, CT_STATE, &set.to_ne_bytes(), &mask.to_ne_bytes());
        }
        if let Some(id) = self.enc_key_id {
            put(buffer, ENC_KEY_ID, &id.to_be_bytes());
        }
        if let Some(port) = self.enc_dst_port {
            put(buffer, ENC_DST_PORT, &port.to_be_bytes());
        }
        self.skip.encode_always(FLAGS, buffer);
        if protocol != Protocol::ALL {
            put(buffer, ETH_TYPE, &protocol.number().to_be_bytes());
        }
    }

    /// Without a protocol that has ports they have no attribute; validation refuses that.
    fn encode_ports(&self, buffer: &mut Vec<u8>) {
        let proto = self.ip_proto.map_or(0, |IpProto(proto)| proto);
        let Some((_, values, masks)) = PORTS.iter().find(|(known, ..)| *known == proto) else { return };
        for (place, (range, ports)) in
            [(SRC_RANGE, self.src_port), (DST_RANGE, self.dst_port)].into_iter().enumerate()
        {
            match ports {
                None => {}
                Some(Ports::Range(first, last)) => {
                    put_masked(buffer, range, &first.to_be_bytes(), &last.to_be_bytes());
                }
                Some(Ports::Masked { port, mask }) => {
                    put(buffer, values[place], &port.to_be_bytes());
                    if mask != u16::MAX {
                        put(buffer, masks[place], &mask.to_be_bytes());
                    }
                }
            }
        }
    }

    /// `None`: it looks at something that cannot be said here, such as ARP or MPLS.
    pub(super) fn decode(options: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut keys = std::collections::BTreeMap::new();
        for attribute in each(options) {
            let (number, value) = attribute?;
            keys.insert(number, value);
        }
        for known in [CLASSID, ACT, ETH_TYPE, IN_HW_COUNT] {
            keys.remove(&known);
        }
        let mut flower = Self {
            indev: keys.remove(&INDEV).map(text),
            vlan_id: keys.remove(&VLAN_ID).and_then(|value| u16_at(value, 0)),
            vlan_prio: keys.remove(&VLAN_PRIO).and_then(|value| value.first().copied()),
            vlan_ethtype: keys.remove(&VLAN_ETH_TYPE).and_then(big).map(Protocol::from_number),
            ip_proto: keys.remove(&IP_PROTO).and_then(|value| value.first().copied()).map(IpProto),
            enc_key_id: keys.remove(&ENC_KEY_ID).and_then(|value| u32_at(value, 0)).map(u32::from_be),
            enc_dst_port: keys.remove(&ENC_DST_PORT).and_then(big),
            ..Self::default()
        };
        if let Some(bits) = keys.remove(&FLAGS).and_then(|value| u32_at(value, 0)) {
            flower.skip = SkipFlags::from_bits(bits);
        }
        // That of a tunnel's port, which the kernel reports, is all ones.
        if keys.remove(&(ENC_DST_PORT + 1)).and_then(big).is_some_and(|mask| mask != u16::MAX) {
            return Ok(None);
        }
        let mut masked = |number: u16| {
            let value = keys.remove(&number)?;
            Some((value, keys.remove(&(number + 1)).unwrap_or(&[u8::MAX; 16])))
        };
        let mac = |(value, mask): (&[u8], &[u8])| {
            Some(MacMask { address: *value.first_chunk()?, mask: *mask.first_chunk()? })
        };
        let byte =
            |(value, mask): (&[u8], &[u8])| Some(MaskedByte { value: *value.first()?, mask: *mask.first()? });
        let halves = |(value, mask): (&[u8], &[u8])| Some((big(value)?, big(mask)?));
        flower.dst_mac = masked(ETH_DST).and_then(mac);
        flower.src_mac = masked(ETH_SRC).and_then(mac);
        flower.ip_tos = masked(IP_TOS).and_then(byte);
        flower.ip_ttl = masked(IP_TTL).and_then(byte);
        flower.tcp_flags = masked(TCP_FLAGS).and_then(halves).map(|(value, mask)| TcpFlags { value, mask });
        flower.ct_state = masked(CT_STATE)
            .and_then(|(set, mask)| Some(CtState { set: u16_at(set, 0)?, mask: u16_at(mask, 0)? }));
        let range = |(first, last)| Ports::Range(first, last);
        flower.src_port = masked(SRC_RANGE).and_then(halves).map(range);
        flower.dst_port = masked(DST_RANGE).and_then(halves).map(range);
        let mut strange = false;
        let places = [&mut flower.src_ip, &mut flower.dst_ip, &mut flower.enc_src_ip, &mut flower.enc_dst_ip];
        for (place, (numbers, _)) in places.into_iter().zip(Self::default().prefixes()) {
            for number in numbers {
                if let Some((address, mask)) = masked(number) {
                    let mask = mask.get(..address.len()).unwrap_or(mask);
                    *place = IpPrefix::from_bytes(address, mask);
                    strange |= place.is_none();
                }
            }
        }
        for (_, values, masks) in PORTS {
            for (place, (value, mask)) in
                [&mut flower.src_port, &mut flower.dst_port].into_iter().zip(values.into_iter().zip(masks))
            {
                let mask = keys.remove(&mask).and_then(big).unwrap_or(u16::MAX);
                if let Some(port) = keys.remove(&value).and_then(big) {
                    *place = Some(Ports::Masked { port, mask });
                }
            }
        }
        Ok(Some(flower).filter(|_| !strange && keys.is_empty()))
    }

    /// What has a mask of nothing is not looked at; the kernel does not report it.
    fn looked_at(mut self) -> Self {
        self.dst_mac = self.dst_mac.filter(|mac| mac.mask != [0; 6]);
        self.src_mac = self.src_mac.filter(|mac| mac.mask != [0; 6]);
        self.ip_tos = self.ip_tos.filter(|byte| byte.mask != 0);
        self.ip_ttl = self.ip_ttl.filter(|byte| byte.mask != 0);
        self.tcp_flags = self.tcp_flags.filter(|flags| flags.mask != 0);
        for prefix in [&mut self.src_ip, &mut self.dst_ip, &mut self.enc_src_ip, &mut self.enc_dst_ip] {
            *prefix = prefix.filter(|prefix| prefix.bits != 0);
        }
        for ports in [&mut self.src_port, &mut self.dst_port] {
            *ports = ports.filter(|ports| !matches!(ports, Ports::Masked { mask: 0, .. }));
        }
        self
    }

    pub(super) fn meets(&self, actual: &Self) -> bool {
        self.clone().looked_at() == actual.clone().looked_at()
    }

    /// What the kernel would leave out in silence, and what `tc` refuses.
    pub(super) fn validate(&self, protocol: Protocol) -> Result<(), InvalidRequest> {
        let refuse = |setting, allowed| Err(InvalidRequest::Setting { kind: "flower", setting, allowed });
        let vlan = [0x8100, 0x88A8].contains(&protocol.number());
        if !vlan && (self.vlan_id.is_some() || self.vlan_prio.is_some() || self.vlan_ethtype.is_some()) {
            return refuse("vlan_id, vlan_prio and vlan_ethtype", "said with protocol 802.1q or 802.1ad");
        }
        if self.vlan_id.is_some_and(|id| id > 0xFFF) || self.vlan_prio.is_some_and(|prio| prio > 7) {
            return refuse("vlan_id and vlan_prio", "at most 4095 and 7");
        }
        let inner = self.vlan_ethtype.unwrap_or(protocol);
        if self.ip_proto.is_some() && ![Protocol::IP, Protocol::IPV6].contains(&inner) {
            return refuse("ip_proto", "said with protocol ip or ipv6");
        }
        let of = |prefix: Option<IpPrefix>, version: fn(&IpAddr) -> bool| {
            prefix.is_some_and(|prefix| version(&prefix.address))
        };
        let any = |version| of(self.src_ip, version) || of(self.dst_ip, version);
        if any(IpAddr::is_ipv4) && inner != Protocol::IP || any(IpAddr::is_ipv6) && inner != Protocol::IPV6 {
            return refuse("src_ip and dst_ip", "of the filter's protocol, ip or ipv6");
        }
        let proto = self.ip_proto.map_or(0, |IpProto(proto)| proto);
        let ported = PORTS.iter().any(|(known, ..)| *known == proto);
        if !ported && (self.src_port.is_some() || self.dst_port.is_some()) {
            return refuse("src_port and dst_port", "said with ip_proto tcp, udp or sctp");
        }
        if self.tcp_flags.is_some() && proto != 6 {
            return refuse("tcp_flags", "said with ip_proto tcp");
        }
        if self.indev.as_ref().is_some_and(|name| !(1..=15).contains(&name.len())) {
            return refuse("indev", "a device name of 1 to 15 bytes");
        }
        self.skip.validate("flower")
    }

    /// Reads what follows the kind.
    pub(super) fn parse(
        handle: Option<&str>,
        words: &mut Words,
        common: &mut Common,
    ) -> Result<(u32, Self), Syntax> {
        let mut flower = Self::default();
        while let Some(word) = words.next() {
            match word {
                "indev" => flower.indev = Some(words.value(word)?.to_owned()),
                "dst_mac" => flower.dst_mac = Some(words.parse(word)?),
                "src_mac" => flower.src_mac = Some(words.parse(word)?),
                "vlan_id" => flower.vlan_id = Some(words.number(word)?),
                "vlan_prio" => flower.vlan_prio = Some(words.number(word)?),
                "vlan_ethtype" => flower.vlan_ethtype = Some(words.parse(word)?),
                "ip_proto" => flower.ip_proto = Some(words.parse(word)?),
                "ip_tos" => flower.ip_tos = Some(words.parse(word)?),
                "ip_ttl" => flower.ip_ttl = Some(words.parse(word)?),
                "src_ip" => flower.src_ip = Some(words.parse(word)?),
                "dst_ip" => flower.dst_ip = Some(words.parse(word)?),
                "src_port" => flower.src_port = Some(words.parse(word)?),
                "dst_port" => flower.dst_port = Some(words.parse(word)?),
                "tcp_flags" => flower.tcp_flags = Some(words.parse(word)?),
                "ct_state" => flower.ct_state = Some(words.parse(word)?),
                "enc_key_id" => flower.enc_key_id = Some(words.number(word)?),
                "enc_src_ip" => flower.enc_src_ip = Some(words.parse(word)?),
                "enc_dst_ip" => flower.enc_dst_ip = Some(words.parse(word)?),
                "enc_dst_port" => flower.enc_dst_port = Some(words.number(word)?),
                "hw_tc" => {
                    let tc: u16 = words.number(word)?;
                    if tc >= TRAFFIC_CLASSES {
                        return Err(Syntax::new("hw_tc: not below 16"));
                    }
                    common.minor_of_parent = Some(FIRST_TRAFFIC_CLASS + tc);
                }
                "skip_hw" => flower.skip.skip_hw = true,
                "skip_sw" => flower.skip.skip_sw = true,
                _ if common.take(word, words)? => {}
                other => return Err(Syntax::unknown("flower", other)),
            }
        }
        Ok((handle.map_or(Ok(0), number)?, flower))
    }
}

/// `TC_QOPT_MAX_QUEUE` and `TC_H_MIN_PRIORITY`: a traffic class of the hardware in the form of a class.
const TRAFFIC_CLASSES: u16 = 16;
const FIRST_TRAFFIC_CLASS: u16 = 0xFFE0;

fn big(value: &[u8]) -> Option<u16> {
    u16_at(value, 0).map(u16::from_be)
}

fn shown<T: fmt::Display>(value: Option<&T>) -> Option<&dyn fmt::Display> {
    value.map(|value| value as &dyn fmt::Display)
}

impl fmt::Display for Flower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut write = |word: &str, value: Option<&dyn fmt::Display>| match value {
            Some(value) => write!(f, " {word} {value}"),
            None => Ok(()),
        };
        write("indev", shown(self.indev.as_ref()))?;
        write("dst_mac", shown(self.dst_mac.as_ref()))?;
        write("src_mac", shown(self.src_mac.as_ref()))?;
        write("vlan_id", shown(self.vlan_id.as_ref()))?;
        write("vlan_prio", shown(self.vlan_prio.as_ref()))?;
        // In front of what tc only takes with the right protocol.
        write("vlan_ethtype", shown(self.vlan_ethtype.as_ref()))?;
        write("ip_proto", shown(self.ip_proto.as_ref()))?;
        write("ip_tos", shown(self.ip_tos.as_ref()))?;
        write("ip_ttl", shown(self.ip_ttl.as_ref()))?;
        write("src_ip", shown(self.src_ip.as_ref()))?;
        write("dst_ip", shown(self.dst_ip.as_ref()))?;
        write("src_port", shown(self.src_port.as_ref()))?;
        write("dst_port", shown(self.dst_port.as_ref()))?;
        write("tcp_flags", shown(self.tcp_flags.as_ref()))?;
        write("ct_state", shown(self.ct_state.as_ref()))?;
        write("enc_key_id", shown(self.enc_key_id.as_ref()))?;
        write("enc_src_ip", shown(self.enc_src_ip.as_ref()))?;
        write("enc_dst_ip", shown(self.enc_dst_ip.as_ref()))?;
        write("enc_dst_port", shown(self.enc_dst_port.as_ref()))?;
        self.skip.fmt(f)
    }
}

#[cfg(test)]
pub(super) mod tests;
