//! What the probes say about themselves, as the `log` crate passes it on.

use std::sync::Mutex;

use libtest_mimic::Failed;
use log::{LevelFilter, Log, Metadata, Record};

struct Kept(Mutex<Vec<String>>);

static KEPT: Kept = Kept(Mutex::new(Vec::new()));

impl Log for Kept {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if let Ok(mut kept) = self.0.lock() {
            kept.push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// Keeps what is logged from now on.
pub(crate) fn keep() {
    // Fails when it is called twice, and then it is done.
    let _ = log::set_logger(&KEPT);
    log::set_max_level(LevelFilter::Info);
}

/// Wants a record that contains `text` among those since the last call that found one, and forgets those before it.
pub(crate) fn expect(text: &str) -> Result<(), Failed> {
    let mut kept = KEPT.0.lock().map_err(|_| "a test panicked while it logged")?;
    let found = kept.iter().position(|record| record.contains(text));
    let Some(index) = found else { return Err(format!("nobody said {text:?}: {kept:?}").into()) };
    kept.drain(..=index);
    Ok(())
}
