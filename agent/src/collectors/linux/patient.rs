//! Asks what need not answer, on a thread of its own: a file system, an engine, a bus, a disk. One that is silent, as a
//! dead server or a broken stick, costs a moment once and is left out until it answers. Everything else goes on.

use crate::collectors::CollectError;
use std::{
    borrow::Borrow,
    fmt::Display,
    io,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
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
pub struct Patient<A, Q: ToOwned + ?Sized = str> {
    ask: fn(&Q) -> Answer<A>,
    threads: Threads,
}

impl<A, Q> Patient<A, Q>
where
    A: Send + 'static,
    Q: ToOwned<Owned: Send + Sync> + Display + ?Sized + 'static,
{
    /// Nothing is asked yet, and no thread runs.
    pub const fn new(ask: fn(&Q) -> Answer<A>) -> Self {
        Self::with_patience(ask, PATIENCE)
    }

    /// One whose answers may take longer, or less.
    pub const fn with_patience(ask: fn(&Q) -> Answer<A>, patience: Duration) -> Self {
        Self { ask, threads: Threads { patience, worker: None, silent: Vec::new() } }
    }

    /// The answers to these questions, in their order.
    pub fn ask(&mut self, questions: &[&Q]) -> Vec<Answer<A>> {
        let asked = |question: &&Q| {
            Arc::new(Asked { ask: self.ask, question: (*question).to_owned(), answer: Mutex::new(None) })
        };
        let asked: Vec<Arc<Asked<A, Q>>> = questions.iter().map(asked).collect();
        let tasks: Vec<Task> = asked.iter().map(|asked| Arc::clone(asked) as Task).collect();
        let outcomes = self.threads.run(&tasks).into_iter();
        outcomes.zip(asked).map(|(outcome, asked)| outcome.and_then(|()| asked.take())).collect()
    }

    /// The answer to this question.
    pub fn ask_one(&mut self, question: &Q) -> Answer<A> {
        self.ask(&[question]).pop().unwrap_or_else(|| Err(fault(question, &"nobody asks")))
    }
}

/// A question, and the place for its answer.
struct Asked<A, Q: ToOwned + ?Sized> {
    ask: fn(&Q) -> Answer<A>,
    question: Q::Owned,
    answer: Mutex<Option<Answer<A>>>,
}

impl<A, Q: ToOwned + Display + ?Sized> Asked<A, Q> {
    fn place(&self) -> MutexGuard<'_, Option<Answer<A>>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Answer<A> {
        self.place().take().unwrap_or_else(|| Err(fault(self.question.borrow(), &"it was not asked")))
    }
}

/// A question without its kind: what follows is compiled once for all.
trait Ask: Send + Sync {
    fn ask(&self);
    fn name(&self) -> String;
}

type Task = Arc<dyn Ask>;

impl<A: Send, Q: ToOwned<Owned: Send + Sync> + Display + ?Sized> Ask for Asked<A, Q> {
    fn ask(&self) {
        let answer = (self.ask)(self.question.borrow());
        *self.place() = Some(answer);
    }

    fn name(&self) -> String {
        self.question.borrow().to_string()
    }
}

/// The threads of one kind of questions.
struct Threads {
    patience: Duration,
    worker: Option<Worker>,
    /// Questions that have not been answered yet, and the threads that wait for that.
    silent: Vec<(String, JoinHandle<()>)>,
}

/// A thread that asks one question after the other, and tells after each.
struct Worker {
    tasks: Sender<Vec<Task>>,
    asked: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Threads {
    /// Whether each of these was answered.
    fn run(&mut self, tasks: &[Task]) -> Vec<Answer<()>> {
        self.silent.retain(|(_, thread)| !thread.is_finished());
        let mut outcomes = Vec::new();
        while let Some((task, rest)) = tasks.get(outcomes.len()..).and_then(<[Task]>::split_first) {
            if self.is_silent(task) {
                outcomes.push(Err(fault(&task.name(), &"an earlier question has not been answered yet")));
                continue;
            }
            let row = rest.iter().take_while(|task| !self.is_silent(task));
            let row: Vec<Task> = [task].into_iter().chain(row).map(Arc::clone).collect();
            match self.take_worker() {
                Ok(worker) => self.run_row(worker, row, &mut outcomes),
                Err(error) => outcomes.push(Err(fault(&task.name(), &error))),
            }
        }
        outcomes
    }

    fn is_silent(&self, task: &Task) -> bool {
        self.silent.iter().any(|(silent, _)| *silent == task.name())
    }

    /// Adds whether these were answered, as far as the first one that was not.
    fn run_row(&mut self, worker: Worker, row: Vec<Task>, outcomes: &mut Vec<Answer<()>>) {
        // A thread that is gone does not answer either.
        let _sent = worker.tasks.send(row.clone());
        for task in row {
            if worker.asked.recv_timeout(self.patience).is_err() {
                outcomes.push(Err(fault(&task.name(), &"it does not answer")));
                // Nobody listens to the thread any more: with its answer it ends.
                self.silent.push((task.name(), worker.thread));
                return;
            }
            outcomes.push(Ok(()));
        }
        self.worker = Some(worker);
    }

    fn take_worker(&mut self) -> io::Result<Worker> {
        match self.worker.take() {
            Some(worker) => Ok(worker),
            None if self.silent.len() < SILENT_MAX => start(),
            None => Err(io::Error::other("too many others do not answer")),
        }
    }
}

fn fault<Q: Display + ?Sized>(question: &Q, why: &dyn Display) -> CollectError {
    CollectError::unreadable(&question.to_string(), why)
}

fn start() -> io::Result<Worker> {
    let (tasks, rows) = channel::<Vec<Task>>();
    // Without a bound, so that a row of answers is one change of threads.
    let (tell, asked) = channel();
    let work = move || {
        for task in rows.into_iter().flatten() {
            task.ask();
            if tell.send(()).is_err() {
                return;
            }
        }
    };
    let thread = Builder::new().name("patient".to_owned()).stack_size(STACK_BYTES).spawn(work)?;
    Ok(Worker { tasks, asked, thread })
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
        patient.threads.patience = SHORT;
        let answers = patient.ask(&["/dead"]);
        let error = answers[0].as_ref().unwrap_err().to_string();
        assert!(error.contains("/dead") && error.contains("does not answer"), "{error}");
        // An hour of patience is not spent: the thread is known to wait.
        patient.threads.patience = LONG;
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
        patient.threads.patience = LONG;
        assert_eq!(told(&patient.ask(&["/sleepy"])), [None]);
        IS_AWAKE.store(true, Ordering::SeqCst);
        while !patient.threads.silent[0].1.is_finished() {
            thread::yield_now();
        }
        assert_eq!(told(&patient.ask(&["/sleepy", "/a"])), [Some(7), Some(2)]);
        assert!(patient.threads.silent.is_empty());
    }

    #[test]
    fn threads_that_wait_have_an_end() {
        let mut patient = Patient::with_patience(never, SHORT);
        let dead: Vec<String> = (0..=SILENT_MAX).map(|number| format!("/dead{number}")).collect();
        let dead: Vec<&str> = dead.iter().map(String::as_str).collect();
        let answers = patient.ask(&dead);
        assert_eq!((told(&answers), patient.threads.silent.len()), (vec![None; SILENT_MAX + 1], SILENT_MAX));
        let error = answers[SILENT_MAX].as_ref().unwrap_err().to_string();
        assert!(error.contains("too many"), "{error}");
    }
}
