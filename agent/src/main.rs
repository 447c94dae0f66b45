//! The binary: everything it does is in the library.

use std::process::ExitCode;

/// What the static program asks for memory: musl's own allocator maps and unmaps pages at every round of readings, which is a
/// quarter of the processor time.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    edgewatch_agent::command::main(std::env::args_os().skip(1))
}
