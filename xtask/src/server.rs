//! A local server: the built Worker in workerd, with D1, R2 and Durable Objects on disk.
//!
//! [`Server::start`] runs `xtask/serve.mjs` in Node, which runs workerd. The three
//! die together: Node ends workerd when its standard input closes, whatever became
//! of us, and both are in a process group of their own for [`Server::kill`].

use crate::{
    build::Bundle,
    process_group, project, setup,
    tokens::{self, Tokens},
    wrangler::Configuration,
};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The Worker's one secret, which no configuration file holds.
const SECRET_BINDING: &str = "EDGEWATCH_SECRET";

/// From the start to the first healthy answer; half a second on an idle machine.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// For workerd to close its databases; then it is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// A single request to `/healthz`.
const HEALTH_TIME_MAX: Duration = Duration::from_secs(5);

/// Between two looks at something that will change soon.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Lines of the log that an error quotes.
const QUOTED_LINES: usize = 30;

/// How a server is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen on 127.0.0.1; 0 takes a free port.
    pub port: u16,
    /// Holds the databases, the secret, the tokens and the log. Made when it is missing.
    pub state_dir: PathBuf,
    /// Which build of the Worker.
    pub bundle: Bundle,
    /// Whether the R2 buckets of `wrangler.toml` are bound.
    pub with_r2: bool,
    /// Settings (text bindings) beside and over those of `wrangler.toml`.
    pub vars: BTreeMap<String, String>,
    /// Whether the log is copied to standard error.
    pub echo: bool,
}

impl Options {
    /// A release build on a free port, with R2 and a quiet log. No plan's quota limits a local run.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            port: 0,
            state_dir: state_dir.into(),
            bundle: Bundle::Release,
            with_r2: true,
            vars: BTreeMap::from([("PLAN".to_owned(), "paid".to_owned())]),
            echo: false,
        }
    }
}

/// The processes of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pids {
    /// Node, which only starts and stops.
    pub node: u32,
    /// workerd, which does the work.
    pub workerd: Vec<u32>,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    node: Child,
    /// Closing it asks Node to stop workerd and to end.
    stdin: Option<ChildStdin>,
    log: Log,
    url: String,
    secret: String,
    tokens: Tokens,
    /// Nobody else runs a server on this state.
    _lock: File,
}

impl Server {
    /// Starts a server and waits until it is healthy. Writes `tokens.json` into the state folder.
    pub fn start(options: &Options) -> Result<Self> {
        fs::create_dir_all(&options.state_dir)
            .with_context(|| format!("creating {}", options.state_dir.display()))?;
        let state = options.state_dir.canonicalize().context("finding the state folder")?;
        let lock = lock(&state)?;
        let secret = tokens::secret(&state.join("secret"))?;
        let settings = settings(options, &state, &secret)?;

        let mut node = spawn()?;
        let mut log = Log::keep(&mut node, &state.join("server.log"), options.echo)?;
        let (Some(mut stdin), Some(stdout)) = (node.stdin.take(), node.stdout.take()) else {
            bail!("Node was started without pipes");
        };
        let deadline = Instant::now() + START_TIME_MAX;
        let answer = writeln!(stdin, "{settings}").context("writing settings to Node");
        let started = answer.and_then(|()| first_answer(stdout, deadline)).and_then(|url| {
            wait_until_healthy(&url, deadline)?;
            Ok(url)
        });
        let url = match started {
            Ok(url) => url,
            Err(error) => {
                process_group::end(&mut node);
                bail!("the server did not start: {error:#}; {}", log.tail());
            }
        };
        let tokens = Tokens::mint(&secret, &url)?;
        tokens.write(&state.join("tokens.json"))?;
        Ok(Self { node, stdin: Some(stdin), log, url, secret, tokens, _lock: lock })
    }

    /// Where it listens, such as `http://127.0.0.1:8787`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// One token of each kind, as in `tokens.json`.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The value of `EDGEWATCH_SECRET`: its bytes, as text, are the secret.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// What the Worker, workerd and Miniflare have printed since the state folder was made.
    pub fn log_path(&self) -> &Path {
        &self.log.path
    }

    /// The processes that run now.
    pub fn pids(&self) -> Result<Pids> {
        let node = self.node.id();
        Ok(Pids { node, workerd: children(node)? })
    }

    /// An error with the end of the log when the server has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        match self.node.try_wait().context("looking after Node")? {
            None => Ok(()),
            Some(status) => {
                process_group::kill(&self.node);
                Err(anyhow!("the server ended by itself ({status}); {}", self.log.tail()))
            }
        }
    }

    /// Stops it in order: workerd is gone when this returns.
    pub fn stop(mut self) -> Result<()> {
        self.stdin = None;
        let deadline = Instant::now() + STOP_TIME_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.node.try_wait().context("waiting for Node to end")? {
                if !status.success() {
                    process_group::kill(&self.node);
                    bail!("the server did not stop in order ({status}); {}", self.log.tail());
                }
                return Ok(());
            }
            thread::sleep(POLL_INTERVAL);
        }
        process_group::end(&mut self.node);
        bail!(
            "the server did not stop within {} s and was killed; {}",
            STOP_TIME_MAX.as_secs(),
            self.log.tail()
        )
    }

    /// SIGKILL for all its processes at once, as when a machine loses power.
    pub fn kill(mut self) {
        process_group::end(&mut self.node);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        process_group::end(&mut self.node);
    }
}

