//! A traffic-control message taken apart, by other code than the adapter's, for comparing.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use netlink_packet_core::{NLM_F_ECHO, NlasIterator};

/// Attribute 1 of a message is its kind, 2 its options.
const KIND: u16 = 1;
const OPTIONS: u16 = 2;

/// HTB's options that are compared by rule instead of by bytes, and those that are not compared.
const PARMS: u16 = 1;
const CTAB: u16 = 3;
const RTAB: u16 = 4;

/// The two bursts, in ticks, inside `TCA_HTB_PARMS`.
const BUFFER: std::ops::Range<usize> = 24..28;
const CBUFFER: std::ops::Range<usize> = 28..32;

/// A message but for what differs for a reason:
///
/// * `nlmsg_seq`, which `tc` takes from the clock, and `nlmsg_pid`, which `tc` leaves 0 and the adapter fills in, as the key by
///   which kernel probes join;
/// * `nlmsg_len`, which follows from the rest;
/// * `NLM_F_ECHO`, which the adapter sets where it compares the parent (see `tc_adapter::Request`);
/// * `TCA_HTB_RTAB`, `TCA_HTB_CTAB`: 1 KiB each, which the kernel reads only to guess the link layer, and that is given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    nlmsg_type: u16,
    flags: u16,
    /// Family, device, handle, parent, info.
    tcmsg: Vec<u8>,
    kind: Option<Vec<u8>>,
    options: BTreeMap<u16, Vec<u8>>,
    /// Both bursts, taken out of the options.
    pub(crate) bursts: Option<[u32; 2]>,
}

impl Message {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Failed> {
        let number = |range| bytes.get(range).map(|bytes: &[u8]| u16::from_ne_bytes([bytes[0], bytes[1]]));
        let length = bytes.first_chunk().map(|length| u32::from_ne_bytes(*length) as usize);
        if length != Some(bytes.len()) || bytes.len() < 36 {
            return Err(format!("a message of {} bytes says it has {length:?}", bytes.len()).into());
        }
        let mut attributes = attributes(&bytes[36..])?;
        let mut options = match attributes.remove(&OPTIONS) {
            Some(options) => self::attributes(&options)?,
            None => BTreeMap::new(),
        };
        options.remove(&RTAB);
        options.remove(&CTAB);
        let message_type = number(4..6).ok_or("no type")?;
        let bursts = (message_type == 40)
            .then(|| options.get_mut(&PARMS))
            .flatten()
            .map(|parms| take_bursts(parms))
            .transpose()?;
        let kind = attributes.remove(&KIND);
        if !attributes.is_empty() {
            return Err(format!("unexpected attributes: {attributes:?}").into());
        }
        let flags = number(6..8).ok_or("no flags")? & !NLM_F_ECHO;
        Ok(Self { nlmsg_type: message_type, flags, tcmsg: bytes[16..36].to_vec(), kind, options, bursts })
    }
}

fn attributes(bytes: &[u8]) -> Result<BTreeMap<u16, Vec<u8>>, Failed> {
    let mut found = BTreeMap::new();
    for attribute in NlasIterator::new(bytes) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        if found.insert(attribute.kind(), attribute.value().to_vec()).is_some() {
            return Err(format!("attribute {} comes twice", attribute.kind()).into());
        }
    }
    Ok(found)
}

fn take_bursts(parms: &mut [u8]) -> Result<[u32; 2], Failed> {
    let mut take = |range: std::ops::Range<usize>| {
        let bytes = parms.get_mut(range).and_then(|bytes| bytes.first_chunk_mut::<4>());
        let ticks = bytes.map(|bytes| u32::from_ne_bytes(std::mem::take(bytes)));
        ticks.ok_or("TCA_HTB_PARMS is too short")
    };
    Ok([take(BUFFER)?, take(CBUFFER)?])
}
