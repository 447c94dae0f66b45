//! `cargo xtask demo`: the whole path on this very machine, from nothing to samples queried back.

mod client;

use crate::{
    build::{Bundle, Program},
    command::{run, say},
    process_group,
    server::{self, Server},
    setup::{self, Need},
    signals::Stop,
};
use anyhow::{Context, Result, bail};
use client::{Client, Report};
use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const VERB: &str = "demo";

/// Shorter than the agent's own defaults (10 s and 60 s), so that something shows soon.
const COLLECT_INTERVAL_S: u64 = 5;
const PUSH_INTERVAL_S: u64 = 10;

/// The agent flushes within 5 s of a SIGTERM.
const AGENT_STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// Between two looks at signals, processes and the clock.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Between two lines about what has arrived.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// How the demo is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the server listens on 127.0.0.1.
    pub port: u16,
    /// Holds the server's and the agent's state.
    pub state_dir: PathBuf,
    /// End after this time with the agent, and say whether samples arrived.
    pub duration: Option<Duration>,
}

/// Installs, builds, serves, enrols this machine and runs the agent.
pub fn run_demo(options: &Options) -> Result<()> {
    setup::run_for(Need::Build)?;
    Bundle::Release.build()?;
    Program::Agent.build()?;

    let stop = Stop::on_signals()?;
    let mut server_options = server::Options::new(&options.state_dir);
    server_options.port = options.port;
    let mut server = Server::start(&server_options)?;
    say(VERB, format!("the Worker runs in workerd at {}", server.url()));
    let agent_dir = options.state_dir.join("agent");
    enroll(&server, &agent_dir)?;
    let mut agent = Agent::start(&server, &agent_dir)?;
    let client = Client::new(server.tokens());
    println!("{}", client.invitation());

    let ended = watch(&mut server, &mut agent, &client, options.duration, &stop);
    let stopped = agent.stop();
    let finished = match ended {
        Ok(Ended::TimeIsUp) => stopped.and_then(|()| report(&client)),
        Ok(Ended::Interrupted) if options.duration.is_some() => {
            Err(anyhow::anyhow!("interrupted before the time was up"))
        }
        Ok(Ended::Interrupted) => stopped,
        Err(error) => Err(error),
    };
    finished.and(server.stop())
}

/// Why the demo's main part is over.
enum Ended {
    TimeIsUp,
    Interrupted,
}

/// Waits, tells from time to time what has arrived, and notices when a process ends by itself.
fn watch(
    server: &mut Server,
    agent: &mut Agent,
    client: &Client,
    duration: Option<Duration>,
    stop: &Stop,
) -> Result<Ended> {
    let start = Instant::now();
    let mut last_progress = start;
    loop {
        if stop.is_requested() {
            return Ok(Ended::Interrupted);
        }
        if duration.is_some_and(|duration| start.elapsed() >= duration) {
            return Ok(Ended::TimeIsUp);
        }
        server.check()?;
        agent.check()?;
        if last_progress.elapsed() >= PROGRESS_INTERVAL {
            last_progress = Instant::now();
            let ingested = client.ingested()?;
            say(VERB, format!("{} samples in {} batches have arrived", ingested.samples, ingested.batches));
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Makes this machine a host of the server; once per state folder.
fn enroll(server: &Server, state_dir: &Path) -> Result<()> {
    if state_dir.join("credentials.json").exists() {
        say(VERB, "this machine is enrolled already");
        return Ok(());
    }
    say(VERB, "enrolling this machine");
    let mut command = Command::new(Program::Agent.built()?);
    command
        .args(["enroll", server.url(), "--state-dir"])
        .arg(state_dir)
        // Not as an argument, which everybody on the machine can read.
        .env("EDGEWATCH_TOKEN", &server.tokens().admin);
    run(&mut command).context("the agent could not enrol")
}

/// Prints the figures as the last line on standard output, and fails if nothing came through.
fn report(client: &Client) -> Result<()> {
    let report = client.report()?;
    println!("{}", serde_json::to_string(&report).context("writing the report as JSON")?);
    let Report { hosts, samples_ingested, batches, query_points } = report;
    if hosts == 0 || samples_ingested == 0 || batches == 0 || query_points == 0 {
        bail!("samples did not come through: see the figures above");
    }
    Ok(())
}

/// Runs the agent until it ends or until standard input does, that is, whatever becomes of us.
const GUARD: &str = r#"
    exec 3<&0
    "$@" 3<&- &
    agent=$!
    { cat <&3 >/dev/null; kill "$agent" 2>/dev/null; } &
    wait "$agent"
"#;

/// The agent below its guard, in a process group of their own. Dropping it kills both.
struct Agent(Child);

impl Agent {
    fn start(server: &Server, state_dir: &Path) -> Result<Self> {
        say(
            VERB,
            format!("the agent collects every {COLLECT_INTERVAL_S} s and pushes every {PUSH_INTERVAL_S} s"),
        );
        let child = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(Program::Agent.built()?)
            .args(["run", "--state-dir"])
            .arg(state_dir)
            .env("EDGEWATCH_URL", server.url())
            .env("EDGEWATCH_COLLECT_INTERVAL", format!("{COLLECT_INTERVAL_S}s"))
            .env("EDGEWATCH_PUSH_INTERVAL", format!("{PUSH_INTERVAL_S}s"))
            .stdin(Stdio::piped())
            .stdout(std::io::stderr())
            .process_group(0)
            .spawn()
            .context("starting the agent")?;
        Ok(Self(child))
    }

    fn check(&mut self) -> Result<()> {
        match self.0.try_wait().context("looking after the agent")? {
            Some(status) => bail!("the agent ended by itself ({status})"),
            None => Ok(()),
        }
    }

    /// Lets it push what it holds and end.
    fn stop(mut self) -> Result<()> {
        self.0.stdin = None;
        let deadline = Instant::now() + AGENT_STOP_TIME_MAX;
        while Instant::now() < deadline {
            if self.0.try_wait().context("waiting for the agent to end")?.is_some() {
                return Ok(());
            }
            thread::sleep(POLL_INTERVAL);
        }
        bail!("the agent did not stop within {} s", AGENT_STOP_TIME_MAX.as_secs())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        process_group::end(&mut self.0);
    }
}
