//! Says that the adapter was slowed down on purpose.

use std::io::{self, Write as _};

use tc_adapter::fault::{DELAY_VARIABLE, delay};

/// A line on stderr where a delay is asked for. One that is none is an error of whoever opens a connection.
pub(super) fn warn() {
    if let Ok(Some(delay)) = delay() {
        let _ = writeln!(
            io::stderr(),
            "qdiscope: {DELAY_VARIABLE}: each packet to the kernel is held up for {} ns, so that the figures are not tc-adapter's own",
            delay.as_nanos()
        );
    }
}
