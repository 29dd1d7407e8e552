//! Any filter of flower, and what makes no sense to it.

use super::*;
use proptest::prelude::*;

pub(in crate::filter) fn anything() -> impl Strategy<Value = Flower> {
    let mac = || {
        prop::option::of(
            (any::<[u8; 6]>(), any::<[u8; 6]>()).prop_map(|(address, mask)| MacMask { address, mask }),
        )
    };
    let byte =
        || prop::option::of((any::<u8>(), any::<u8>()).prop_map(|(value, mask)| MaskedByte { value, mask }));
    let prefix = || {
        prop::option::of(prop_oneof![
            (any::<[u8; 4]>(), 0_u8..=32)
                .prop_map(|(address, bits)| IpPrefix { address: address.into(), bits }),
            (any::<[u8; 16]>(), 0_u8..=128)
                .prop_map(|(address, bits)| IpPrefix { address: address.into(), bits }),
        ])
    };
    let ports = || {
        prop::option::of(prop_oneof![
            (any::<u16>(), any::<u16>()).prop_map(|(port, mask)| Ports::Masked { port, mask }),
            (1_u16..1000, 1000_u16..).prop_map(|(first, last)| Ports::Range(first, last)),
        ])
    };
    let proto = prop::sample::select(&[6_u8, 17, 132]);
    let vlan = (any::<Option<u16>>(), any::<Option<u8>>(), any::<Option<u16>>());
    let tcp_flags = prop::option::of((0_u16..0x1000, 0_u16..0x1000));
    let ct_state = prop::option::of((any::<u16>(), 1_u16..64));
    let enc = (any::<Option<u32>>(), prefix(), prefix(), any::<Option<u16>>());
    let link = (prop::option::of("[a-z]{1,15}"), mac(), mac(), vlan, any::<bool>());
    let ip = (proto, byte(), byte(), prefix(), prefix(), ports(), ports(), tcp_flags, ct_state);
    (link, ip, enc).prop_map(|(link, ip, enc)| {
        let (indev, dst_mac, src_mac, (vlan_id, vlan_prio, vlan_ethtype), skip_hw) = link;
        let (proto, ip_tos, ip_ttl, src_ip, dst_ip, src_port, dst_port, tcp_flags, ct_state) = ip;
        let (enc_key_id, enc_src_ip, enc_dst_ip, enc_dst_port) = enc;
        Flower {
            indev,
            dst_mac,
            src_mac,
            vlan_id,
            vlan_prio,
            vlan_ethtype: vlan_ethtype.map(Protocol::from_number),
            ip_proto: Some(IpProto(proto)),
            ip_tos,
            ip_ttl,
            src_ip,
            dst_ip,
            src_port,
            dst_port,
            tcp_flags: tcp_flags.map(|(value, mask)| TcpFlags { value, mask }),
            ct_state: ct_state.map(|(set, mask)| CtState { set: set & mask, mask }),
            enc_key_id,
            enc_src_ip,
            enc_dst_ip,
            enc_dst_port,
            skip: SkipFlags { skip_hw, skip_sw: false },
        }
    })
}

#[test]
fn what_cannot_be_said_is_not_half_said() {
    let mut options = Vec::new();
    put(&mut options, 61, &[1]); // TCA_FLOWER_KEY_ARP_OP
    assert_eq!(Flower::decode(&options), Ok(None));
    options.clear();
    put_masked(&mut options, IPV4_SRC, &[10, 0, 0, 1], &[255, 0, 0, 255]);
    assert_eq!(Flower::decode(&options), Ok(None));
}

#[test]
fn what_the_kernel_would_leave_out_is_refused() {
    let flower = |text: &str| -> Flower {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Flower::parse(None, &mut Words::new(&words), &mut Common::default()).unwrap().1
    };
    for (text, protocol) in [
        ("dst_port 80", Protocol::IP),
        ("ip_proto icmp dst_port 80", Protocol::IP),
        ("ip_proto tcp", Protocol::ALL),
        ("src_ip ::1", Protocol::IP),
        ("vlan_id 5", Protocol::IP),
        ("ip_proto udp tcp_flags 2", Protocol::IP),
    ] {
        assert!(flower(text).validate(protocol).is_err(), "{text}");
    }
    assert_eq!(flower("ip_proto tcp dst_port 80 src_ip 10/8").validate(Protocol::IP), Ok(()));
    assert!(flower("src_ip 0/0 ip_tos 5/0").meets(&Flower::default()));
}
