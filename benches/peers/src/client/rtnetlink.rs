//! rtnetlink 0.24. It has no requests that create or change classes, so the messages are made by hand, outside the clock.

use std::time::Instant;

use anyhow::bail;
use futures_util::StreamExt as _;
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcMessage, TcOption};

use super::{Arguments, Work, operation};
use crate::measure::{Figures, Stopwatch};

/// What the other clients send: `tc class change|add dev DEVICE … htb rate RATE`.
fn message(work: Work, device: i32, index: u32) -> NetlinkMessage<RouteNetlinkMessage> {
    let (minor, rate) = operation(work, index);
    let mut parms = Vec::with_capacity(44);
    for _ in 0..2 {
        parms.extend([3, 1, 0, 0, 0xff, 0xff, 0, 0]);
        parms.extend(rate.to_ne_bytes());
    }
    let ticks = u32::try_from((1_600 * 15_625_000_u64).div_ceil(rate.into())).unwrap_or(u32::MAX);
    for word in [ticks, ticks, 0, 0, 0] {
        parms.extend(word.to_ne_bytes());
    }
    let mut tc = TcMessage::with_index(device);
    tc.header.handle = (0x1_0000 | u32::from(minor)).into();
    tc.header.parent = (if work == Work::Add { 0x1_0000 } else { 0_u32 }).into();
    tc.attributes = vec![
        TcAttribute::Kind("htb".into()),
        TcAttribute::Options(vec![TcOption::Other(DefaultNla::new(1, parms))]),
    ];
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::NewTrafficClass(tc));
    message.header.flags =
        NLM_F_REQUEST | NLM_F_ACK | if work == Work::Add { NLM_F_CREATE | NLM_F_EXCL } else { 0 };
    message
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Figures> {
    let index_of =
        |name: &str| -> anyhow::Result<i32> { Ok(tc_adapter::Device::by_name(name)?.index.cast_signed()) };
    super::runtime(arguments.threads)?.block_on(async {
        let (connection, mut handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        if arguments.work == Work::Dump {
            let devices: Vec<i32> =
                (0..arguments.count).map(|n| index_of(&format!("d{n}"))).collect::<anyhow::Result<_>>()?;
            let watch = Stopwatch::start();
            let mut classes = 0;
            for device in devices {
                let mut ask =
                    NetlinkMessage::from(RouteNetlinkMessage::GetTrafficClass(TcMessage::with_index(device)));
                ask.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
                let mut answers = handle.request(ask)?;
                while let Some(answer) = answers.next().await {
                    classes += u64::from(matches!(
                        answer.payload,
                        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewTrafficClass(_))
                    ));
                }
            }
            return Ok(watch.stop(classes, Vec::new()));
        }
        let device = index_of(&arguments.device)?;
        let (work, count, callers) = (arguments.work, arguments.count, arguments.callers);
        super::tasks(count, callers, move |caller, mut latencies| {
            let mut handle = handle.clone();
            async move {
                let mut before = Instant::now();
                for index in (caller..count).step_by(callers as usize) {
                    let message = message(work, device, index);
                    let mut answers = handle.request(message)?;
                    // An acknowledgement ends the stream; only a refusal is in it.
                    while let Some(answer) = answers.next().await {
                        if let NetlinkPayload::Error(error) = answer.payload {
                            bail!("{}", error.to_io());
                        }
                    }
                    let now = Instant::now();
                    latencies.push(now - before);
                    before = now;
                }
                Ok(latencies)
            }
        })
        .await
    })
}
