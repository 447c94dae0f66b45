//! The real agent, as a process.

use crate::deadline::eventually;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use xtask::build::Program;

/// The settings of one agent, which sees nothing else of our environment.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    state_dir: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl AgentSettings {
    /// An agent that keeps its credentials in `state_dir`.
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned(), variables: Vec::new() }
    }

    /// Where its credentials lie.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// With an environment variable.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// Runs a command to its end.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().expect("the agent starts")
    }

    /// Starts `run`.
    pub fn run(&self) -> AgentProcess {
        let mut command = self.command(&["run"]);
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the agent starts");
        let stderr = child.stderr.take().expect("its standard error is piped");
        let log: Arc<Mutex<String>> = Arc::default();
        let copy = Arc::clone(&log);
        let copier = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("agent: {line}");
                let mut log = copy.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        AgentProcess { child, log, copier: Some(copier) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = Program::Agent.built().unwrap_or_else(|error| panic!("{error:#}"));
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("EDGEWATCH_STATE_DIR", &self.state_dir);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running agent. Dropping it kills it.
pub struct AgentProcess {
    child: Child,
    log: Arc<Mutex<String>>,
    copier: Option<thread::JoinHandle<()>>,
}

impl AgentProcess {
    /// What it has said so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many readings it has frozen, as it says at log level `debug`.
    pub fn frozen(&self) -> u64 {
        let log = self.log();
        let told = log.lines().filter_map(|line| line.split_once("readings ")?.1.strip_suffix(" are frozen"));
        let counted = told.filter_map(|range| {
            let (first, last) = range.split_once(" to ")?;
            Some(last.parse::<u64>().ok()? - first.parse::<u64>().ok()? + 1)
        });
        counted.sum()
    }

    /// Ends it at once, as a host does that loses its power, and says how many readings it has frozen.
    pub fn kill(mut self) -> u64 {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it is our child");
        if let Some(copier) = self.copier.take() {
            copier.join().expect("copying a log does not panic");
        }
        self.frozen()
    }

    /// Waits until it has said something that contains `text`.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str, within: Duration) {
        eventually(&format!("the agent says {text:?}"), within, || self.log().contains(text).then_some(()));
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM and waits for the end; everything it has said is in the log then.
    #[track_caller]
    pub fn terminate(&mut self, within: Duration) -> ExitStatus {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process has an id");
        kill_process(pid, Signal::TERM).expect("it has not been waited for");
        let status = eventually("the agent ends", within, || self.child.try_wait().expect("it is our child"));
        if let Some(copier) = self.copier.take() {
            copier.join().expect("copying a log does not panic");
        }
        status
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
