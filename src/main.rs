//! The program: hands its arguments to the command line and ends with its exit code.

use std::process::ExitCode;

/// A chunk of a vehicle is eleven small pieces of memory, some freed on another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    waymesh::app::main(std::env::args_os())
}
