//! An agent of the release build at work, enrolled with a local server.

use crate::process::Process;
use anyhow::{Context, Result, ensure};
use edgewatch_shared::{
    keys::Keyring,
    token::{Claims, Scope, mint},
};
use std::{
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;
use xtask::server::Server;

/// How an agent is run.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    /// Where it pushes.
    pub url: &'a str,
    /// Whose certificate it believes there, unless it is plain HTTP.
    pub ca_file: Option<&'a Path>,
    /// What the host is called.
    pub name: &'a str,
    /// Seconds between two readings.
    pub interval_s: u64,
    /// Whose names it uses, as its setting `names` has them.
    pub names: &'a str,
}

/// An agent at work, with a state folder of its own.
pub struct RunningAgent {
    process: Process,
    _state: TempDir,
}

impl RunningAgent {
    /// Enrols this machine with a server and runs the agent, everything but interval and names at its default.
    pub fn start(server: &Server, way: Way<'_>) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let keyring = Keyring::new(server.secret().as_bytes(), None)?;
        let now_s = crate::fleet::now()?.seconds();
        let claims = Claims::for_static("bench", &[Scope::Enroll], way.name.into(), now_s, 3_600);
        let token = mint(&keyring, &claims);
        let agent = |verb: &[&str]| {
            let mut command = Command::new(xtask::bench::agent());
            command.args(verb).arg("--state-dir").arg(state.path()).stdout(Stdio::null());
            if let Some(ca_file) = way.ca_file {
                command.arg("--ca-file").arg(ca_file);
            }
            command
        };
        let mut enroll = agent(&["enroll", way.url, &token]);
        let enrolled = enroll.args(["--name", way.name]).status().context("starting the agent")?;
        ensure!(enrolled.success(), "the agent did not enrol: {enrolled}");
        let interval = format!("{}s", way.interval_s);
        let process =
            Process::start(agent(&["run"]).args(["--collect-interval", &interval, "--names", way.names]))?;
        Ok(Self { process, _state: state })
    }

    /// Its process' number, as long as it runs.
    pub fn running(&mut self) -> Result<u32> {
        self.process.running()
    }
}
