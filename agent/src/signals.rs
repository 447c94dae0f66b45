//! Signals: SIGTERM and SIGINT ask the agent to stop, and end it at once the second time; SIGHUP has it read its
//! configuration anew. The thread that waits for them is also woken by others, for what it does beside.

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
    low_level::pipe,
};
use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Exit code of an agent that was told to stop twice.
const IMPATIENT: i32 = 1;

/// What the agent is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// To end.
    Stop,
    /// To read its configuration anew.
    Reload,
    /// By itself: there is news of its pushes.
    News,
}

/// The signals, caught.
#[derive(Debug)]
pub struct Signals {
    wakes: UnixStream,
    waking: UnixStream,
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

/// Wakes the thread that waits for signals.
#[derive(Debug)]
pub struct Waker(UnixStream);

impl Signals {
    /// Catches the signals from now on.
    pub fn catch() -> io::Result<Self> {
        let (stop, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (wakes, waking) = UnixStream::pair()?;
        waking.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT] {
            // In this order: the flag is still down when the first signal looks at it.
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
            pipe::register(signal, waking.try_clone()?)?;
        }
        flag::register(SIGHUP, Arc::clone(&reload))?;
        pipe::register(SIGHUP, waking.try_clone()?)?;
        Ok(Self { wakes, waking, stop, reload })
    }

    /// What somebody else wakes the waiting thread with.
    pub fn waker(&self) -> io::Result<Waker> {
        self.waking.try_clone().map(Waker)
    }

    /// Waits for the next thing that is told, at most for so long.
    pub fn wait(&mut self, at_most: Option<Duration>) -> Option<Told> {
        // No wait at all is no timeout that a socket knows.
        let timeout = at_most.map(|wait| wait.max(Duration::from_millis(1)));
        let woken = self.wakes.set_read_timeout(timeout).and_then(|()| self.wakes.read_exact(&mut [0]));
        match woken {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => None,
            // The other end is never closed: any other fault is reason enough to stop.
            Err(_) => Some(Told::Stop),
            Ok(()) if self.stop.load(Ordering::Relaxed) => Some(Told::Stop),
            Ok(()) if self.reload.swap(false, Ordering::Relaxed) => Some(Told::Reload),
            Ok(()) => Some(Told::News),
        }
    }
}

impl Waker {
    /// There is news.
    pub fn wake(&self) {
        // Where the pipe is full, it is awake enough.
        let _written = (&self.0).write(&[0]);
    }
}
