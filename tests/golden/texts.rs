//! `tc` commands read by the adapter's own reader, and the message it makes of each next to that of the real `tc`.
//!
//! Most kinds are unknown to the kernel on which this runs: `tc` sends its message all the same, and here only the bytes count.

use std::collections::BTreeMap;

use libtest_mimic::{Failed, Trial};
use netlink_packet_core::NlasIterator;
use support::{Need, trial_with, veth};
use tc_adapter::Device;
use tc_adapter::command::Command;

use crate::capture::tc_message_refused_or_not;

const NEEDS: &[Need] = &[Need::Root, Need::Program("ip"), Need::Program("tc"), Need::Strace];

const COMMANDS: &[&str] = &[
    "qdisc add dev gold0 root handle 1: pfifo limit 100",
    "qdisc replace dev gold0 root handle 1: bfifo limit 15k",
    "qdisc change dev gold0 root handle 1: pfifo",
    "qdisc add dev gold0 root tbf rate 0.5mbit burst 5kb latency 70ms",
    "qdisc add dev gold0 root handle 1: tbf rate 7mbit burst 15k limit 30k",
    "qdisc replace dev gold0 root handle 1: tbf rate 10mbit burst 12345b lat 50ms peakrate 11mbit minburst 1540",
    "qdisc change dev gold0 root handle 1: tbf rate 1gbit buffer 1mb limit 2mb mpu 64 overhead 24 linklayer atm",
    "qdisc add dev gold0 parent 1:10 handle 10: tbf rate 40gbit maxburst 100k l 3mb",
    "qdisc add dev gold0 root tbf rate 35gbit burst 1600 latency 1ms peakrate 100gbit mtu 64k linklayer ethernet",
    "qdisc add dev gold0 root tbf rate 8bit burst 1 limit 1 peakrate 16bit mtu 500 overhead 1",
    "qdisc add dev gold0 root tbf rate 1234567bit b 1514 latency 12.5ms peak 2mbps mtu 1514 mpu 64",
    "qdisc add dev gold0 root handle 1: prio",
    "qdisc change dev gold0 root handle 1: prio bands 4",
    "qdisc replace dev gold0 root handle 1: prio bands 2 priomap 1 1 1 1 0 0 0 0 1 1 1 1 1 1 1 1",
    "qdisc add dev gold0 parent 1:10 handle 10: prio bands 16 priomap 15 0 3",
    "qdisc add dev gold0 ingress",
    "qdisc add dev gold0 handle ffff: ingress",
    "qdisc add dev gold0 ingress handle ffff:",
    "qdisc replace dev gold0 ingress",
    "qdisc add dev gold0 clsact",
    "qdisc replace dev gold0 clsact",
    "qdisc del dev gold0 ingress",
    "qdisc del dev gold0 clsact",
    "qdisc del dev gold0 root",
    "qdisc del dev gold0 parent 1:10 handle 10:",
    "qdisc add dev gold0 root mq",
    "qdisc replace dev gold0 root handle 1: mq",
    "qdisc add dev gold0 root fq_codel",
    "qdisc add dev gold0 parent 1:10 handle 10: fq_codel limit 1000 flows 512 quantum 300 target 4ms interval 80ms noecn",
    "qdisc replace dev gold0 root fq_codel ecn memory_limit 4mb drop_batch 16",
    "qdisc change dev gold0 root fq_codel target 5001 interval 1.5s ce_threshold 1ms ce_threshold_selector 0x1/0x3",
    "qdisc add dev gold0 root fq_codel limit 0x400 ce_threshold 0 quantum 1",
    "qdisc add dev gold0 root handle 1: sfq",
    "qdisc add dev gold0 parent 1:10 handle 10: sfq perturb 10",
    "qdisc replace dev gold0 root sfq limit 3000 quantum 3000 divisor 16384 flows 512 depth 100 headdrop",
    "qdisc add dev gold0 root sfq quantum 1514b perturb 60 limit 2",
    "qdisc add dev gold0 root sfq limit 3000 flows 512 divisor 16384 redflowlimit 100000 min 8000 max 60000 probability 0.20 ecn headdrop burst 20",
    "qdisc add dev gold0 root sfq redflowlimit 100000 harddrop",
    "qdisc add dev gold0 root sfq redflowlimit 400000 avpkt 1500 ecn harddrop",
    "qdisc add dev gold0 root netem",
    "qdisc add dev gold0 parent 1:10 handle 10: netem delay 100ms 10ms 25% limit 10k",
    "qdisc change dev gold0 root handle 1: netem latency 10 loss 0.3% 25%",
    "qdisc replace dev gold0 root netem loss random 33% 1% duplicate 1% 10% delay 1s 7us",
    "qdisc add dev gold0 root netem drop 12.345 ecn corrupt 0.1% 5%",
    "qdisc add dev gold0 root netem delay 10ms reorder 25% 50% gap 5",
    "qdisc add dev gold0 root netem delay 10ms reorder 30",
    "qdisc add dev gold0 root netem loss state 10%",
    "qdisc add dev gold0 root netem loss state 1% 70% 5% 90% 0.1% ecn",
    "qdisc add dev gold0 root netem loss gemodel 10%",
    "qdisc add dev gold0 root netem loss gemodel 1% 10% 70% 0.1% rate 1mbit",
    "qdisc add dev gold0 root netem rate 5kbit 20 100 5",
    "qdisc add dev gold0 root netem rate 100gbit -14 0 -3 delay 1ms",
    "qdisc add dev gold0 root netem slot 800us 10ms packets 42 bytes 512k",
    "qdisc add dev gold0 root netem slot 20ms delay 33.3ms",
    "qdisc add dev gold0 root netem slot 1500 bytes 1500",
    "qdisc add dev gold0 root cake",
    "qdisc add dev gold0 parent 1:10 handle 10: cake bandwidth 100mbit rtt 50ms besteffort flows nat wash ack-filter",
    "qdisc change dev gold0 root cake unlimited internet diffserv8 triple-isolate nonat nowash no-ack-filter split-gso",
    "qdisc replace dev gold0 root cake bandwidth 100gbit oceanic diffserv dual-srchost no-split-gso memlimit 32mb",
    "qdisc add dev gold0 root cake autorate-ingress ingress precedence dual-dsthost fwmark 0xff00",
    "qdisc add dev gold0 root cake bandwidth 10mbit autorate-ingress egress diffserv4 hosts ack-filter-aggressive",
    "qdisc add dev gold0 root cake overhead -4 mpu 84 ptm flowblind interplanetary",
    "qdisc add dev gold0 root cake raw srchost datacentre",
    "qdisc add dev gold0 root cake raw ptm dsthost lan",
    "qdisc add dev gold0 root cake conservative mpu 0 regional rtt 7us",
    "qdisc add dev gold0 root cake rtt 7us satellite",
    "qdisc add dev gold0 root cake pppoe-ptm ether-vlan metro",
    "qdisc add dev gold0 root cake ethernet ether-vlan ether-vlan via-ethernet diffserv3",
    "qdisc add dev gold0 root cake docsis bandwidth 1234567bit",
    "filter add dev gold0 parent 1: protocol ip prio 5 handle 6 fw classid 1:10",
    "filter add dev gold0 parent 1: handle 0x6/0xff fw classid 1:10 action drop",
    "filter del dev gold0 parent 1: protocol ip prio 5 handle 0x6 fw",
    "filter del dev gold0 parent 1: prio 5",
    "filter del dev gold0 parent 1:",
    "filter change dev gold0 parent 1: prio 5 handle 6 fw classid 1:10",
    "filter replace dev gold0 parent 1: prio 5 handle 6 fw classid 1:10",
    "filter add dev gold0 parent 1: protocol ip fw",
    "filter add dev gold0 parent 1: protocol ip matchall",
    "filter add dev gold0 egress protocol ip prio 1 matchall action drop",
    "filter add dev gold0 parent ffff: protocol all prio 1 u32 match u32 0 0 flowid :1",
    "qdisc replace dev gold0 root htb",
    "filter add dev gold0 parent 1: protocol ip prio 1 u32 match ip dst 10.1.2.3 flowid 1:10",
    "filter add dev gold0 parent 1: protocol ip prio 1 u32 match ip src 10/8 match ip dport 80 0xffff flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 u32 match ip sport 53 ffff match ip dport 53 0xffff classid 1:10",
    "filter add dev gold0 parent 1: prio 1 u32 match ip protocol 17 0xff match ip tos 0x10 0xff match ip ihl 5 0xf classid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 match ip dsfield 0xb8 fc match ip precedence 1 1 at 4 classid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 match ip nofrag match ip df match ip icmp_type 8 0xff classid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 match ip firstfrag match ip icmp_code 8 0xff classid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 match ip mf match ip src any match ip dst 1.2.3.4/255.255.0.0 classid 1:a",
    "filter add dev gold0 parent 1: protocol ipv6 prio 1 u32 match ip6 dst 2001:db8:1:2::/61 match ip6 src ::1 flowid 1:10",
    "filter add dev gold0 parent 1: protocol ipv6 prio 1 u32 match ip6 priority 0x12 0xff match ip6 flowlabel 5 0xfffff flowid 1:1",
    "filter add dev gold0 parent 1: protocol ipv6 prio 1 u32 match ip6 protocol 6 ff match ip6 dport 80 ffff flowid 1:10",
    "filter add dev gold0 parent 1: protocol ipv6 prio 1 u32 match ip6 sport 1 ffff match ip6 icmp_type 0 ff flowid 1:10",
    "filter add dev gold0 parent 1: protocol ipv6 prio 1 u32 match ip6 icmp_code 3 ff flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 u32 match tcp dst 22 0xffff match udp src 5 0xff match icmp type 3 ff flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 u32 match icmp code 3 ff match u8 0x40 0xf0 at 3 match u16 1 1 at 6 flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0x10 0xf0 at nexthdr+8 match u8 1 ff at nexthdr+ 13 flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 u32 match u16 0x800 0xffff at -2 match ether src 0:11:22:33:44:5 flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 u32 match ether dst ff:ff:ff:ff:ff:ff flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 u32 match mark 0x10 0xf0 flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 handle 2: u32 divisor 256",
    "filter add dev gold0 parent 1: prio 1 u32 divisor 1",
    "filter add dev gold0 parent 1: prio 1 handle 2:1a:5 u32 ht 2:1a: match ip dst 10.0.0.26 flowid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 ht 0x201a000 match ip dst 10.0.0.26 flowid 1:a order 7",
    "filter add dev gold0 parent 1: prio 1 u32 ht 800:: match ip dst 10.0.0.0/8 hashkey mask 0x000000ff at 16 link 2:",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 link 1: offset at 0 mask 0f00 shift 6 plus 0 eat",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 link 1: offset plus 40",
    "filter add dev gold0 parent 1: prio 1 u32 ht 2: sample ip dst 10.0.0.77 match ip dst 10.0.0.77 flowid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 sample u32 0x4d00 0xff00 at 16 divisor 16 ht 2: match u32 1 1 flowid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 indev gold0 skip_hw flowid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 skip_sw flowid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action drop",
    "filter change dev gold0 parent 1: protocol ip prio 1 handle 800::800 u32 flowid 1:20",
    "filter replace dev gold0 parent 1: protocol ip prio 1 handle 800::800 u32 match u32 0 0 flowid 1:20",
    "filter del dev gold0 parent 1: protocol ip prio 1 handle 800::800 u32",
    "filter del dev gold0 parent 1: protocol ip prio 1 handle 2: u32",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action pass",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action reclassify",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action continue",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action pipe",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action trap",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action ok action drop",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action goto chain 5",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action jump 2 action pass action pass",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action gact drop random netrand ok 5",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action drop random determ pipe 10000 index 7",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action pass index 3 cookie 00ff0a",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action pass hw_stats immediate",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action pass hw_stats disabled",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action gact index 3",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action mirred egress redirect dev gold1",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action mirred egress mirror dev gold1",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action mirred ingress mirror dev gold1 pass",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action mirred ingress redirect dev gold1 index 5 cookie aabb",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action mirred egress mirror index 2 dev gold1 continue action drop",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action mirred egress redirect dev gold1 action pass",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police rate 1mbit burst 10k",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police rate 1mbit burst 10k drop",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police rate 7mbit burst 15k mtu 1500 conform-exceed drop/pipe",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police rate 40gbit burst 1m conform-exceed goto chain 3 / ok",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police rate 1mbit burst 10k peakrate 2mbit mtu 1600b mpu 64 overhead 14 linklayer atm pass",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police avrate 1mbit conform-exceed 2/0",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police mtu 1000 drop",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police pkts_rate 1000 pkts_burst 50 conform-exceed drop",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police rate 100gbit burst 100m peakrate 200gbit mtu 9000 continue index 4",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police index 5",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action police rate 800kbit burst 9k drop action pass",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a police rate 1mbit burst 10k drop",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a police rate 9mbit burst 10k mtu 2k pipe index 4",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action skbedit priority 1:20",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action skbedit mark 5",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action skbedit mark 0x5/0xff queue_mapping 3 pass",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action skbedit ptype host inheritdsfield index 9",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action skbedit ptype otherhost pipe cookie 01",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 flowid 1:a action skbedit priority none drop",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 police rate 1mbit burst 10k drop flowid 1:a",
    "filter add dev gold0 parent 1: prio 1 u32 match u32 0 0 action mirred egress redirect dev gold1 flowid 1:a",
    "filter add dev gold0 parent 1: handle 5 fw police rate 1mbit burst 10k drop classid 1:a",
    "filter add dev gold0 parent 1: handle 5 fw action skbedit mark 7",
    "filter add dev gold0 parent 1: protocol ip prio 1 bpf bytecode '1,6 0 0 4294967295' flowid 1:10",
    "filter add dev gold0 parent 1: prio 1 handle 3 bpf run bytecode '4,48 0 0 9,21 0 1 6,6 0 0 262144,6 0 0 0,' classid 1:10 action drop",
    "filter add dev gold0 parent 1: prio 1 bpf bc '1,6 0 0 1' da skip_hw police rate 1mbit burst 10k drop",
    "filter del dev gold0 parent 1: protocol ip prio 1 handle 0x3 bpf",
    "filter add dev gold0 parent 1: matchall classid 1:10",
    "filter add dev gold0 ingress prio 1 handle 7 matchall skip_hw action mirred egress redirect dev gold1",
    "filter add dev gold0 egress prio 1 protocol ip matchall skip_sw flowid 1:5 action police rate 1mbit burst 10k conform-exceed drop",
    "filter add dev gold0 parent 1: flower classid 1:10",
    "filter add dev gold0 parent 1: protocol ip prio 1 flower dst_ip 10.1.2.3/24 src_ip 10.0.0.1 classid 1:10 action drop",
    "filter add dev gold0 parent 1: protocol ipv6 prio 1 flower dst_ip 2001:db8::/33 src_ip ::1 flowid 1:10",
    "filter add dev gold0 parent 1: protocol ip prio 1 flower ip_proto tcp dst_port 80 src_port 1000-2000 tcp_flags 0x2/0x17 classid 1:a",
    "filter add dev gold0 parent 1: protocol ip prio 1 handle 7 flower ip_proto udp src_port 53 dst_port 80/0xfff0 ip_tos 0x10/0xfc ip_ttl 64 classid 1:a",
    "filter add dev gold0 parent 1: protocol ip prio 1 flower ip_proto sctp src_port 53 dst_port 1-2 tcp_flags 10 skip_hw",
    "filter add dev gold0 parent 1: protocol ip prio 1 flower ip_proto icmp indev gold0 ct_state +trk-new+est skip_sw",
    "filter add dev gold0 parent 1: protocol ipv6 prio 1 flower ip_proto icmpv6 ip_tos 8 classid 1:a",
    "filter add dev gold0 parent 1: protocol ip prio 1 flower ip_proto 2f classid 1:a",
    "filter add dev gold0 parent 1: protocol 802.1q prio 1 flower vlan_id 100 vlan_prio 3 vlan_ethtype ipv4 ip_proto tcp dst_ip 1.2.3.4 dst_port 22 classid 1:a",
    "filter add dev gold0 parent 1: prio 1 flower dst_mac 02:00:00:00:00:01 src_mac 2:0:0:0:0:1/24 classid 1:a",
    "filter add dev gold0 parent 1: prio 1 flower dst_mac 02:00:00:00:00:01/ff:ff:00:ff:00:00 hw_tc 2",
    "filter add dev gold0 parent 1: protocol ip prio 1 flower enc_key_id 100 enc_src_ip 10.0.0.1 enc_dst_ip 10.0.0.2/31 enc_dst_port 4789 action mirred egress redirect dev gold1",
    "filter add dev gold0 parent 1: protocol ip prio 1 flower enc_src_ip 2001::1 enc_dst_ip 2001::/16 classid 1:a",
];

