//! What qdiscope was at, step by step: `tracing` spans, by the clock of the kernel's events.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;
use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The target of a step's span.
pub const STEP: &str = "qdiscope::step";

/// Steps that are kept. A run has a few dozen, and five for each fill of `htb-class`.
const MOST: usize = 10_000;

/// `spans.json`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    /// In the order in which they ended.
    pub spans: Vec<Span>,
    /// How many more there were than are kept.
    pub dropped: u64,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// What was done.
    pub name: String,
    /// ns of `CLOCK_MONOTONIC`, as in kernel traces.
    pub begin_ns: u64,
    /// ns of `CLOCK_MONOTONIC`.
    pub end_ns: u64,
    /// The process and the thread, as numbered in its PID namespace.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The thread's name, where it has one.
    pub thread: Option<String>,
    /// With what.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

/// Keeps the spans of target [`STEP`]; a layer for a subscriber, and a handle to what it has.
///
/// For a step, not for a request: a request's own moments are kept by [`crate::attribution`], at a tenth of what a span costs.
#[derive(Debug, Clone, Default)]
pub struct SpanRecorder(Arc<Mutex<Spans>>);

impl SpanRecorder {
    /// Takes what ended until now.
    pub fn take(&self) -> Spans {
        std::mem::take(&mut *self.lock())
    }

    /// Whether a span is a step.
    pub fn wants(metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target() == STEP
    }

    fn lock(&self) -> MutexGuard<'_, Spans> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a step when it begins.
struct Begun {
    at: Option<u64>,
    fields: BTreeMap<String, String>,
}

impl<S: Subscriber + for<'lookup> LookupSpan<'lookup>> Layer<S> for SpanRecorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields(BTreeMap::new());
        attributes.record(&mut fields);
        span.extensions_mut().insert(Begun { at: now(), fields: fields.0 });
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(Begun { at: Some(begin_ns), fields }) = span.extensions_mut().remove::<Begun>() else {
            return;
        };
        let Some(end_ns) = now() else { return };
        let mut spans = self.lock();
        if spans.spans.len() == MOST {
            spans.dropped += 1;
            return;
        }
        spans.spans.push(Span {
            name: span.name().to_owned(),
            begin_ns,
            end_ns,
            pid: std::process::id(),
            tid: gettid().as_raw().unsigned_abs(),
            thread: std::thread::current().name().map(str::to_owned),
            fields,
        });
    }
}

struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

fn now() -> Option<u64> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?);
    u64::try_from(now.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use tracing::{info, info_span};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn steps_are_kept_with_the_kernels_clock_and_nothing_else_is() {
        let recorder = SpanRecorder::default();
        let subscriber = tracing_subscriber::registry()
            .with(recorder.clone().with_filter(tracing_subscriber::filter::filter_fn(SpanRecorder::wants)));
        let before = now().unwrap();
        tracing::subscriber::with_default(subscriber, || {
            info_span!(target: STEP, "round", number = 3, workload = "htb-class").in_scope(|| {
                info_span!(target: STEP, "warm-up").in_scope(|| info!("no step"));
                info_span!("another's").in_scope(|| {});
            });
        });
        let after = now().unwrap();
        let spans = recorder.take();
        let names: Vec<_> = spans.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!((names.as_slice(), spans.dropped), (["warm-up", "round"].as_slice(), 0));
        let [warm_up, round] = spans.spans.as_slice() else { unreachable!("two") };
        let moments = [before, round.begin_ns, warm_up.begin_ns, warm_up.end_ns, round.end_ns, after];
        assert!(moments.is_sorted(), "{moments:?}");
        assert_eq!(
            round.fields,
            [("number", "3"), ("workload", "htb-class")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
        );
        assert_eq!(recorder.take(), Spans::default());
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let recorder = SpanRecorder::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(recorder.clone()), || {
            for _ in 0..MOST + 3 {
                drop(info_span!(target: STEP, "step"));
            }
        });
        let spans = recorder.take();
        assert_eq!((spans.spans.len(), spans.dropped), (MOST, 3));
    }
}
