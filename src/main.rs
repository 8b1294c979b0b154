//! The program: hands its arguments to the command line and ends with its exit code.

use std::process::ExitCode;

/// A chunk of a vehicle is eleven small pieces of memory, some freed on another thread. When it gives back
/// what is free stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    waymesh::app::main(std::env::args_os())
}
