//! nlink 0.33.

use std::sync::Arc;
use std::time::Instant;

use nlink::netlink::tc::HtbClassConfig;
use nlink::netlink::{Connection, Route};
use nlink::{Rate, TcHandle};

use super::{Arguments, Work, operation};
use crate::measure::{Figures, Stopwatch};

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Figures> {
    let index_of = |name: &str| -> anyhow::Result<u32> { Ok(tc_adapter::Device::by_name(name)?.index) };
    super::runtime(arguments.threads)?.block_on(async {
        let connection = Arc::new(Connection::<Route>::new()?);
        if arguments.work == Work::Dump {
            let devices: Vec<u32> =
                (0..arguments.count).map(|n| index_of(&format!("d{n}"))).collect::<anyhow::Result<_>>()?;
            let watch = Stopwatch::start();
            let mut classes = 0;
            for device in devices {
                classes += connection.get_classes_by_index(device).await?.len() as u64;
            }
            return Ok(watch.stop(classes, Vec::new()));
        }
        let device = index_of(&arguments.device)?;
        let (work, count, callers) = (arguments.work, arguments.count, arguments.callers);
        super::tasks(count, callers, move |caller, mut latencies| {
            let connection = Arc::clone(&connection);
            async move {
                let mut before = Instant::now();
                for index in (caller..count).step_by(callers as usize) {
                    let (minor, rate) = operation(work, index);
                    let class = HtbClassConfig::new(Rate::bytes_per_sec(rate.into())).build();
                    let (parent, classid) = (TcHandle::major_only(1), TcHandle::new(1, minor));
                    if work == Work::Add {
                        connection.add_class_by_index(device, parent, classid, class).await?;
                    } else {
                        connection.change_class_by_index(device, parent, classid, class).await?;
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