pub(crate) fn trials() -> Vec<Trial> {
    COMMANDS
        .iter()
        .map(|command| {
            let name = format!("golden::text::{}", command.replace(' ', "_"));
            trial_with(&name, NEEDS, move || same_bytes(command))
        })
        .collect()
}

fn same_bytes(text: &str) -> Result<(), Failed> {
    veth("gold0", "gold1")?;
    let command: Command = text.parse()?;
    let request = command.request(|name| Device::by_name(name).map(|device| device.index))?;
    let (mut ours, mut again) = (Vec::new(), Vec::new());
    request.encode(0, 0, &mut ours);
    // What is printed for it must mean the same.
    let printed = Command::of(&request, "gold0").ok_or("no command")?.to_string();
    printed
        .parse::<Command>()?
        .request(|name| Device::by_name(name).map(|device| device.index))?
        .encode(0, 0, &mut again);
    if ours != again {
        return Err(format!("printed as {printed:?}, which does not mean the same").into());
    }
    let theirs = tc_message_refused_or_not(text)?;
    let (mut ours, mut theirs) = (Message::parse(&ours)?, Message::parse(&theirs)?);
    ours.bring_together(&mut theirs)?;
    let same = (&ours.header, &ours.tcmsg) == (&theirs.header, &theirs.tcmsg)
        && same_attributes(&ours.attributes, &theirs.attributes);
    if same { Ok(()) } else { Err(format!("ours: {ours:x?}\n  tc: {theirs:x?}").into()) }
}

