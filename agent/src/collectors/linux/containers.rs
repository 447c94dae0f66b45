//! Containers: what each uses, from their control groups; names and health from Docker or Podman, if they may be asked.

use super::number_of;
use crate::collectors::{CollectError, Collector, Reading};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "container_count",
    "container_cpu_seconds_total",
    "container_healthy",
    "container_memory_bytes",
    "container_memory_limit_bytes",
    "container_read_bytes_total",
    "container_written_bytes_total",
];

/// Containers that are told of. Reason: six series each, and a host may send [`edgewatch_shared::limits::HOST_SERIES_MAX`].
const CONTAINERS_MAX: usize = 200;
/// How deep control groups are looked into. Reason: Kubernetes' pods lie four deep.
const DEPTH_MAX: usize = 6;
/// Characters of an id that are shown where there is no name, as Docker does.
const SHORT_ID: usize = 12;
/// Bytes of an engine's answer. Reason: a kilobyte or two a container.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// How long an engine may take to answer. Reason: a round of readings waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads containers.
pub struct Containers {
    root: PathBuf,
    socket: Option<PathBuf>,
}

impl Containers {
    /// A collector that asks the engine behind `socket`, if there is one.
    pub fn new(socket: Option<PathBuf>) -> Self {
        Self { root: "/sys/fs/cgroup".into(), socket }
    }
}

impl Collector for Containers {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        // Of the first version of control groups nothing is read.
        if !self.root.join("cgroup.controllers").exists() {
            return Ok(());
        }
        let mut groups = BTreeMap::new();
        find_groups(&self.root, DEPTH_MAX, &mut groups);
        let (engine, result) = match &self.socket {
            Some(socket) => match ask(socket) {
                Ok(engine) => (engine, Ok(())),
                // Without an engine containers have their ids.
                Err(error) => (BTreeMap::new(), Err(error)),
            },
            None => (BTreeMap::new(), Ok(())),
        };
        readings.push(Reading::plain("container_count", groups.len() as f64));
        for (id, dir) in groups.into_iter().take(CONTAINERS_MAX) {
            readings.extend(samples(&id, &Usage::read(&dir), engine.get(&id)));
        }
        result
    }
}

/// The control groups of containers below `dir`, by the container's id.
fn find_groups(dir: &Path, depth: usize, groups: &mut BTreeMap<String, PathBuf>) {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if let Some(id) = entry.file_name().to_str().and_then(container_id) {
            groups.insert(id.to_owned(), entry.path());
        } else if depth > 1 {
            find_groups(&entry.path(), depth - 1, groups);
        }
    }
}

/// The id in a control group's name: `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`, or the bare id.
fn container_id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = name.rsplit_once('-').map_or(name, |(_, id)| id);
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    // `libpod-conmon-ID` watches a container and is none.
    (is_id && !name.contains("conmon")).then_some(id)
}

/// What a control group has used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    cpu_us: Option<u64>,
    memory: Option<u64>,
    inactive_file: Option<u64>,
    memory_limit: Option<u64>,
    read_written: Option<[u64; 2]>,
}

impl Usage {
    /// What the group tells; a controller that is not switched on tells nothing.
    fn read(dir: &Path) -> Self {
        let text = |file: &str| fs::read_to_string(dir.join(file)).unwrap_or_default();
        Self {
            cpu_us: number_of(&text("cpu.stat"), "usage_usec"),
            memory: text("memory.current").trim().parse().ok(),
            inactive_file: number_of(&text("memory.stat"), "inactive_file"),
            // Without a limit it says "max".
            memory_limit: text("memory.max").trim().parse().ok(),
            read_written: fs::read_to_string(dir.join("io.stat")).ok().map(|text| bytes_of(&text)),
        }
    }
}

/// Bytes read and written, all devices together: `8:0 rbytes=1 wbytes=2 rios=3 …`.
fn bytes_of(io_stat: &str) -> [u64; 2] {
    let sum = |key: &str| {
        let values =
            io_stat.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
        values.fold(0_u64, u64::saturating_add)
    };
    [sum("rbytes="), sum("wbytes=")]
}

/// What an engine knows of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    name: String,
    is_healthy: Option<bool>,
}

/// The samples of a container. Its memory is without the file cache that the kernel takes back first, as `docker stats`
/// has it.
pub fn samples(id: &str, usage: &Usage, known: Option<&Known>) -> Vec<Reading> {
    let short = id.get(..SHORT_ID).unwrap_or(id);
    let name = known.map_or(short, |known| known.name.as_str());
    let [read, written] = usage.read_written.map_or([None; 2], |bytes| bytes.map(Some));
    let memory = usage.memory.map(|bytes| bytes.saturating_sub(usage.inactive_file.unwrap_or_default()));
    [
        ("container_cpu_seconds_total", usage.cpu_us.map(|us| (us / 1_000) as f64 / 1_000.0)),
        ("container_memory_bytes", memory.map(|bytes| bytes as f64)),
        ("container_memory_limit_bytes", usage.memory_limit.map(|bytes| bytes as f64)),
        ("container_read_bytes_total", read.map(|bytes| bytes as f64)),
        ("container_written_bytes_total", written.map(|bytes| bytes as f64)),
        ("container_healthy", known.and_then(|known| known.is_healthy).map(|yes| f64::from(u8::from(yes)))),
    ]
    .into_iter()
    .filter_map(|(metric, value)| Some(Reading::labelled(metric, "container", name, value?)))
    .collect()
}

