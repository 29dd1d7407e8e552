//! One client, many callers: tasks on one thread and on several, threads without a runtime, and callers that give up.
//!
//! After each, the kernel's classes are what the outcomes say.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nix::libc;
use tc_adapter::{Answer, Client, Error, OnError, SocketOptions};
use tokio::runtime::{Builder, Runtime};

use super::world::{QDISC, World, add_class, class};

const CALLERS: u16 = 64;
const EACH: u16 = 50;

pub(super) fn minors(world: &mut World) -> Result<BTreeSet<u16>, Failed> {
    Ok(world.connection.classes(world.device)?.iter().map(|entry| entry.classid.minor()).collect())
}

fn runtimes() -> Result<[Runtime; 2], Failed> {
    Ok([
        Builder::new_current_thread().enable_time().build()?,
        Builder::new_multi_thread().worker_threads(4).enable_time().build()?,
    ])
}

/// Each caller adds its own classes and one that all of them want: exactly one gets it.
pub(crate) fn every_caller_learns_its_own_outcome() -> Result<(), Failed> {
    for options in [
        SocketOptions::default(),
        SocketOptions { queue: NonZeroU16::MIN, ..SocketOptions::default() },
        SocketOptions { messages_per_packet: NonZeroU16::new(1), ..SocketOptions::default() },
        SocketOptions { receive_buffer: 4096, ..SocketOptions::default() },
    ] {
        for runtime in runtimes()? {
            let mut world = World::new_or_clean()?;
            let device = world.device;
            let client = Client::connect_with(options)?;
            let taken = runtime.block_on(async {
                let callers: Vec<_> = (0..CALLERS)
                    .map(|caller| {
                        let client = client.clone();
                        tokio::spawn(async move {
                            let mut taken = 0;
                            for turn in 0..EACH {
                                client.request(&add_class(device, QDISC, 1 + caller * EACH + turn)).await?;
                                match client.request(&add_class(device, QDISC, 0x8000 + turn)).await {
                                    Ok(_) => taken += 1,
                                    Err(Error::Kernel { errno: libc::EEXIST, handle, .. }) => {
                                        assert_eq!(handle, class(0x8000 + turn));
                                    }
                                    Err(error) => return Err(error),
                                }
                            }
                            Ok::<u16, Error>(taken)
                        })
                    })
                    .collect();
                let mut taken = 0;
                for caller in callers {
                    taken += caller.await??;
                }
                Ok::<u16, Failed>(taken)
            })?;
            assert_eq!(taken, EACH, "{options:?}");
            let expected: BTreeSet<u16> = (1..=CALLERS * EACH).chain(0x8000..0x8000 + EACH).collect();
            assert_eq!(minors(&mut world)?, expected, "{options:?}");
            assert_eq!(
                client.last_sequence(),
                u32::from(CALLERS * EACH * 2),
                "{options:?}: one message each"
            );
        }
    }
    Ok(())
}

/// The moments of each request lie in its caller's own time, in their order, however it travelled.
pub(crate) fn timed_requests_tell_when_they_were_where() -> Result<(), Failed> {
    for packet in [1, 64] {
        for runtime in runtimes()? {
            let world = World::new_or_clean()?;
            let device = world.device;
            let options = SocketOptions {
                timed: true,
                messages_per_packet: NonZeroU16::new(packet),
                ..SocketOptions::default()
            };
            let client = Client::connect_with(options)?;
            runtime.block_on(async {
                let callers: Vec<_> = (0..CALLERS)
                    .map(|caller| {
                        let client = client.clone();
                        tokio::spawn(async move {
                            for turn in 0..EACH {
                                let minor = 1 + caller * EACH + turn;
                                let began = Instant::now();
                                let answer = client.request(&add_class(device, QDISC, minor)).await?;
                                let timing = answer.timing.ok_or("no timing was taken")?;
                                let moments = [
                                    began,
                                    timing.encoded,
                                    timing.sent,
                                    timing.returned,
                                    timing.answered,
                                    Instant::now(),
                                ];
                                assert!(moments.is_sorted(), "{packet} a packet, class {minor}: {moments:?}");
                            }
                            Ok::<(), Failed>(())
                        })
                    })
                    .collect();
                for caller in callers {
                    caller.await??;
                }
                Ok::<(), Failed>(())
            })?;
        }
    }
    let World { mut connection, device, .. } = World::new_or_clean()?;
    assert_eq!(connection.request(&add_class(device, QDISC, 1))?.timing, None, "nobody asked");
    Ok(())
}

