//! This project's own.

use std::time::Instant;

use tc_adapter::{Client, Connection, Device, Handle, HtbClass, OnError, Rate, Request};

use super::{Arguments, Work, operation};
use crate::measure::{Figures, Stopwatch};

fn request(work: Work, device: u32, index: u32) -> anyhow::Result<Request> {
    let (minor, rate) = operation(work, index);
    let class = HtbClass::new(Rate::from_bytes_per_second(rate.into())?);
    let classid = Handle::new(1, minor);
    Ok(match work {
        Work::Add => Request::AddClass { device, parent: Handle::qdisc(1), classid, class },
        _ => Request::ChangeClass { device, parent: Handle::UNSPEC, classid, class },
    })
}

/// Requests that are made, and sent, at a time in one call.
const WINDOW: u32 = 4_096;

pub(crate) fn run_blocking(arguments: &Arguments) -> anyhow::Result<Figures> {
    let mut connection = Connection::connect()?;
    if arguments.work == Work::Dump {
        let devices: Vec<u32> = (0..arguments.count)
            .map(|n| Ok(Device::by_name(&format!("d{n}"))?.index))
            .collect::<anyhow::Result<_>>()?;
        let watch = Stopwatch::start();
        let mut classes = 0;
        for device in devices {
            classes += connection.for_each_class(device, |class| {
                std::hint::black_box(&class);
            })?;
        }
        return Ok(watch.stop(classes, Vec::new()));
    }
    let device = Device::by_name(&arguments.device)?.index;
    let mut latencies = Vec::new();
    let watch = Stopwatch::start();
    if arguments.callers == 0 {
        let mut next = 0;
        let mut requests = Vec::new();
        while next < arguments.count {
            let end = (next + WINDOW).min(arguments.count);
            requests.clear();
            for index in next..end {
                requests.push(request(arguments.work, device, index)?);
            }
            for outcome in connection.batch(&requests, OnError::Continue) {
                outcome?;
            }
            next = end;
        }
    } else {
        latencies.reserve(arguments.count as usize);
        let mut before = Instant::now();
        for index in 0..arguments.count {
            connection.request(&request(arguments.work, device, index)?)?;
            let now = Instant::now();
            latencies.push(now - before);
            before = now;
        }
    }
    Ok(watch.stop(arguments.count.into(), latencies))
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Figures> {
    let device = Device::by_name(&arguments.device)?.index;
    let runtime = super::runtime(arguments.threads)?;
    runtime.block_on(async {
        let client = Client::connect()?;
        let (work, count, callers) = (arguments.work, arguments.count, arguments.callers);
        super::tasks(count, callers, move |caller, mut latencies| {
            let client = client.clone();
            async move {
                let mut before = Instant::now();
                for index in (caller..count).step_by(callers as usize) {
                    let request = request(work, device, index)?;
                    client.request(&request).await?;
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
