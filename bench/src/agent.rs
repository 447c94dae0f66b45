//! The agent's weight: its binary, and its memory while it runs with its default intervals.

use crate::{figure::Figure, process::resident_bytes};
use anyhow::{Context, Result, ensure};
use edgewatch_shared::{
    keys::Keyring,
    token::{Claims, Scope, mint},
};
use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use xtask::{
    build::Program,
    server::{Options, Server},
};

/// Size of the release binary.
pub fn binary_size() -> Result<Figure> {
    let path = binary();
    let bytes = std::fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?.len();
    Ok(Figure::new("agent_binary_bytes", bytes as f64, "B"))
}

fn binary() -> PathBuf {
    Program::Agent.path()
}

/// An agent at work, with its server.
pub struct RunningAgent {
    agent: Child,
    started: Instant,
    _server: Server,
    _state: TempDir,
}

impl RunningAgent {
    /// Enrols this machine with a server of its own and runs the agent with default intervals.
    pub fn start() -> Result<Self> {
        let state = tempfile::tempdir()?;
        let server = Server::start(&Options::new(state.path().join("server")))?;
        let state_dir = state.path().join("agent");
        let keyring = Keyring::new(server.secret().as_bytes(), None)?;
        let now_s = crate::fleet::now()?.seconds();
        let token =
            mint(&keyring, &Claims::for_static("bench", &[Scope::Enroll], "bench".into(), now_s, 3_600));
        let agent = |arguments: &[&str]| {
            let mut command = Command::new(binary());
            command.args(arguments).arg("--state-dir").arg(&state_dir).stdout(Stdio::null());
            command
        };
        let enrolled = agent(&["enroll", server.url(), &token]).status().context("starting the agent")?;
        ensure!(enrolled.success(), "the agent did not enrol: {enrolled}");
        let agent = agent(&["run"]).spawn().context("starting the agent")?;
        Ok(Self { agent, started: Instant::now(), _server: server, _state: state })
    }

    /// Its resident memory once it has run for so long.
    pub fn resident_after(mut self, minutes: u64) -> Result<Figure> {
        thread::sleep(Duration::from_secs(minutes * 60).saturating_sub(self.started.elapsed()));
        ensure!(self.agent.try_wait()?.is_none(), "the agent has ended");
        let bytes = resident_bytes(self.agent.id())?;
        Ok(Figure::new("agent_rss_bytes", bytes as f64, "B"))
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}
