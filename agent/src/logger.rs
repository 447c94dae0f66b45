//! One line a message on standard error: time, level, text.

use crate::os_clock;
use log::{LevelFilter, Log, Metadata, Record};
use std::io::{self, Write};

/// Prints what this crate says. Libraries stay silent: their words are about their own business.
struct Stderr;

static STDERR: Stderr = Stderr;

/// The module path that all of this crate's messages start with.
const OWN: &str = "edgewatch_agent";

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(OWN)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let time = os_clock::wall().to_rfc3339();
            let level = record.level().as_str().to_lowercase();
            // A journal that is gone or full is no reason to end.
            let _written = writeln!(io::stderr().lock(), "{time} {level} {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// From here on messages up to `level` are printed.
pub fn start(level: LevelFilter) {
    // A second start in one process only changes the level.
    let _started_before = log::set_logger(&STDERR);
    log::set_max_level(level);
}
