//! A connection shared by tasks and threads, whose waiting requests travel together.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::checks::Checks;
use crate::connection::{Answer, Connection, OnError};
use crate::entry::{ClassEntry, QdiscEntry};
use crate::error::{Error, Inquiry, Loss};
use crate::filter::FilterEntry;
use crate::handle::Handle;
use crate::order::parents_first;
use crate::packet::{Limits, Packet, Subject};
use crate::parents::Parents;
use crate::queue::{Queue, Ticket};
use crate::request::Request;
use crate::socket::SocketOptions;

/// A traffic-control client for any number of tasks, on any runtime, and threads; clones share one [`Connection`].
///
/// There is no task and no thread behind it. A request goes into a queue; the first caller who finds the connection free
/// takes everything that waits, sends it in one `sendmsg(2)`, hands each its own outcome and wakes whoever is next. So
/// callers never contend for RTNL with each other, many share the price of one system call, and one alone waits for nobody.
/// Requests are carried out in the order in which they were asked for, except that among those that travel together parents come
/// before their children, as in [`Connection::batch`].
///
/// **Dropping** a future that still waits takes its request out of the queue: nothing is sent. Once sent, the request is
/// carried out, whoever still waits for its outcome. There is no `await` between sending and being answered.
///
/// **Blocking:** a poll that sends blocks its thread while the kernel works: microseconds for a change, longer for a dump of
/// many classes or while another process holds RTNL. Where that would starve other tasks, use a [`Connection`] on a
/// thread of its own.
///
/// The queue holds [`SocketOptions::queue`] requests; callers beyond that wait to be let in, and newcomers may come before them. A
/// dump's future ([`Client::classes`], [`Client::qdiscs`]) that was polled once, and then is kept but neither polled nor dropped,
/// holds up everybody: spawn it, await it or drop it.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    checks: Checks,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Whoever has set [`Queue::busy`] locks it, and nobody else, so that the lock is always free.
    wire: Mutex<Wire>,
    limits: Limits,
    port: u32,
    last_sequence: Arc<AtomicU32>,
}

/// Where packets are small, whoever has the wire sends several before it wakes anybody: waking a task on another thread costs more
/// than sending its request.
const MESSAGES_A_TURN: usize = 16;

/// The connection and what is on its way.
struct Wire {
    connection: Connection,
    window: Packet,
    tickets: Vec<Ticket>,
    outcomes: Vec<(Ticket, Result<Answer, Error>)>,
    wakers: Vec<Waker>,
}

impl Client {
    /// Opens a socket in the calling thread's network namespace, in which it stays whatever thread uses it later.
    pub fn connect() -> Result<Self, Error> {
        Self::connect_with(SocketOptions::default())
    }

    /// As [`Client::connect`], with other buffers, limits or another deadline.
    pub fn connect_with(options: SocketOptions) -> Result<Self, Error> {
        Connection::connect_with(options).map(Self::from)
    }

    /// See [`Connection::port_id`].
    pub fn port_id(&self) -> u32 {
        self.shared.port
    }

    /// See [`Connection::last_sequence`]; of all clones.
    pub fn last_sequence(&self) -> u32 {
        self.shared.last_sequence.load(Ordering::Acquire)
    }

    /// Which accidents are looked out for: [`SocketOptions::checks`], or those of [`Client::with_checks`].
    pub fn checks(&self) -> Checks {
        self.checks
    }

    /// A clone that looks out for these accidents only, over the same connection.
    #[must_use]
    pub fn with_checks(&self, checks: Checks) -> Self {
        Self { shared: Arc::clone(&self.shared), checks }
    }

    /// Sends the request together with those that wait, and gives its own outcome. See [`Connection::request`].
    pub async fn request(&self, request: &Request) -> Result<Answer, Error> {
        self.turn(request, self.checks, None, Patience::Gather)?.await
    }

    /// As [`Client::request`], looking out for these accidents only. See [`Connection::request_with`].
    pub async fn request_with(&self, request: &Request, checks: Checks) -> Result<Answer, Error> {
        self.turn(request, checks, None, Patience::Gather)?.await
    }

    /// As [`Client::request`], but sent before `deadline` or not at all ([`Error::Expired`]). What the kernel has begun cannot
    /// be called off. For an answer at that very time, as another process holds RTNL, put a runtime's timeout around it.
    pub async fn request_before(&self, request: &Request, deadline: Instant) -> Result<Answer, Error> {
        self.turn(request, self.checks, Some(deadline), Patience::Gather)?.await
    }

    /// As [`Client::request`], for a thread without a runtime.
    pub fn request_blocking(&self, request: &Request) -> Result<Answer, Error> {
        block_on(self.turn(request, self.checks, None, Patience::Send)?)
    }

