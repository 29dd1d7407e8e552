//! What a request costs on its way into a packet, alone and among others, and that nothing is allocated for it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tc_adapter::{Handle, HtbClass, Packet, Rate, Request};

/// Counts.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn changes(count: u16) -> Vec<Request> {
    let class = HtbClass::new(Rate::from_bits_per_second(10_000_000).expect("above 8 bit/s"));
    let change = |minor| Request::ChangeClass {
        device: 7,
        parent: Handle::UNSPEC,
        classid: Handle::new(1, minor),
        class: class.clone(),
    };
    (1..=count).map(change).collect()
}

fn pack(criterion: &mut Criterion) {
    const ROUNDS: u64 = 1_000;
    let mut group = criterion.benchmark_group("pack");
    for count in [1, 8, 64, 256] {
        let requests = changes(count);
        let mut packet = Packet::default();
        packet.pack(&requests, 1, 2);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..ROUNDS {
            black_box(packet.pack(black_box(&requests), 1, 2));
        }
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert_eq!(allocations, 0, "in {ROUNDS} packets of {count}, once the buffers have grown");
        println!("pack/{count}: 0 allocations in {ROUNDS} packets");
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_with_input(BenchmarkId::from_parameter(count), &requests, |bencher, requests| {
            bencher.iter(|| black_box(packet.pack(black_box(requests), 1, 2)).len());
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = qdiscope_benches::criterion();
    targets = pack
}
criterion_main!(benches);