/// Asks the engine for its running containers, by id. Only ever this one GET.
fn ask(socket: &Path) -> Result<BTreeMap<String, Known>, CollectError> {
    let fault = |why: &dyn std::fmt::Display| CollectError::unreadable(&socket.display().to_string(), why);
    let answer = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // HTTP 1.0 asks for an answer in one piece that ends with the connection.
        stream.write_all(b"GET /containers/json HTTP/1.0\r\nHost: engine\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    let answer = answer().map_err(|error| fault(&error))?;
    parse(&answer).ok_or_else(|| fault(&"the answer is no list of containers"))
}

/// Reads an answer to `GET /containers/json`, which Docker and Podman both know.
fn parse(answer: &[u8]) -> Option<BTreeMap<String, Known>> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (answer.get(..end)?, answer.get(end + 4..)?);
    let status = std::str::from_utf8(head).ok()?.split(' ').nth(1)?;
    let list: Vec<Listed> = (status == "200").then(|| serde_json::from_slice(body).ok())??;
    let known = |listed: Listed| {
        let name = listed.names.first()?.trim_start_matches('/').to_owned();
        // "Up 3 hours (healthy)"; without a check there are no parentheses.
        let is_healthy = match listed.status.as_str() {
            status if status.contains("(healthy)") => Some(true),
            status if status.contains("(unhealthy)") => Some(false),
            _ => None,
        };
        (!name.is_empty()).then_some((listed.id, Known { name, is_healthy }))
    };
    Some(list.into_iter().filter_map(known).collect())
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    status: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::net::UnixListener, thread};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// As Docker 24 answers, shortened.
    fn engine(status: &str) -> Vec<u8> {
        format!(
            "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n\
             [{{\"Id\":\"{ID}\",\"Names\":[\"/web\"],\"Image\":\"nginx\",\"Status\":\"{status}\"}}]"
        )
        .into_bytes()
    }

    #[test]
    fn a_groups_name_has_its_containers_id() {
        for (name, found) in [
            (format!("docker-{ID}.scope"), true),
            (format!("libpod-{ID}.scope"), true),
            (format!("cri-containerd-{ID}.scope"), true),
            (ID.to_owned(), true),
            (format!("libpod-conmon-{ID}.scope"), false),
            (format!("docker-{}.scope", &ID[1..]), false),
            ("system.slice".to_owned(), false),
        ] {
            assert_eq!(container_id(&name), found.then_some(ID), "{name}");
        }
    }

    #[test]
    fn a_tree_of_groups_and_an_engine_make_samples() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("system.slice").join(format!("docker-{ID}.scope"));
        fs::create_dir_all(&group).unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "cpu io memory\n").unwrap();
        // As Linux 6.1 writes them.
        for (file, text) in [
            ("cpu.stat", "usage_usec 1234567\nuser_usec 1000000\n"),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 500\ninactive_file 300\n"),
            ("memory.max", "max\n"),
            ("io.stat", "254:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:0 rbytes=1 wbytes=2\n"),
        ] {
            fs::write(group.join(file), text).unwrap();
        }
        let socket = dir.path().join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let answering = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 64];
            let length = stream.read(&mut asked).unwrap();
            stream.write_all(&engine("Up 3 hours (unhealthy)")).unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        let mut readings = Vec::new();
        let mut containers = Containers { root: dir.path().into(), socket: Some(socket) };
        containers.collect(&mut readings).unwrap();
        assert!(answering.join().unwrap().starts_with("GET /containers/json "));
        let of = |name, value| Reading::labelled(name, "container", "web", value);
        let expected = [
            Reading::plain("container_count", 1.0),
            of("container_cpu_seconds_total", 1.234),
            of("container_memory_bytes", 700.0),
            of("container_read_bytes_total", 11.0),
            of("container_written_bytes_total", 22.0),
            of("container_healthy", 0.0),
        ];
        assert_eq!(readings, expected);
        // The engine is gone: that is said, and containers go by their ids.
        readings.clear();
        assert!(containers.collect(&mut readings).is_err());
        assert_eq!(readings[1].labels, [("container", ID[..12].to_owned())]);
    }

    #[test]
    fn without_the_second_version_of_control_groups_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut readings = Vec::new();
        Containers { root: dir.path().into(), socket: None }.collect(&mut readings).unwrap();
        assert_eq!(readings, []);
    }

    #[test]
    fn health_is_what_the_status_says_and_damage_no_list() {
        let health = |status| parse(&engine(status)).unwrap()[ID].is_healthy;
        assert_eq!(health("Up 3 hours (healthy)"), Some(true));
        assert_eq!(health("Up 3 hours"), None);
        for bad in ["", "HTTP/1.0 200 OK\r\n\r\n{}", "HTTP/1.0 500 Oh\r\n\r\n[]", "\r\n\r\n[]"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
