//! Asks what need not answer, on a thread of its own: a file system, an engine, a bus, a disk. One that is silent, as a
//! dead server or a broken stick, costs a moment once and is left out until it answers. Everything else goes on.

use crate::collectors::CollectError;
use std::{
    borrow::Borrow,
    fmt::Display,
    io,
    os::unix::net::UnixStream,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, channel, sync_channel},
    thread::{Builder, JoinHandle},
    time::Duration,
};

/// Milliseconds between two questions to what is asked less often than the rest. Its answer is repeated in between, and so
/// is its failure.
pub const ASK_EVERY_MS: i64 = 30_000;
/// How long an answer may take. Reason: a round of readings waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Threads that may wait for who is silent. Reason: each holds memory; where so many are silent, the host is ill.
const SILENT_MAX: usize = 8;
/// Bytes of such a thread's stack. Reason: a few system calls and what is around them.
const STACK_BYTES: usize = 64 << 10;
/// How long a thread waits for a socket, though nobody waits for the thread any more. Reason: a server that has forgotten
/// this one question is asked again at some time, and one that is stopped is not filled with questions.
const SOCKET_PATIENCE: Duration = Duration::from_secs(60);

/// The answer to a question, or why there is none.
pub type Answer<A> = Result<A, CollectError>;

/// Asks questions of one kind, with patience for each.
pub struct Patient<Q: ToOwned + ?Sized, A> {
    ask: fn(&Q) -> Answer<A>,
    patience: Duration,
    worker: Option<Worker<Q::Owned, A>>,
    /// Questions that have not been answered yet, and the threads that wait for that.
    silent: Vec<(Q::Owned, JoinHandle<()>)>,
}

/// A thread that asks one question after the other.
struct Worker<Q, A> {
    questions: SyncSender<Vec<Q>>,
    answers: Receiver<Answer<A>>,
    thread: JoinHandle<()>,
}

impl<Q, A> Patient<Q, A>
where
    Q: ToOwned<Owned: Clone + Send> + Display + PartialEq + ?Sized + 'static,
    A: Send + 'static,
{
    /// Nothing is asked yet, and no thread runs.
    pub const fn new(ask: fn(&Q) -> Answer<A>) -> Self {
        Self::with_patience(ask, PATIENCE)
    }

    /// One whose answers may take longer, or less.
    pub const fn with_patience(ask: fn(&Q) -> Answer<A>, patience: Duration) -> Self {
        Self { ask, patience, worker: None, silent: Vec::new() }
    }

    /// The answers to these questions, in their order.
    pub fn ask(&mut self, questions: &[&Q]) -> Vec<Answer<A>> {
        self.silent.retain(|(_, thread)| !thread.is_finished());
        let mut answers = Vec::new();
        while let Some((question, rest)) = questions.get(answers.len()..).and_then(<[&Q]>::split_first) {
            if self.is_silent(question) {
                answers.push(fault(*question, &"an earlier question has not been answered yet"));
                continue;
            }
            let run = rest.iter().take_while(|question| !self.is_silent(question));
            let run = [question].into_iter().chain(run).map(|question| (*question).to_owned()).collect();
            match self.take_worker() {
                Ok(worker) => self.ask_in_a_row(worker, run, &mut answers),
                Err(error) => answers.push(fault(*question, &error)),
            }
        }
        answers
    }

    /// The answer to this question.
    pub fn ask_one(&mut self, question: &Q) -> Answer<A> {
        self.ask(&[question]).pop().unwrap_or_else(|| fault(question, &"nobody asks"))
    }

    fn is_silent(&self, question: &Q) -> bool {
        self.silent.iter().any(|(silent, _)| silent.borrow() == question)
    }

    /// Adds the answers to these questions, as far as the first one that stays without.
    fn ask_in_a_row(
        &mut self,
        worker: Worker<Q::Owned, A>,
        questions: Vec<Q::Owned>,
        answers: &mut Vec<Answer<A>>,
    ) {
        // A thread that is gone does not answer either.
        let _asked = worker.questions.try_send(questions.clone());
        for question in questions {
            match worker.answers.recv_timeout(self.patience) {
                Ok(answer) => answers.push(answer),
                Err(_) => {
                    answers.push(fault(question.borrow(), &"it does not answer"));
                    // Nobody listens to the thread any more: with its answer it ends.
                    self.silent.push((question, worker.thread));
                    return;
                }
            }
        }
        self.worker = Some(worker);
    }

    fn take_worker(&mut self) -> io::Result<Worker<Q::Owned, A>> {
        match self.worker.take() {
            Some(worker) => Ok(worker),
            None if self.silent.len() < SILENT_MAX => start(self.ask),
            None => Err(io::Error::other("too many others do not answer")),
        }
    }
}

