//! A device that goes away: `ip link del`, by the index that the run knows it by.

use std::io;

use tokio::runtime::Builder;

/// Deletes the device in the calling thread's network namespace, and with a veth its peer.
pub fn delete(index: u32) -> io::Result<()> {
    // On a runtime of its own: the run's may be busy, which is when devices go.
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        let deleted = handle.link().del(index).execute().await;
        drop(handle);
        connection.abort();
        deleted.map_err(|error| match error {
            rtnetlink::Error::NetlinkError(refused) => refused.to_io(),
            other => io::Error::other(other),
        })
    })
}