/// The same but for the times of police, which may be off by what `compare::same_burst` says.
fn same_attributes(ours: &BTreeMap<u16, Value>, theirs: &BTreeMap<u16, Value>) -> bool {
    let police = matches!(ours.get(&1), Some(Value::Bytes(tbf)) if tbf.len() == 56);
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|((number, ours), (other, theirs))| {
            number == other
                && match (ours, theirs) {
                    (Value::Nested(ours), Value::Nested(theirs)) => same_attributes(ours, theirs),
                    // struct tc_police, with the burst as its fourth word; rate tables; the packets' burst.
                    (Value::Bytes(ours), Value::Bytes(theirs)) if police => {
                        same_times(ours, theirs, |word| match number {
                            1 => word == 3,
                            11 => word == 0,
                            number => matches!(number, 2 | 3),
                        })
                    }
                    (ours, theirs) => ours == theirs,
                }
        })
}

/// Words that are the same, or, where they are times, nearly so.
fn same_times(ours: &[u8], theirs: &[u8], is_time: impl Fn(usize) -> bool) -> bool {
    let words = |bytes: &[u8]| -> Vec<i64> {
        bytes.as_chunks::<4>().0.iter().map(|word| u32::from_ne_bytes(*word).into()).collect()
    };
    ours.len() == theirs.len()
        && words(ours).into_iter().zip(words(theirs)).enumerate().all(|(place, (ours, theirs))| {
            ours == theirs || is_time(place) && (-1..=17).contains(&(ours - theirs))
        })
}

