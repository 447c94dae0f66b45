//! The systems that we are measured beside: Debian's own builds, on loopback, with a folder that goes away.

pub mod collectd;
pub mod node_exporter;
pub mod prometheus;
pub mod remote_write;
pub mod victoria_metrics;
pub mod vmagent;

use crate::{fleet::client, process::Process};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// From the start to the first healthy answer.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Between two looks at something that will change soon.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A peer's process; dropping it ends it.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    url: String,
}

impl Peer {
    /// Runs a program that listens on `port` and waits until `health` answers 200.
    fn start(command: &mut Command, port: u16, health: &str) -> Result<Self> {
        let process = Process::start(command.stderr(Stdio::null()))?;
        let mut peer = Self { process, url: format!("http://127.0.0.1:{port}") };
        let deadline = Instant::now() + START_TIME_MAX;
        while Instant::now() < deadline {
            peer.process.check()?;
            if client().get(peer.at(health)).call().is_ok_and(|reply| reply.status() == 200) {
                return Ok(peer);
            }
            thread::sleep(POLL_INTERVAL);
        }
        bail!("nobody answers at {}", peer.at(health))
    }

    /// Where a path of it is.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Its process' number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// A port that nobody listens on at this moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The bytes of all files below a folder, by their length.
fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { bytes_below(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

/// Waits until a size no longer changes: merges run in the background.
fn settled(mut size: impl FnMut() -> Result<u64>) -> Result<u64> {
    const QUIET: Duration = Duration::from_secs(2);
    const WAIT_MAX: Duration = Duration::from_secs(20);
    let start = Instant::now();
    let (mut last, mut since) = (None, Instant::now());
    while start.elapsed() < WAIT_MAX {
        // A file may be renamed while the folder is read.
        let now = size().ok();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > QUIET {
            break;
        }
        thread::sleep(POLL_INTERVAL);
    }
    last.context("the folder cannot be read")
}
