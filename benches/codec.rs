//! What a request costs before the kernel sees it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tc_adapter::{Handle, HtbClass, HtbQdisc, Rate, Request};

fn requests() -> Vec<(&'static str, Request)> {
    let device = 7;
    let parent = Handle::qdisc(1);
    let classid = Handle::new(1, 0x10);
    let rate = |bits| Rate::from_bits_per_second(bits).expect("above 8 bit/s");
    vec![
        (
            "qdisc add",
            Request::AddQdisc { device, parent: Handle::ROOT, handle: parent, qdisc: HtbQdisc::new().into() },
        ),
        ("class add", Request::AddClass { device, parent, classid, class: HtbClass::new(rate(10_000_000)) }),
        (
            "class add, 64-bit rate",
            Request::AddClass { device, parent, classid, class: HtbClass::new(rate(40_000_000_000)) },
        ),
        ("class get", Request::GetClass { device, classid }),
        ("class delete", Request::DeleteClass { device, classid }),
    ]
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(1));
    let mut buffer = Vec::with_capacity(256);
    for (name, request) in requests() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                black_box(&request).encode(1, 2, &mut buffer);
                black_box(&buffer);
            });
        });
    }
    group.finish();
}

fn parse(criterion: &mut Criterion) {
    criterion.bench_function("parse/rate 10mbit", |bencher| {
        bencher.iter(|| black_box("10mbit").parse::<Rate>());
    });
    criterion.bench_function("parse/handle 1:10", |bencher| {
        bencher.iter(|| black_box("1:10").parse::<Handle>());
    });
}

criterion_group! {
    name = benches;
    config = qdiscope_benches::criterion();
    targets = encode, parse
}
criterion_main!(benches);
