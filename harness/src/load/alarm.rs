//! Wakes tasks at their moment.
//!
//! A thread of its own, for the reason that [`super::pacer`] has one: tokio's timers tick in milliseconds, and think times of a few of
//! them would all be late by half a tick.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::Stop;
use super::punctual::be_punctual;

/// The longest nap: how late a stop may be noticed.
const NAP: Duration = Duration::from_millis(50);

/// An alarm clock that many tasks set.
#[derive(Debug, Clone)]
pub struct Alarm {
    queue: Arc<Mutex<Queue>>,
    stop: Stop,
    thread: Arc<Ringer>,
}

#[derive(Debug, Default)]
struct Queue {
    entries: BinaryHeap<Reverse<Entry>>,
    /// Makes entries of one moment differ.
    next: u64,
    over: bool,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    number: u64,
    waker: Waker,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// The thread, which ends with the last clone of its [`Alarm`].
#[derive(Debug)]
struct Ringer {
    queue: Arc<Mutex<Queue>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Ringer {
    fn drop(&mut self) {
        lock(&self.queue).over = true;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Alarm {
    /// Starts the clock. From `stop` on every wait ends at once.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn start(stop: Stop) -> io::Result<Self> {
        let queue = Arc::new(Mutex::new(Queue::default()));
        let thread = thread::Builder::new().name("qdiscope-alarm".into()).spawn({
            let (queue, stop) = (Arc::clone(&queue), stop.clone());
            move || ring(&queue, &stop)
        })?;
        let ringer = Ringer { queue: Arc::clone(&queue), thread: Some(thread) };
        Ok(Self { queue, stop, thread: Arc::new(ringer) })
    }

    /// Waits until then; `false` where it was stopped before.
    pub fn at(&self, at: Instant) -> Wait<'_> {
        Wait { alarm: self, at, set_for: None }
    }

    fn set(&self, at: Instant, waker: Waker) {
        let mut queue = lock(&self.queue);
        let number = queue.next;
        queue.next += 1;
        let earliest = queue.entries.peek().is_none_or(|Reverse(first)| at < first.at);
        queue.entries.push(Reverse(Entry { at, number, waker }));
        drop(queue);
        if earliest && let Some(thread) = &self.thread.thread {
            thread.thread().unpark();
        }
    }
}

fn ring(queue: &Mutex<Queue>, stop: &Stop) {
    be_punctual();
    let mut due = Vec::new();
    loop {
        let nap = {
            let mut queue = lock(queue);
            let now = Instant::now();
            let all = queue.over || stop.is_set();
            while queue.entries.peek().is_some_and(|Reverse(first)| all || first.at <= now) {
                due.extend(queue.entries.pop().map(|Reverse(entry)| entry.waker));
            }
            if queue.over {
                return due.drain(..).for_each(Waker::wake);
            }
            queue.entries.peek().map_or(NAP, |Reverse(first)| first.at - now).min(NAP)
        };
        if due.is_empty() {
            thread::park_timeout(nap);
        } else {
            due.drain(..).for_each(Waker::wake);
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // Nothing in here panics half-way.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A wait of one task.
#[derive(Debug)]
pub struct Wait<'a> {
    alarm: &'a Alarm,
    at: Instant,
    /// Whom the clock will wake.
    set_for: Option<Waker>,
}

impl Future for Wait<'_> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        if self.alarm.stop.is_set() {
            return Poll::Ready(false);
        }
        if Instant::now() >= self.at {
            return Poll::Ready(true);
        }
        if self.set_for.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            self.set_for = Some(context.waker().clone());
            self.alarm.set(self.at, context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn tasks_are_woken_in_the_order_of_their_moments() {
        let alarm = Alarm::start(Stop::default()).unwrap();
        let start = Instant::now();
        let order = Arc::new(Mutex::new(Vec::new()));
        block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for millis in [30, 10, 20, 0] {
                let (alarm, order) = (alarm.clone(), Arc::clone(&order));
                tasks.spawn(async move {
                    assert!(alarm.at(start + Duration::from_millis(millis)).await);
                    assert!(start.elapsed() >= Duration::from_millis(millis));
                    order.lock().unwrap().push(millis);
                });
            }
            tasks.join_all().await;
        });
        assert_eq!(*order.lock().unwrap(), [0, 10, 20, 30]);
    }

    #[test]
    fn a_stop_ends_every_wait() {
        let stop = Stop::default();
        let alarm = Alarm::start(stop.clone()).unwrap();
        let hour = Instant::now() + Duration::from_hours(1);
        let stopper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            stop.set();
        });
        assert!(!block_on(alarm.at(hour)));
        stopper.join().unwrap();
        assert!(!block_on(alarm.at(hour)), "and every later one");
    }
}
