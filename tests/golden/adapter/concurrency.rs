//! Many tasks, dropped futures, foreign threads.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use libtest_mimic::Failed;
use support::{in_namespace, veth};
use tc_adapter::{Client, Handle};

use super::world::{QDISC, World, add_class, class};

const TASKS: u16 = 8;
const CLASSES: u16 = 500;

/// Eight tasks on two connections, each adding 500 classes: all arrive, each answer at the task that asked.
pub(crate) fn two_clients_eight_tasks() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let clients = [Client::connect()?, Client::connect()?];
    assert_ne!(clients[0].port_id(), clients[1].port_id());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build()?;
    let sequences = runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let client = clients[usize::from(task % 2)].clone();
                tokio::spawn(async move {
                    let mut sequences = Vec::new();
                    for minor in task * CLASSES + 1..=(task + 1) * CLASSES {
                        let answer = client.request(&add_class(device, QDISC, minor)).await?;
                        sequences.push((client.port_id(), answer.sequence));
                    }
                    Ok::<_, tc_adapter::Error>(sequences)
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await??);
        }
        Ok::<_, Failed>(all)
    })?;
    let total = usize::from(TASKS * CLASSES);
    assert_eq!(sequences.iter().collect::<BTreeSet<_>>().len(), total, "no sequence number twice");
    for client in &clients {
        assert_eq!(client.last_sequence(), u32::from(TASKS * CLASSES / 2));
    }
    let found: BTreeSet<Handle> =
        world.connection.classes(device)?.into_iter().map(|entry| entry.classid).collect();
    assert_eq!(found, (1..=TASKS * CLASSES).map(class).collect());
    Ok(())
}

/// While another thread keeps the client busy, requests are polled once and dropped. What was answered exists, what was dropped
/// does not, and the sequence numbers agree.
pub(crate) fn dropped_futures_send_nothing() -> Result<(), Failed> {
    const WANTED: usize = 50;
    /// Classes that are there to make the lists of the other thread long.
    const IDLE: std::ops::Range<u16> = 0x8000..0x8100;
    let mut world = World::new()?;
    let device = world.device;
    for minor in IDLE {
        world.add(QDISC, minor)?;
    }
    let client = Client::connect()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let stop = AtomicBool::new(false);
    let (mut done, mut dropped) = (BTreeSet::new(), BTreeSet::new());
    let lists = thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut lists = 0;
            while !stop.load(Ordering::Relaxed) {
                let list = runtime.block_on(client.classes(device))?;
                assert!(list.len() >= IDLE.len());
                lists += 1;
            }
            Ok::<u32, tc_adapter::Error>(lists)
        });
        let mut polls = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            let mut context = Context::from_waker(Waker::noop());
            for minor in 1..0x7000 {
                let request = add_class(device, QDISC, minor);
                let mut future = Box::pin(client.request(&request));
                match future.as_mut().poll(&mut context) {
                    Poll::Ready(answer) => answer.map(|_| done.insert(minor))?,
                    Poll::Pending => dropped.insert(minor),
                };
                drop(future);
                // One that waits its turn, in the queue that the dropped one has left.
                let minor = minor + 0x8100;
                runtime.block_on(client.request(&add_class(device, QDISC, minor)))?;
                done.insert(minor);
                if dropped.len() >= WANTED {
                    break;
                }
            }
            Ok::<(), Failed>(())
        };
        let result = polls();
        stop.store(true, Ordering::Relaxed);
        let lists = busy.join().map_err(|_| "the busy thread panicked")?;
        result?;
        Ok::<u32, Failed>(lists?)
    })?;
    assert!(
        done.len() >= WANTED && dropped.len() >= WANTED,
        "{} answered, {} dropped",
        done.len(),
        dropped.len()
    );
    assert_eq!(
        client.last_sequence() as usize,
        done.len() + lists as usize,
        "one message each, none for the dropped"
    );
    let found: BTreeSet<u16> =
        world.connection.classes(device)?.iter().map(|entry| entry.classid.minor()).collect();
    assert_eq!(found.into_iter().filter(|minor| !IDLE.contains(minor)).collect::<BTreeSet<u16>>(), done);
    assert!(done.is_disjoint(&dropped));
    Ok(())
}

pub(crate) fn a_client_keeps_its_namespace() -> Result<(), Failed> {
    let world = World::new()?;
    let client = Client::connect()?;
    in_namespace(|| {
        // Here a device of the same index may be, but no qdisc 1: on it.
        veth("elsewhere0", "elsewhere1")?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(client.request(&add_class(world.device, QDISC, 1)))?;
        Ok(())
    })?;
    let mut world = world;
    assert!(world.class(1)?.is_some());
    Ok(())
}
