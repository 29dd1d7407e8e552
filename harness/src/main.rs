//! `qdiscope`: see the library.

use qdiscope::profile::heap::SampledAllocator;

/// The system's, unless `bench --heap` looks.
#[global_allocator]
static ALLOCATOR: SampledAllocator = SampledAllocator;

fn main() -> std::process::ExitCode {
    qdiscope::cli::main()
}