/// A message but for its length, sequence number and port.
#[derive(Debug, PartialEq, Eq)]
struct Message {
    /// Type and flags.
    header: Vec<u8>,
    tcmsg: Vec<u8>,
    attributes: BTreeMap<u16, Value>,
}

/// An attribute's value, whose own attributes (if it looks like having some) may come in any order.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Nested(BTreeMap<u16, Value>),
    Bytes(Vec<u8>),
}

/// `RTM_DELQDISC`
const DELETE_QDISC: u16 = 37;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RTAB: u16 = 2;
const TCA_TBF_PTAB: u16 = 3;
/// Where `struct tc_tbf_qopt` has the times of its two buckets.
const TBF_BUCKETS: [usize; 2] = [28, 32];

impl Message {
    /// Takes away what may differ.
    fn bring_together(&mut self, theirs: &mut Self) -> Result<(), Failed> {
        // tc names the kind of what it deletes, when it was given. The kernel only compares it: handle and parent name the qdisc.
        if self.header.starts_with(&DELETE_QDISC.to_ne_bytes()) {
            theirs.attributes.remove(&TCA_KIND);
        }
        if self.attributes.get(&TCA_KIND) == Some(&Value::Bytes(b"tbf\0".to_vec())) {
            let (Some(Value::Nested(ours)), Some(Value::Nested(theirs))) =
                (self.attributes.get_mut(&TCA_OPTIONS), theirs.attributes.get_mut(&TCA_OPTIONS))
            else {
                return Err("a tbf without options".into());
            };
            // Rate tables, which the kernel reads only where it is not told the link layer (tbf_change).
            theirs.remove(&TCA_TBF_RTAB);
            theirs.remove(&TCA_TBF_PTAB);
            let (Some(Value::Bytes(ours)), Some(Value::Bytes(theirs))) =
                (ours.get_mut(&TCA_TBF_PARMS), theirs.get(&TCA_TBF_PARMS))
            else {
                return Err("a tbf without its struct".into());
            };
            for at in TBF_BUCKETS {
                same_bucket(ours, theirs, at)?;
            }
        }
        Ok(())
    }