fn fault<Q: Display + ?Sized, A>(question: &Q, why: &dyn Display) -> Answer<A> {
    Err(CollectError::unreadable(&question.to_string(), why))
}

fn start<Q, A>(ask: fn(&Q) -> Answer<A>) -> io::Result<Worker<Q::Owned, A>>
where
    Q: ToOwned<Owned: Send> + ?Sized + 'static,
    A: Send + 'static,
{
    let (questions, asked) = sync_channel::<Vec<Q::Owned>>(1);
    // Without a bound, so that a row of answers is one change of threads.
    let (tell, answers) = channel();
    let work = move || {
        while let Ok(questions) = asked.recv() {
            for question in questions {
                if tell.send(ask(question.borrow())).is_err() {
                    return;
                }
            }
        }
    };
    let thread = Builder::new().name("patient".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
    Ok(Worker { questions, answers, thread })
}

/// A connection for such a thread. To connect alone can take for ever, where nobody accepts.
pub fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SOCKET_PATIENCE))?;
    stream.set_write_timeout(Some(SOCKET_PATIENCE))?;
    Ok(stream)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::{
        os::unix::net::UnixListener,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    /// For who answers; no test waits as long.
    pub const LONG: Duration = Duration::from_secs(3_600);
    const SHORT: Duration = Duration::from_millis(1);

    /// A socket as that of a server which was stopped: its queue is full, so that to connect takes for ever.
    pub fn stuck_socket(socket: &Path) -> (UnixListener, UnixStream) {
        let listener = UnixListener::bind(socket).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let waiting = UnixStream::connect(socket).unwrap();
        (listener, waiting)
    }

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
        let mut patient = Patient::with_patience(never, LONG);
        assert_eq!(told(&patient.ask(&["/a", "/bb"])), [Some(2), Some(3)]);
        patient.patience = SHORT;
        let answers = patient.ask(&["/dead"]);
        let error = answers[0].as_ref().unwrap_err().to_string();
        assert!(error.contains("/dead") && error.contains("does not answer"), "{error}");
        // An hour of patience is not spent: the thread is known to wait.
        patient.patience = LONG;
        let answers = patient.ask(&["/a", "/dead", "/bb", "/ccc"]);
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
        let mut patient = Patient::with_patience(sleepy, SHORT);
        assert_eq!(told(&patient.ask(&["/sleepy"])), [None]);
        patient.patience = LONG;
        assert_eq!(told(&patient.ask(&["/sleepy"])), [None]);
        IS_AWAKE.store(true, Ordering::SeqCst);
        while !patient.silent[0].1.is_finished() {
            thread::yield_now();
        }
        assert_eq!(told(&patient.ask(&["/sleepy", "/a"])), [Some(7), Some(2)]);
        assert!(patient.silent.is_empty());
    }

    #[test]
    fn threads_that_wait_have_an_end() {
        let mut patient = Patient::with_patience(never, SHORT);
        let dead: Vec<String> = (0..=SILENT_MAX).map(|number| format!("/dead{number}")).collect();
        let dead: Vec<&str> = dead.iter().map(String::as_str).collect();
        let answers = patient.ask(&dead);
        assert_eq!((told(&answers), patient.silent.len()), (vec![None; SILENT_MAX + 1], SILENT_MAX));
        let error = answers[SILENT_MAX].as_ref().unwrap_err().to_string();
        assert!(error.contains("too many"), "{error}");
    }
}
