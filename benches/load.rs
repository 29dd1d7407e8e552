//! What the harness itself adds to each operation: choosing it, timing it, recording it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qdiscope::load::Schedule;
use qdiscope::plan::{Load, Workload};
use qdiscope::record::Recorder;
use qdiscope::workload::{Kind, OperationKind, Weights, scene};

fn choose(criterion: &mut Criterion) {
    let workload = Workload {
        kind: Kind::Lifecycle,
        load: Load::Closed { duration: Duration::ZERO },
        workers: 1,
        classes: 1_000,
        weights: Weights::default(),
    };
    let mut source = scene(&workload, &[1, 2, 3], 1, 0).sources.remove(0);
    let mut group = criterion.benchmark_group("workload");
    group.throughput(Throughput::Elements(1));
    group.bench_function("lifecycle operation", |bencher| {
        bencher.iter(|| {
            let operation = source.next();
            source.settle(true);
            operation
        });
    });
    group.finish();
}

fn time(criterion: &mut Criterion) {
    let schedule = Schedule::new(1_000.0, Duration::from_secs(3_600));
    let mut index = 0;
    criterion.bench_function("schedule/due", |bencher| {
        bencher.iter(|| {
            index = (index + 1) % schedule.count();
            schedule.due(black_box(index))
        });
    });
}

fn record(criterion: &mut Criterion) {
    let start = Instant::now();
    let recorder = Recorder::new(1, start);
    let mut group = criterion.benchmark_group("record");
    group.throughput(Throughput::Elements(1));
    group.bench_function("success", |bencher| {
        bencher.iter(|| {
            recorder.succeeded(0, OperationKind::ClassChange, black_box(Duration::from_micros(80)), start);
        });
    });
    group.bench_function("interval of one worker", |bencher| bencher.iter(|| recorder.take_interval()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = qdiscope_benches::criterion();
    targets = choose, time, record
}
criterion_main!(benches);