    fn parse(bytes: &[u8]) -> Result<Self, Failed> {
        let attributes = nested(bytes.get(36..).ok_or("a short message")?).ok_or("no attributes")?;
        Ok(Self { header: bytes[4..8].to_vec(), tcmsg: bytes[16..36].to_vec(), attributes })
    }
}

/// As `compare::same_burst`: we round the time of a bucket up to a tick, `tc` before iproute2 6.15 down to a microsecond and then to
/// a tick. Takes theirs over.
fn same_bucket(ours: &mut [u8], theirs: &[u8], at: usize) -> Result<(), Failed> {
    let ticks =
        |bytes: &[u8]| bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map(u32::from_ne_bytes);
    let (Some(mine), Some(their)) = (ticks(ours), ticks(theirs)) else { return Err("a short struct".into()) };
    if !(-1..=17).contains(&(i64::from(mine) - i64::from(their))) {
        return Err(format!("a bucket of {mine} ticks, in tc's message {their}").into());
    }
    ours[at..at + 4].copy_from_slice(&their.to_ne_bytes());
    Ok(())
}

fn value(bytes: &[u8]) -> Value {
    nested(bytes)
        .filter(|found| !found.is_empty())
        .map_or_else(|| Value::Bytes(bytes.to_vec()), Value::Nested)
}

/// The attributes, when the bytes are nothing else.
fn nested(bytes: &[u8]) -> Option<BTreeMap<u16, Value>> {
    let mut found = BTreeMap::new();
    for attribute in NlasIterator::new(bytes) {
        let attribute = attribute.ok()?;
        // NLA_F_NESTED, which newer tc sets in places, says nothing to the kernel.
        found.insert(attribute.kind() & 0x7fff, value(attribute.value())).is_none().then_some(())?;
    }
    Some(found)
}
