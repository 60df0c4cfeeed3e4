//! The `tidegate` program.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Unlike the C library's, it gives memory back that is free; `allocator.rs` in the library says
/// how soon.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    broker::run()
}
