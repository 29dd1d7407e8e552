//! Threads that add and delete a class each, all at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender as Channel, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::load::{Load, POPULATION, THREADS};
use super::message::Window;
use super::work::AddDelete;

/// Threads that wait for a window to begin. They exist from the start, because a tracer attaches to those that it finds.
pub(super) struct Threads {
    begin: Vec<Channel<()>>,
    ended: Receiver<io::Result<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    stop: AtomicBool,
    done: Vec<Count>,
}

/// On a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Count(AtomicU64);

impl Threads {
    pub(super) fn start(device: u32) -> io::Result<Self> {
        let done = (0..THREADS).map(|_| Count::default()).collect();
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), done });
        let (report, ended) = channel();
        let begin = (0..THREADS)
            .map(|number| {
                let (begin, orders) = channel();
                // Behind the population and the class that a single thread adds.
                let mut work = AddDelete::new(device, POPULATION + 2 + number)?;
                let (shared, report) = (Arc::clone(&shared), report.clone());
                thread::Builder::new().name("qdiscope-load".into()).spawn(move || {
                    while let Ok(()) = orders.recv() {
                        let outcome = run(&mut work, &shared, usize::from(number));
                        if report.send(outcome).is_err() {
                            break;
                        }
                    }
                })?;
                Ok(begin)
            })
            .collect::<io::Result<Vec<Channel<()>>>>()?;
        Ok(Self { begin, ended, shared })
    }

    pub(super) fn window(&self, length: Duration) -> io::Result<Window> {
        let slice = Duration::from_millis(Load::Concurrent.slice_ms());
        let done = || self.shared.done.iter().map(|count| count.0.load(Ordering::Relaxed)).sum::<u64>();
        self.shared.stop.store(false, Ordering::Relaxed);
        let (first, start) = (done(), Instant::now());
        for begin in &self.begin {
            begin.send(()).map_err(|_| io::Error::other("a thread has ended"))?;
        }
        let mut window = Window::default();
        let (mut before, mut since) = (first, start);
        while since - start < length {
            thread::sleep(slice);
            let (after, now) = (done(), Instant::now());
            if after > before {
                window.slices.push((now - since).as_nanos() as f64 / (after - before) as f64);
                (before, since) = (after, now);
            }
        }
        self.shared.stop.store(true, Ordering::Relaxed);
        for _ in &self.begin {
            self.ended.recv().map_err(|_| io::Error::other("a thread has ended"))??;
        }
        window.requests = 2 * (done() - first);
        window.elapsed_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok(window)
    }
}

fn run(work: &mut AddDelete, shared: &Shared, number: usize) -> io::Result<()> {
    while !shared.stop.load(Ordering::Relaxed) {
        work.once()?;
        shared.done[number].0.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
