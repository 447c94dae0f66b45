//! Ctrl-C where signals cannot be waited for: the first asks the agent to stop, the second ends it at once.

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Exit code of an agent that was told to stop twice.
const IMPATIENT: i32 = 1;

/// How often to look whether somebody asked. Reason: nobody notices a quarter of a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The signals, caught.
#[derive(Debug)]
pub struct Signals(Arc<AtomicBool>);

impl Signals {
    /// Catches both signals from now on.
    pub fn catch() -> io::Result<Self> {
        let told = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the flag is still down when the first signal looks at it.
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&told))?;
            flag::register(signal, Arc::clone(&told))?;
        }
        Ok(Self(told))
    }

    /// Waits for the first signal.
    pub fn wait(self) {
        while !self.0.load(Ordering::Relaxed) {
            thread::sleep(LOOK_EVERY);
        }
    }
}
