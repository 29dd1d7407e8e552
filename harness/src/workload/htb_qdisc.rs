//! `htb-qdisc`: each worker creates and deletes the root qdisc of its own devices in turn.

use tc_adapter::{Handle, HtbQdisc, Request};

use super::{Operation, OperationKind, ROOT_QDISC, Scene, Source};
use crate::plan::Workload;

struct Qdiscs {
    devices: Vec<u32>,
    position: usize,
    /// Whether the qdisc of the device at `position` stands.
    stands: bool,
}

pub(super) fn scene(workload: &Workload, devices: &[u32]) -> Scene {
    let workers = workload.workers as usize;
    let sources = (0..workers)
        .map(|worker| {
            let devices = devices.iter().copied().skip(worker).step_by(workers).collect();
            Box::new(Qdiscs { devices, position: 0, stands: false }) as Box<dyn Source>
        })
        .collect();
    Scene { setup: Vec::new(), sources, population_max: 0 }
}

impl Source for Qdiscs {
    fn next(&mut self) -> Option<Operation> {
        let device = *self.devices.get(self.position)?;
        Some(if self.stands {
            let request = Request::DeleteQdisc { device, parent: Handle::ROOT, handle: ROOT_QDISC };
            Operation::of(OperationKind::QdiscDelete, request)
        } else {
            let qdisc = HtbQdisc::new().into();
            let request = Request::AddQdisc { device, parent: Handle::ROOT, handle: ROOT_QDISC, qdisc };
            Operation::of(OperationKind::QdiscCreate, request)
        })
    }

    fn settle(&mut self, succeeded: bool) {
        if succeeded {
            self.stands = !self.stands;
        }
        if !self.stands {
            self.position = (self.position + 1) % self.devices.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use OperationKind::{QdiscCreate, QdiscDelete};

    use super::*;
    use crate::workload::Ask;

    #[test]
    fn a_worker_creates_and_deletes_on_each_of_its_devices_in_turn() {
        let mut source = Qdiscs { devices: vec![2, 4], position: 0, stands: false };
        let mut seen = Vec::new();
        for _ in 0..5 {
            let operation = source.next().unwrap();
            let device = match operation.ask {
                Ask::One(Request::AddQdisc { device, .. } | Request::DeleteQdisc { device, .. }) => device,
                other => panic!("{other:?}"),
            };
            seen.push((operation.kind, device));
            source.settle(true);
        }
        assert_eq!(
            seen,
            [(QdiscCreate, 2), (QdiscDelete, 2), (QdiscCreate, 4), (QdiscDelete, 4), (QdiscCreate, 2)]
        );
    }
}
