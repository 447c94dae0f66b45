//! SIGTERM and SIGINT: the first asks the agent to stop, the second ends it at once.

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::pipe,
};
use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{Arc, atomic::AtomicBool},
};

/// Exit code of an agent that was told to stop twice.
const IMPATIENT: i32 = 1;

/// The signals, caught.
#[derive(Debug)]
pub struct Signals(UnixStream);

impl Signals {
    /// Catches both signals from now on.
    pub fn catch() -> io::Result<Self> {
        let told_before = Arc::new(AtomicBool::new(false));
        let (read, write) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT] {
            // In this order: the flag is still down when the first signal looks at it.
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&told_before))?;
            flag::register(signal, Arc::clone(&told_before))?;
            pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self(read))
    }

    /// Waits for the first signal.
    pub fn wait(mut self) {
        let mut byte = [0];
        // The other end is never closed, so this ends with a signal or with a fault that is reason enough to stop.
        let _told = self.0.read_exact(&mut byte);
    }
}
