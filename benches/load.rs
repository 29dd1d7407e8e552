//! What the harness itself adds to each operation: choosing it, timing it, recording it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use qdiscope::load::{Arrivals, Ramp, Schedule};
use qdiscope::plan::{Load, Workload};
use qdiscope::record::Recorder;
use qdiscope::workload::{Kind, Mix, OperationKind, scene};

fn choose(criterion: &mut Criterion) {
    let workload = Workload {
        kind: Kind::Lifecycle,
        load: Load::Closed { duration: Duration::ZERO },
        workers: 1,
        classes: 1_000,
        weights: Mix::default(),
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
    let hour = Duration::from_hours(1);
    let constant = Schedule::new(1_000.0, hour);
    let poisson = Schedule::staged(Ramp { from: 0.0, to: 2_000.0 }, Arrivals::Poisson, 1, hour);
    for (name, schedule) in [("schedule/due", constant), ("schedule/due, Poisson, ramp", poisson)] {
        let mut dues = schedule.dues();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(dues.next()).or_else(|| {
                    dues = schedule.dues();
                    dues.next()
                })
            });
        });
    }
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
