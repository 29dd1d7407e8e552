//! A connection shared by tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Mutex;

use crate::connection::{Answer, Connection};
use crate::entry::{ClassEntry, QdiscEntry};
use crate::error::Error;
use crate::request::Request;
use crate::socket::SocketOptions;

/// A traffic-control client for any number of tasks on any runtime; clones share one [`Connection`].
///
/// Requests are carried out one at a time, in the order in which they were asked for. Dropping a future that still
/// waits for its turn sends nothing; once its turn has come, the request is sent and answered within one poll. That
/// poll blocks its thread while the kernel works: microseconds for a change, longer for a dump of many classes or while
/// another process holds RTNL. Where that would starve other tasks, use a [`Connection`] on a thread of its own.
///
/// The order has a price, as with every fair asynchronous mutex: a future that was polled once, and then is kept but
/// neither polled nor dropped, holds up all behind it. Spawn it, await it or drop it.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Arc<Mutex<Connection>>,
    last_sequence: Arc<AtomicU32>,
    port: u32,
}

impl Client {
    /// Opens a socket in the calling thread's network namespace, in which it stays whatever thread uses it later.
    pub fn connect() -> Result<Self, Error> {
        Connection::connect().map(Self::from)
    }

    /// As [`Client::connect`], with other buffers or another deadline.
    pub fn connect_with(options: SocketOptions) -> Result<Self, Error> {
        Connection::connect_with(options).map(Self::from)
    }

    /// See [`Connection::port_id`].
    pub fn port_id(&self) -> u32 {
        self.port
    }

    /// See [`Connection::last_sequence`]; of all clones.
    pub fn last_sequence(&self) -> u32 {
        self.last_sequence.load(Ordering::Acquire)
    }

    /// See [`Connection::request`].
    pub async fn request(&self, request: &Request) -> Result<Answer, Error> {
        self.connection.lock().await.request(request)
    }

    /// See [`Connection::qdiscs`].
    pub async fn qdiscs(&self, device: Option<u32>) -> Result<Vec<QdiscEntry>, Error> {
        self.connection.lock().await.qdiscs(device)
    }

    /// See [`Connection::classes`].
    pub async fn classes(&self, device: u32) -> Result<Vec<ClassEntry>, Error> {
        self.connection.lock().await.classes(device)
    }
}

impl From<Connection> for Client {
    fn from(connection: Connection) -> Self {
        let (last_sequence, port) = (connection.shared_sequence(), connection.port_id());
        Self { connection: Arc::new(Mutex::new(connection)), last_sequence, port }
    }
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
