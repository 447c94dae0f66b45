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
    time::{Duration, Instant},
};

/// Exit code of an agent that was told to stop twice.
const IMPATIENT: i32 = 1;

/// How often to look whether somebody asked. Reason: nobody notices a quarter of a second.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the agent is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// To end.
    Stop,
    /// To read its configuration anew: nobody can say so here.
    Reload,
    /// By itself: there is news of its pushes.
    News,
}

/// The signals, caught.
#[derive(Debug)]
pub struct Signals {
    stop: Arc<AtomicBool>,
    news: Arc<AtomicBool>,
}

/// Wakes the thread that waits for signals.
#[derive(Debug)]
pub struct Waker(Arc<AtomicBool>);

impl Signals {
    /// Catches both signals from now on.
    pub fn catch() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the flag is still down when the first signal looks at it.
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self { stop, news: Arc::new(AtomicBool::new(false)) })
    }

    /// What somebody else wakes the waiting thread with.
    pub fn waker(&self) -> io::Result<Waker> {
        Ok(Waker(Arc::clone(&self.news)))
    }

    /// Waits for the next thing that is told, at most for so long.
    pub fn wait(&mut self, at_most: Option<Duration>) -> Option<Told> {
        let start = Instant::now();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Some(Told::Stop);
            }
            if self.news.swap(false, Ordering::Relaxed) {
                return Some(Told::News);
            }
            if at_most.is_some_and(|at_most| start.elapsed() >= at_most) {
                return None;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Waker {
    /// There is news.
    pub fn wake(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
