//! A TCP connection through the pair that sends as much as it can.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use libtest_mimic::Failed;

use crate::pair::{Pair, far_address};

/// Bytes of data in a full frame: the MTU less the headers of IPv4 and of TCP with timestamps.
const SEGMENT: f64 = 1500.0 - 20.0 - 32.0;
/// Bytes of a full frame as a qdisc counts it: with the Ethernet header, without preamble and checksum.
const FRAME: f64 = 1514.0;

/// Bytes handed over at once.
const CHUNK: usize = 64 * 1024;

/// Sends from the near to the far end until it is dropped.
pub(crate) struct Flow {
    /// Both ends, to be shut down from here.
    ends: [TcpStream; 2],
    threads: Vec<JoinHandle<()>>,
    received: Arc<AtomicU64>,
}

impl Flow {
    /// Connects to a port of the far end and starts sending.
    pub(crate) fn start(pair: &Pair, port: u16) -> Result<Self, Failed> {
        let listener = pair.listen(port)?;
        let near_end = TcpStream::connect(far_address(port))?;
        let (far_end, _) = listener.accept()?;
        let ends = [near_end.try_clone()?, far_end.try_clone()?];
        let received = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&received);
        let threads = vec![
            thread::Builder::new().name("sender".into()).spawn(move || send(near_end))?,
            thread::Builder::new().name("receiver".into()).spawn(move || receive(far_end, &counter))?,
        ];
        Ok(Self { ends, threads, received })
    }

    /// Bytes of data that arrived so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        for end in &self.ends {
            // It may be shut down already, from the other side.
            let _ = end.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Ends when the connection does.
fn send(mut stream: TcpStream) {
    let data = vec![0; CHUNK];
    while stream.write_all(&data).is_ok() {}
}

fn receive(mut stream: TcpStream, counter: &AtomicU64) {
    let mut data = vec![0; CHUNK];
    loop {
        match stream.read(&mut data) {
            Ok(0) => return,
            Ok(count) => _ = counter.fetch_add(count as u64, Ordering::Relaxed),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// What a qdisc counted for so many bytes of data.
pub(crate) fn as_counted(data: u64) -> f64 {
    data as f64 * FRAME / SEGMENT
}
