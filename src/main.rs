//! The program: hands its arguments to the command line and ends with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    waymesh::app::main(std::env::args_os())
}