    /// Sends many requests and gives each its own outcome, in their order. See [`Connection::batch`]. Others' requests may
    /// come in between.
    pub async fn batch(&self, requests: &[Request], on_error: OnError) -> Vec<Result<Answer, Error>> {
        let mut outcomes: Vec<_> = requests.iter().map(|_| Err(Error::NotReached)).collect();
        let order = parents_first(requests).unwrap_or_else(|| (0..requests.len()).collect());
        // Many small windows rather than one large, so that the queue stays open for others.
        let window = match on_error {
            OnError::Stop => 1,
            OnError::Continue => self.shared.limits.messages,
        };
        for some in order.chunks(window) {
            let mut turns: Vec<_> = some
                .iter()
                .map(|&index| self.turn(&requests[index], self.checks, None, Patience::Gather))
                .collect();
            // All are in the queue before the first is waited for.
            poll_fn(|context| {
                // One that finds no room comes in when it is waited for, and so do those behind it.
                let _ = turns.iter_mut().flatten().all(|turn| turn.enter(context.waker()));
                Poll::Ready(())
            })
            .await;
            for (turn, &index) in turns.into_iter().zip(some) {
                outcomes[index] = match turn {
                    Ok(turn) => turn.await,
                    Err(error) => Err(error),
                };
                if outcomes[index].is_err() && on_error == OnError::Stop {
                    return outcomes;
                }
            }
        }
        outcomes
    }

    /// See [`Connection::qdiscs`].
    pub async fn qdiscs(&self, device: Option<u32>) -> Result<Vec<QdiscEntry>, Error> {
        self.alone(|connection| connection.qdiscs(device)).await
    }

    /// See [`Connection::classes`].
    pub async fn classes(&self, device: u32) -> Result<Vec<ClassEntry>, Error> {
        self.alone(|connection| connection.classes(device)).await
    }

    /// See [`Connection::filters`].
    pub async fn filters(&self, device: u32, parent: Handle) -> Result<Vec<FilterEntry>, Error> {
        self.alone(|connection| connection.filters(device, parent)).await
    }

    /// Refuses requests from now on. What waits is not sent and ends with [`Error::Closed`]; what is on its way is finished.
    /// The socket is closed with the last clone.
    pub fn close(&self) {
        let wakers = self.shared.queue().close();
        wake_all(wakers);
    }

    fn turn<'a>(
        &'a self,
        request: &'a Request,
        checks: Checks,
        deadline: Option<Instant>,
        patience: Patience,
    ) -> Result<Turn<'a>, Error> {
        request.validate_with(checks)?;
        Ok(Turn {
            shared: &self.shared,
            stage: Stage::New(request),
            checks,
            deadline,
            patience,
            outside: None,
        })
    }

    /// Waits until the connection is free and uses it.
    async fn alone<T>(&self, mut work: impl FnMut(&mut Connection) -> T) -> T {
        let mut wait = Reservation { shared: &self.shared, ticket: None };
        poll_fn(|context| {
            if !wait.is_granted(context.waker()) {
                return Poll::Pending;
            }
            let guard = Busy { shared: &self.shared };
            let result = work(&mut self.shared.wire().connection);
            drop(guard);
            Poll::Ready(result)
        })
        .await
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a packet of what waits, or some small ones, has them carried out, and hands out the outcomes. The caller has occupied the
    /// wire; it is not woken for its own request, `own`.
    fn carry_out(&self, own: Option<Ticket>) {
        let busy = Busy { shared: self };
        let mut wire = self.wire();
        let Wire { connection, window, tickets, outcomes, wakers } = &mut *wire;
        for _ in 0..(MESSAGES_A_TURN / self.limits.messages).max(1) {
            window.clear();
            tickets.clear();
            self.queue().take(self.limits, window, tickets, wakers);
            if window.is_empty() {
                break;
            }
            if let Some(order) = parents_first(window.subjects()) {
                *window = window.in_order(&order);
                *tickets = order.iter().map(|&index| tickets[index]).collect();
            }
            let mut parents = Parents::default();
            connection
                .carry_out(window, &mut parents, |index, outcome| outcomes.push((tickets[index], outcome)));
            let mut queue = self.queue();
            for (ticket, outcome) in outcomes.drain(..) {
                wakers.extend(queue.settle(ticket, outcome).filter(|_| own != Some(ticket)));
            }
        }
        wake_all(wakers.drain(..));
        drop(wire);
        drop(busy);
    }
}

/// Held by whoever uses the wire. Frees it, and wakes the next, also where a panic ends the use.
struct Busy<'a> {
    shared: &'a Shared,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let mut lost = Vec::new();
        if thread::panicking() {
            lost =
                self.shared.queue().settle_sent(|subject| subject.lost(0, Loss::Panicked, Inquiry::Failed));
            // The wire's guard went before this one. Those of earlier packets were not woken yet.
            lost.append(&mut self.shared.wire().wakers);
        }
        let next = self.shared.queue().free();
        wake_all(lost.into_iter().chain(next));
    }
}

/// Wakes them all, also where waking one of them panics (some executors poll there and then).
fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    struct Rest<I: Iterator<Item = Waker>>(I);
    impl<I: Iterator<Item = Waker>> Drop for Rest<I> {
        fn drop(&mut self) {
            self.0.by_ref().for_each(Waker::wake);
        }
    }
    let mut rest = Rest(wakers.into_iter());
    for waker in rest.0.by_ref() {
        waker.wake();
    }
}

