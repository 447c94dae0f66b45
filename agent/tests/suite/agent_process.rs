//! The agent's binary as a process with a state directory of its own and nothing of this machine's environment.

use super::fake_server::{FakeServer, PATIENCE, host, ring};
use edgewatch_agent::credentials::{Credentials, Prepared};
use edgewatch_shared::keys::Purpose;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Where an agent of these tests lives.
pub struct Home {
    dir: TempDir,
}

impl Home {
    /// A host that was never enrolled.
    pub fn new() -> Self {
        Self { dir: TempDir::new().unwrap() }
    }

    /// An enrolled host of this server.
    pub fn enrolled_at(server: &FakeServer) -> Self {
        Self::enrolled_at_url(&server.url())
    }

    /// An enrolled host of the server that has this URL.
    pub fn enrolled_at_url(url: &str) -> Self {
        let home = Self::new();
        let credentials = Credentials {
            url: url.to_owned(),
            host_id: host(),
            host_key: ring().signing(Purpose::Host(host())).to_text(),
            name: "web-01".into(),
        };
        Prepared::in_dir(&home.state_dir()).unwrap().keep(&credentials).unwrap();
        home
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A file beside the state directory, with this text.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// The files of a folder of the state directory, by their names.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state_dir().join(folder)).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The binary with this environment beside the state directory.
    fn command(&self, under: &[&str], arguments: &[&str], env: &[(&str, &str)]) -> Command {
        let words = [under, &[env!("CARGO_BIN_EXE_edgewatch-agent")], arguments].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            // Where the program that it runs under is found.
            .env("PATH", "/usr/bin:/bin")
            .env("EDGEWATCH_STATE_DIR", self.state_dir())
            .envs(env.iter().copied())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that ends by itself.
    pub fn output(&self, arguments: &[&str], env: &[(&str, &str)]) -> Output {
        self.command(&[], arguments, env).output().unwrap()
    }

    /// Starts `run`, collecting every second and pushing as said.
    pub fn run(&self, push_interval: &str, env: &[(&str, &str)]) -> AgentProcess {
        self.run_under(&[], push_interval, env)
    }

    /// The same as an argument of another program, which becomes it.
    pub fn run_under(&self, under: &[&str], push_interval: &str, env: &[(&str, &str)]) -> AgentProcess {
        let log = self.dir.path().join("log");
        let intervals = [("EDGEWATCH_COLLECT_INTERVAL", "1s"), ("EDGEWATCH_PUSH_INTERVAL", push_interval)];
        let child = self
            .command(under, &["run"], &[&intervals, env].concat())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        AgentProcess { child, log }
    }
}

/// A running agent, killed when dropped.
pub struct AgentProcess {
    child: Child,
    log: PathBuf,
}

impl AgentProcess {
    /// What it has said so far.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// How often it said this.
    pub fn said(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until it says this.
    pub fn wait_until_said(&self, text: &str) {
        let start = Instant::now();
        while self.said(text) == 0 {
            assert!(start.elapsed() < PATIENCE, "never said {text:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its process' id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to stop.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Tells it to read its configuration anew.
    pub fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Ends it as nothing can be caught.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("still running after {PATIENCE:?}: {}", self.log());
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // Fails if it has ended already, which is as good.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
