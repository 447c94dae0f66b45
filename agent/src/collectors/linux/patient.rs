//! Asks file systems how full they are, on a thread of its own: one that does not answer, as a dead server's or a broken
//! stick's, costs a moment once and is left out until it does. Everything else goes on.

use crate::collectors::CollectError;
use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{Builder, JoinHandle},
    time::Duration,
};

/// How long a file system may take to answer. Reason: a round of readings waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Threads that may wait for silent file systems. Reason: each holds memory; where so many are silent, the host is ill.
const SILENT_MAX: usize = 8;
/// Bytes of such a thread's stack. Reason: one system call and what is around it.
const STACK_BYTES: usize = 64 << 10;

/// What was asked of a path, or why there is no answer.
pub type Answer<T> = Result<T, CollectError>;

/// Asks one thing of paths, with patience for each.
pub struct Patient<T> {
    ask: fn(&str) -> Answer<T>,
    worker: Option<Worker<T>>,
    /// Paths that have not answered yet, and the threads that wait for them.
    silent: Vec<(String, JoinHandle<()>)>,
}

/// A thread that asks one path after the other.
struct Worker<T> {
    paths: SyncSender<Vec<String>>,
    answers: Receiver<Answer<T>>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Patient<T> {
    /// Nothing is asked yet, and no thread runs.
    pub fn new(ask: fn(&str) -> Answer<T>) -> Self {
        Self { ask, worker: None, silent: Vec::new() }
    }

    /// The answers of these paths, in their order.
    pub fn ask(&mut self, paths: &[&str]) -> Vec<Answer<T>> {
        self.ask_within(PATIENCE, paths)
    }

    fn ask_within(&mut self, patience: Duration, paths: &[&str]) -> Vec<Answer<T>> {
        self.silent.retain(|(_, thread)| !thread.is_finished());
        let mut answers = Vec::new();
        while let Some((path, rest)) = paths.get(answers.len()..).and_then(<[&str]>::split_first) {
            if self.is_silent(path) {
                answers.push(fault(path, &"an earlier question has not been answered yet"));
                continue;
            }
            let run = rest.iter().take_while(|path| !self.is_silent(path));
            let run: Vec<String> = [path].into_iter().chain(run).map(|path| (*path).to_owned()).collect();
            match self.take_worker() {
                Ok(worker) => self.ask_in_a_row(worker, run, patience, &mut answers),
                Err(error) => answers.push(fault(path, &error)),
            }
        }
        answers
    }

    fn is_silent(&self, path: &str) -> bool {
        self.silent.iter().any(|(silent, _)| silent == path)
    }

    /// Adds the answers of these paths, as far as the first one that is silent.
    fn ask_in_a_row(
        &mut self,
        worker: Worker<T>,
        paths: Vec<String>,
        patience: Duration,
        answers: &mut Vec<Answer<T>>,
    ) {
        // A thread that is gone does not answer either.
        let _asked = worker.paths.try_send(paths.clone());
        for path in paths {
            match worker.answers.recv_timeout(patience) {
                Ok(answer) => answers.push(answer),
                Err(_) => {
                    answers.push(fault(&path, &"the file system does not answer"));
                    // Nobody listens to the thread any more: with its answer it ends.
                    self.silent.push((path, worker.thread));
                    return;
                }
            }
        }
        self.worker = Some(worker);
    }

    fn take_worker(&mut self) -> io::Result<Worker<T>> {
        match self.worker.take() {
            Some(worker) => Ok(worker),
            None if self.silent.len() < SILENT_MAX => start(self.ask),
            None => Err(io::Error::other("too many file systems do not answer")),
        }
    }
}

fn fault<T>(path: &str, why: &dyn std::fmt::Display) -> Answer<T> {
    Err(CollectError::unreadable(path, why))
}

fn start<T: Send + 'static>(ask: fn(&str) -> Answer<T>) -> io::Result<Worker<T>> {
    let (paths, asked) = sync_channel::<Vec<String>>(1);
    let (tell, answers) = sync_channel(1);
    let work = move || {
        while let Ok(paths) = asked.recv() {
            for path in paths {
                if tell.send(ask(&path)).is_err() {
                    return;
                }
            }
        }
    };
    let thread = Builder::new().name("mounts".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
    Ok(Worker { paths, answers, thread })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    /// For who answers; no test waits as long.
    const LONG: Duration = Duration::from_secs(3_600);
    const SHORT: Duration = Duration::from_millis(1);

    fn never(path: &str) -> Answer<usize> {
        while path.starts_with("/dead") {
            thread::park();
        }
        Ok(path.len())
    }

    fn told(answers: &[Answer<usize>]) -> Vec<Option<usize>> {
        answers.iter().map(|answer| answer.as_ref().ok().copied()).collect()
    }

    #[test]
    fn one_that_never_answers_is_waited_for_once_and_the_others_are_told() {
        let mut patient = Patient::new(never);
        assert_eq!(told(&patient.ask_within(LONG, &["/a", "/bb"])), [Some(2), Some(3)]);
        let answers = patient.ask_within(SHORT, &["/dead"]);
        let error = answers[0].as_ref().unwrap_err().to_string();
        assert!(error.contains("/dead") && error.contains("does not answer"), "{error}");
        // An hour of patience is not spent: the thread is known to wait.
        let answers = patient.ask_within(LONG, &["/a", "/dead", "/bb", "/ccc"]);
        assert_eq!(told(&answers), [Some(2), None, Some(3), Some(4)]);
        let error = answers[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("not been answered yet"), "{error}");
    }

    #[test]
    fn one_that_answers_at_last_is_told_again() {
        static IS_AWAKE: AtomicBool = AtomicBool::new(false);
        let sleepy = |path: &str| {
            while path == "/sleepy" && !IS_AWAKE.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            Ok(path.len())
        };
        let mut patient = Patient::new(sleepy);
        assert_eq!(told(&patient.ask_within(SHORT, &["/sleepy"])), [None]);
        assert_eq!(told(&patient.ask_within(LONG, &["/sleepy"])), [None]);
        IS_AWAKE.store(true, Ordering::SeqCst);
        while !patient.silent[0].1.is_finished() {
            thread::yield_now();
        }
        assert_eq!(told(&patient.ask_within(LONG, &["/sleepy", "/a"])), [Some(7), Some(2)]);
        assert!(patient.silent.is_empty());
    }

    #[test]
    fn threads_that_wait_have_an_end() {
        let mut patient = Patient::new(never);
        let dead: Vec<String> = (0..=SILENT_MAX).map(|number| format!("/dead{number}")).collect();
        let dead: Vec<&str> = dead.iter().map(String::as_str).collect();
        let answers = patient.ask_within(SHORT, &dead);
        assert_eq!((told(&answers), patient.silent.len()), (vec![None; SILENT_MAX + 1], SILENT_MAX));
        let error = answers[SILENT_MAX].as_ref().unwrap_err().to_string();
        assert!(error.contains("too many"), "{error}");
    }
}