/// Whether a request that finds others about lets them join.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Lets the tasks that are ready now come into the queue before it is sent. A caller that was the last one, too, is
    /// alone and does not wait.
    Gather,
    /// Sends at once: threads come by themselves while another one's packet is on its way.
    Send,
}

/// One request on its way.
struct Turn<'a> {
    shared: &'a Shared,
    stage: Stage<'a>,
    checks: Checks,
    deadline: Option<Instant>,
    patience: Patience,
    /// Its place among those whom the bound keeps out.
    outside: Option<u64>,
}

enum Stage<'a> {
    New(&'a Request),
    Waiting(Ticket),
    Over,
}

impl Turn<'_> {
    /// Puts the request into the queue, if there is room. Gives whether it is in.
    fn enter(&mut self, waker: &Waker) -> bool {
        let Stage::New(request) = self.stage else { return true };
        let mut queue = self.shared.queue();
        let Some(ticket) = queue.enter(request, self.checks, self.deadline, waker) else { return false };
        queue.wait_no_more(&mut self.outside);
        drop(queue);
        self.stage = Stage::Waiting(ticket);
        true
    }

    /// Carries the request out if there is nobody to share a packet with, past the queue.
    fn pass(&mut self, waker: &Waker) -> Option<Result<Answer, Error>> {
        let Stage::New(request) = self.stage else { return None };
        if !self.shared.queue().occupy_alone(waker, self.patience == Patience::Gather) {
            return None;
        }
        let busy = Busy { shared: self.shared };
        if self.outside.is_some() {
            self.shared.queue().wait_no_more(&mut self.outside);
        }
        let outcome = if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            Err(Subject::of(request, self.checks).expired())
        } else {
            self.shared.wire().connection.request_valid(request, self.checks)
        };
        drop(busy);
        self.stage = Stage::Over;
        Some(outcome)
    }
}

impl Future for Turn<'_> {
    type Output = Result<Answer, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = context.waker();
        let first = matches!(self.stage, Stage::New(_));
        if let Some(outcome) = self.pass(waker) {
            return Poll::Ready(outcome);
        }
        loop {
            let entered = self.enter(waker);
            let mut queue = self.shared.queue();
            if let Stage::Waiting(ticket) = self.stage {
                if let Some(outcome) = queue.outcome(ticket, waker) {
                    drop(queue);
                    self.stage = Stage::Over;
                    return Poll::Ready(outcome);
                }
                if first && self.patience == Patience::Gather && queue.expects_more(self.shared.limits) {
                    // Each sees to it that it is polled again, lest all depend on one that is kept and not polled. Who is polled
                    // first sends all, and wakes nobody who is awake.
                    let idle = queue.is_idle();
                    drop(queue);
                    if idle {
                        waker.wake_by_ref();
                    }
                    return Poll::Pending;
                }
            }
            if !queue.occupy() {
                // Whoever is at work wakes us, or the one before us.
                if !entered {
                    queue.wait_for_room(&mut self.outside, waker);
                }
                return Poll::Pending;
            }
            drop(queue);
            let own = if let Stage::Waiting(ticket) = self.stage { Some(ticket) } else { None };
            self.shared.carry_out(own);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let next = match self.stage {
            Stage::Waiting(ticket) => self.shared.queue().leave(ticket),
            Stage::New(_) => {
                let mut queue = self.shared.queue();
                queue.wait_no_more(&mut self.outside);
                // It may have been woken to come in.
                queue.next_waker()
            }
            Stage::Over => return,
        };
        wake_all(next);
    }
}

/// A wait for the connection itself.
struct Reservation<'a> {
    shared: &'a Shared,
    ticket: Option<u64>,
}

impl Reservation<'_> {
    fn is_granted(&mut self, waker: &Waker) -> bool {
        let mut queue = self.shared.queue();
        let granted = queue.reserve(&mut self.ticket, waker);
        if granted {
            self.ticket = None;
        }
        granted
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            let mut queue = self.shared.queue();
            let next = queue.cancel_reservation(ticket);
            drop(queue);
            wake_all(next);
        }
    }
}

impl From<Connection> for Client {
    fn from(connection: Connection) -> Self {
        let options = connection.options();
        let capacity = usize::from(options.queue.get());
        let queue = if options.timed { Queue::timed(capacity) } else { Queue::new(capacity) };
        let shared = Shared {
            queue: Mutex::new(queue),
            limits: connection.limits(),
            port: connection.port_id(),
            last_sequence: connection.shared_sequence(),
            wire: Mutex::new(Wire {
                connection,
                window: Packet::default(),
                tickets: Vec::new(),
                outcomes: Vec::new(),
                wakers: Vec::new(),
            }),
        };
        Self { shared: Arc::new(shared), checks: options.checks }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("port_id", &self.port_id())
            .field("last_sequence", &self.last_sequence())
            .finish_non_exhaustive()
    }
}

/// Wakes a thread that waits in [`block_on`].
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future on the calling thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local!(static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current()))));
    let mut future = std::pin::pin!(future);
    WAKER.with(|waker| {
        let mut context = Context::from_waker(waker);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_between_threads() {
        fn check<T: Send + Sync + Clone>() {}
        check::<Client>();
    }
}
