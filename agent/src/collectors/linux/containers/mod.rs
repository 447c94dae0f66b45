//! Containers: what each uses, from their control groups; names and health from Docker or Podman, if they may be asked.

mod engine;

use super::number_of;
use crate::{
    collectors::{CollectError, Collector, Reading},
    os_clock,
};
use engine::{Engine, Known};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
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

/// Reads containers.
pub struct Containers {
    root: PathBuf,
    engine: Option<Engine>,
}

impl Containers {
    /// A collector that asks the engine behind `socket`, if there is one.
    pub fn new(socket: Option<PathBuf>) -> Self {
        Self { root: "/sys/fs/cgroup".into(), engine: socket.as_deref().map(Engine::new) }
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
        let result = match &mut self.engine {
            Some(engine) => engine.ask_if_due(os_clock::running_ms(), groups.keys()),
            None => Ok(()),
        };
        readings.push(Reading::plain("container_count", groups.len() as f64));
        for (id, dir) in groups.into_iter().take(CONTAINERS_MAX) {
            let known = self.engine.as_ref().and_then(|engine| engine.known(&id));
            readings.extend(samples(&id, &Usage::read(&dir), known));
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

#[cfg(test)]
mod tests {
    use super::*;
    use engine::tests::fake_engine;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

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
        // As Docker 24 answers, shortened.
        let asked = fake_engine(&socket, 3, |path| {
            let container =
                format!(r#"{{"Id":"{ID}","Names":["/web"],"Image":"nginx","Status":"Up 3 hours"}}"#);
            if path.contains("%22healthy%22") { "[]".to_owned() } else { format!("[{container}]") }
        });
        let mut readings = Vec::new();
        let mut containers = Containers { root: dir.path().into(), engine: Some(Engine::new(&socket)) };
        containers.collect(&mut readings).unwrap();
        assert_eq!(asked.join().unwrap().len(), 3);
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
        // Without an engine containers go by their ids.
        readings.clear();
        Containers { root: dir.path().into(), engine: None }.collect(&mut readings).unwrap();
        assert_eq!(readings[1].labels, [("container", ID[..12].to_owned())]);
    }

    #[test]
    fn without_the_second_version_of_control_groups_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut readings = Vec::new();
        Containers { root: dir.path().into(), engine: None }.collect(&mut readings).unwrap();
        assert_eq!(readings, []);
    }
}