/// Threads without a runtime share the client, beside tasks.
pub(crate) fn threads_share_a_client() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let client = Client::connect()?;
    let runtime = Builder::new_current_thread().build()?;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|caller| {
                let client = &client;
                scope.spawn(move || {
                    (0..200).try_for_each(|turn| {
                        client.request_blocking(&add_class(device, QDISC, 1 + caller * 200 + turn)).map(drop)
                    })
                })
            })
            .collect();
        runtime.block_on(async {
            for turn in 0..200 {
                client.request(&add_class(device, QDISC, 0x9000 + turn)).await?;
            }
            let requests: Vec<_> = (0..500).map(|turn| add_class(device, QDISC, 0xa000 + turn)).collect();
            client
                .batch(&requests, OnError::Continue)
                .await
                .into_iter()
                .try_for_each(|outcome| outcome.map(drop))
        })?;
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<(), Failed>(())
    })?;
    let expected = (1..=1600).chain(0x9000..0x9000 + 200).chain(0xa000..0xa000 + 500).collect();
    assert_eq!(minors(&mut world)?, expected);
    Ok(())
}

/// Tasks are aborted at random: what was answered is there, what is there was asked for, and nothing was sent twice.
pub(crate) fn aborted_callers_neither_lose_nor_double() -> Result<(), Failed> {
    for runtime in runtimes()? {
        let mut world = World::new_or_clean()?;
        let device = world.device;
        let client = Client::connect()?;
        let (done, asked) = runtime.block_on(async {
            let (mut done, mut asked) = (BTreeSet::new(), BTreeSet::new());
            for round in 0..60_u16 {
                let tasks: Vec<_> = (0..32)
                    .map(|caller| {
                        let client = client.clone();
                        let minor = 1 + round * 32 + caller;
                        asked.insert(minor);
                        (
                            minor,
                            tokio::spawn(
                                async move { client.request(&add_class(device, QDISC, minor)).await },
                            ),
                        )
                    })
                    .collect();
                if round % 3 != 0 {
                    tokio::task::yield_now().await;
                }
                for (minor, task) in tasks {
                    if minor % 3 == 0 {
                        task.abort();
                    }
                    match task.await {
                        Ok(outcome) => {
                            outcome?;
                            done.insert(minor);
                        }
                        Err(error) if error.is_cancelled() => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Ok::<_, Failed>((done, asked))
        })?;
        let found = minors(&mut world)?;
        assert!(done.is_subset(&found), "answered and not there: {:?}", done.difference(&found));
        assert!(found.is_subset(&asked));
        assert_eq!(client.last_sequence() as usize, found.len(), "a message for each class, no more");
        // The client is as good as new.
        runtime.block_on(client.request(&add_class(device, QDISC, 0xf000)))?;
    }
    Ok(())
}

/// A future is polled, and then kept while its task waits for another request: the other one does not wait for it.
pub(crate) fn a_future_that_is_kept_holds_up_nobody() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    for runtime in runtimes()? {
        let client = Client::connect()?;
        runtime.block_on(async {
            for turn in 0..20_u16 {
                // So that the next caller is not alone.
                let other = client.clone();
                let minor = 1 + turn;
                tokio::spawn(async move { other.request(&add_class(device, QDISC, minor)).await }).await??;
                let (first, second) =
                    (add_class(device, QDISC, 0x100 + turn), add_class(device, QDISC, 0x200 + turn));
                let mut kept = Box::pin(client.request(&first));
                let polled = polled_once(&mut kept).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
                tokio::time::timeout(Duration::from_secs(5), client.request(&second))
                    .await
                    .map_err(|_| "the second request waits for the first")??;
                match polled {
                    Some(outcome) => outcome.map(drop)?,
                    None => kept.await.map(drop)?,
                }
            }
            Ok::<(), Failed>(())
        })?;
        assert_eq!(minors(&mut world)?.len(), 60);
        world = World::new_or_clean()?;
    }
    Ok(())
}

/// Polls once.
async fn polled_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

/// A queue for one, and callers who give up while they wait to be let in: those who stay are let in.
pub(crate) fn a_full_queue_forgets_nobody() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    for runtime in runtimes()? {
        let client =
            Client::connect_with(SocketOptions { queue: NonZeroU16::MIN, ..SocketOptions::default() })?;
        runtime.block_on(async {
            for round in 0..100_u16 {
                let tasks: Vec<_> = (0..24_u16)
                    .map(|caller| {
                        let client = client.clone();
                        let request = add_class(device, QDISC, 1 + round * 24 + caller);
                        tokio::spawn(async move {
                            let mut future = Box::pin(client.request(&request));
                            if caller % 3 == 0 {
                                // Gives up after two polls.
                                for _ in 0..2 {
                                    if polled_once(&mut future).await.is_some() {
                                        break;
                                    }
                                    tokio::task::yield_now().await;
                                }
                                return Ok(());
                            }
                            future.await.map(drop)
                        })
                    })
                    .collect();
                for task in tasks {
                    tokio::time::timeout(Duration::from_secs(10), task)
                        .await
                        .map_err(|_| format!("round {round}: a caller was forgotten"))???;
                }
            }
            Ok::<(), Failed>(())
        })?;
        assert!(minors(&mut world)?.len() >= 1_600);
        world = World::new_or_clean()?;
    }
    Ok(())
}

pub(crate) fn what_comes_too_late_is_not_sent() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let client = Client::connect()?;
    let runtime = Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let past = Instant::now();
        for _ in 0..2 {
            let outcome = client.request_before(&add_class(device, QDISC, 1), past).await;
            assert!(
                matches!(outcome, Err(Error::Expired { handle, .. }) if handle == class(1)),
                "{outcome:?}"
            );
        }
        // Among others, which are sent.
        let tasks: Vec<_> = (2..10_u16)
            .map(|minor| {
                let client = client.clone();
                tokio::spawn(async move {
                    let deadline = if minor % 2 == 0 { past } else { past + Duration::from_mins(1) };
                    client.request_before(&add_class(device, QDISC, minor), deadline).await
                })
            })
            .collect();
        for (minor, task) in (2..10).zip(tasks) {
            assert_eq!(task.await?.is_ok(), minor % 2 == 1);
        }
        Ok::<(), Failed>(())
    })?;
    assert_eq!(minors(&mut world)?, BTreeSet::from([3, 5, 7, 9]));
    assert_eq!(client.last_sequence(), 4);
    Ok(())
}

pub(crate) fn a_closed_client_sends_nothing() -> Result<(), Failed> {
    let mut world = World::new()?;
    let device = world.device;
    let client = Client::connect()?;
    let runtime = Builder::new_current_thread().build()?;
    let outcomes = runtime.block_on(async {
        client.request(&add_class(device, QDISC, 1)).await?;
        let tasks: Vec<_> = (2..10)
            .map(|minor| {
                let client = client.clone();
                tokio::spawn(async move { client.request(&add_class(device, QDISC, minor)).await })
            })
            .collect();
        // All of them are in the queue; the one whose turn it is will come next.
        tokio::task::yield_now().await;
        client.close();
        let mut outcomes: Vec<Result<Answer, Error>> = Vec::new();
        for task in tasks {
            outcomes.push(task.await?);
        }
        outcomes.push(client.request(&add_class(device, QDISC, 10)).await);
        Ok::<_, Failed>(outcomes)
    })?;
    assert!(matches!(outcomes.last(), Some(Err(Error::Closed))), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Error::Closed))), "{outcomes:?}");
    let sent = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(minors(&mut world)?.len(), 1 + sent);
    assert!(matches!(client.request_blocking(&add_class(device, QDISC, 11)), Err(Error::Closed)));
    Ok(())
}