/// What serve.mjs reads: `wrangler.toml` in short, and where things are.
fn settings(options: &Options, state: &Path, secret: &str) -> Result<serde_json::Value> {
    let configuration = Configuration::read()?;
    let mut texts = configuration.vars.clone();
    texts.extend(options.vars.clone());
    texts.insert(SECRET_BINDING.to_owned(), secret.to_owned());
    let databases = configuration.d1_databases.iter();
    let d1: Vec<_> = databases
        .map(|database| json!({ "binding": database.binding, "id": database.database_name }))
        .collect();
    let buckets = configuration.r2_buckets.iter().filter(|_| options.with_r2);
    let r2: Vec<_> =
        buckets.map(|bucket| json!({ "binding": bucket.binding, "bucket": bucket.bucket_name })).collect();
    let namespaces = configuration.durable_objects.bindings.iter();
    let durable_objects: Vec<_> = namespaces
        .map(|namespace| {
            json!({
                "binding": namespace.binding,
                "className": namespace.class_name,
                "sqlite": configuration.is_sqlite(&namespace.class_name),
            })
        })
        .collect();
    Ok(json!({
        "name": configuration.name,
        "compatibilityDate": configuration.compatibility_date,
        "compatibilityFlags": configuration.compatibility_flags,
        "bundle": options.bundle.built()?,
        "state": state,
        "port": options.port,
        "texts": texts,
        "d1": d1,
        "r2": r2,
        "durableObjects": durable_objects,
    }))
}

fn lock(state: &Path) -> Result<File> {
    let path = state.join(".lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!("another server runs on {}: stop it, or choose another state folder", state.display());
    }
    Ok(file)
}

fn spawn() -> Result<Child> {
    let script = project::root().join("xtask/serve.mjs");
    Command::new(setup::npm::node()?)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("starting Node: run `cargo xtask setup`")
}

/// The address in Node's first line. A thread goes on reading, so that Node never writes into a closed pipe.
fn first_answer(stdout: impl Read + Send + 'static, deadline: Instant) -> Result<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Only the first line is awaited.
            let _ = sender.send(line);
        }
    });
    let time_left = deadline.saturating_duration_since(Instant::now());
    let line = receiver.recv_timeout(time_left).map_err(|error| match error {
        RecvTimeoutError::Disconnected => anyhow!("Node ended before the server listened"),
        RecvTimeoutError::Timeout => anyhow!("it did not listen within {} s", START_TIME_MAX.as_secs()),
    })?;
    let answer: serde_json::Value =
        serde_json::from_str(&line).with_context(|| format!("it said {line:?}"))?;
    let url = answer.get("url").and_then(|url| url.as_str());
    Ok(url.with_context(|| format!("no url in {line:?}"))?.to_owned())
}

fn wait_until_healthy(url: &str, deadline: Instant) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(HEALTH_TIME_MAX))
        .http_status_as_error(false)
        .build()
        .into();
    loop {
        let seen = match agent.get(format!("{url}/healthz")).call() {
            Ok(response) if response.status() == 200 => return Ok(()),
            Ok(response) => format!("answers {}", response.status()),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            bail!("GET {url}/healthz did not answer 200 within {} s: {seen}", START_TIME_MAX.as_secs());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// The processes that `parent` has started: from Linux's `/proc`, elsewhere from `pgrep`.
fn children(parent: u32) -> Result<Vec<u32>> {
    let listed = match fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        Ok(listed) => listed,
        Err(_) => {
            let output = Command::new("pgrep").args(["-P", &parent.to_string()]).output();
            String::from_utf8_lossy(&output.context("looking for workerd with pgrep")?.stdout).into_owned()
        }
    };
    Ok(listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// Everything the processes print on standard error, kept in a file.
#[derive(Debug)]
struct Log {
    path: PathBuf,
    /// Bytes of earlier runs.
    start: usize,
    copier: Option<JoinHandle<()>>,
}

impl Log {
    /// Copies `node`'s standard error to the end of `path`, and with `echo` to our own.
    fn keep(node: &mut Child, path: &Path, echo: bool) -> Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .with_context(|| format!("opening {}", path.display()))?;
        let earlier = file.metadata().with_context(|| format!("reading {}", path.display()))?.len();
        let start = usize::try_from(earlier).context("the log is too long: delete it")?;
        let copier = node.stderr.take().map(|stderr| {
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    // A full disk must not stop the server; the log is for people.
                    let _ = writeln!(file, "{line}");
                    if echo {
                        eprintln!("{line}");
                    }
                }
            })
        });
        Ok(Self { path: path.to_owned(), start, copier })
    }

    /// The last lines, for an error. Call it when Node has ended.
    fn tail(&mut self) -> String {
        if let Some(copier) = self.copier.take() {
            // It ends with the pipe, and does not panic.
            let _ = copier.join();
        }
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        let lines: Vec<_> = text.get(self.start..).unwrap_or_default().lines().collect();
        let from = lines.len().saturating_sub(QUOTED_LINES);
        let lines = lines.get(from..).unwrap_or_default().join("\n");
        format!("the end of {}:\n{lines}", self.path.display())
    }
}
