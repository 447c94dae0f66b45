//! Containers: what each uses, from their control groups; names and health from Docker or Podman, if they may be asked.

mod engine;
mod moved;

use super::{number_of, patient::ASK_EVERY_MS, text_of};
use crate::{
    collectors::{CollectError, Collector, Reading},
    os_clock,
};
use engine::{Engine, Known};
use moved::{Moved, Stacks};
use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fs, mem,
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
    proc: PathBuf,
    engine: Option<Engine>,
    stacks: Stacks,
    /// Whether there are any of the second version, once that was looked at.
    has_groups: OnceCell<bool>,
    looked_ms: Option<i64>,
    /// All control groups of the host, when they were looked through.
    descendants: Option<u64>,
    /// Those of containers, by the container's id.
    groups: BTreeMap<String, Group>,
}

/// A container's control group.
#[derive(Debug)]
struct Group {
    dir: PathBuf,
    /// What it has moved, once it was told of.
    moved: Option<Moved>,
}

impl Containers {
    /// A collector that asks the engine behind `socket`, if there is one.
    pub fn new(socket: Option<PathBuf>) -> Self {
        Self {
            root: "/sys/fs/cgroup".into(),
            proc: "/proc".into(),
            engine: socket.as_deref().map(Engine::new),
            stacks: Stacks::new("/sys/dev/block".into()),
            has_groups: OnceCell::new(),
            looked_ms: None,
            descendants: None,
            groups: BTreeMap::new(),
        }
    }

    /// Looks through all control groups when it is due, or when there are other groups than before: that is dear, and the
    /// kernel tells how many there are.
    fn look(&mut self, now_ms: i64) {
        let descendants = text_of(self.root.join("cgroup.stat"));
        let descendants = descendants.ok().and_then(|text| number_of(&text, "nr_descendants"));
        let is_due = self.looked_ms.is_none_or(|looked_ms| now_ms.saturating_sub(looked_ms) >= ASK_EVERY_MS);
        let are_as_many = descendants.is_some() && descendants == self.descendants;
        if !is_due && are_as_many && self.groups.values().all(|group| group.dir.exists()) {
            return;
        }
        (self.looked_ms, self.descendants) = (Some(now_ms), descendants);
        self.stacks.forget();
        let before = mem::take(&mut self.groups);
        find_groups(&self.root, DEPTH_MAX, &mut self.groups);
        self.groups.retain(|_, group| !is_sandbox(&group.dir, &self.proc));
        for (id, group) in before {
            if let Some(now) = self.groups.get_mut(&id) {
                now.moved = group.moved;
            }
        }
    }

    /// Adds the containers' samples. If they are too many, those go first that were told of before.
    fn tell(&mut self, readings: &mut Vec<Reading>) {
        let mut room = CONTAINERS_MAX;
        for was_told in [true, false] {
            let groups = self.groups.iter_mut().filter(|(_, group)| group.moved.is_some() == was_told);
            for (id, group) in groups.take(room) {
                room = room.saturating_sub(1);
                let mut usage = Usage::read(&group.dir);
                let moved = group.moved.get_or_insert_default();
                if let Ok(io_stat) = text_of(group.dir.join("io.stat")) {
                    usage.read_written = Some(moved.next(&io_stat, &mut self.stacks));
                }
                let known = self.engine.as_ref().and_then(|engine| engine.known(id));
                readings.extend(samples(id, &usage, known));
            }
        }
    }
}

impl Collector for Containers {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        // Of the first version of control groups nothing is read.
        let has_groups = || self.root.join("cgroup.controllers").exists();
        if !*self.has_groups.get_or_init(has_groups) {
            return Ok(());
        }
        let now_ms = os_clock::running_ms();
        self.look(now_ms);
        let engine = self.engine.as_mut();
        let result = engine.map_or(Ok(()), |engine| engine.ask_if_due(now_ms, self.groups.keys()));
        readings.push(Reading::plain("container_count", self.groups.len() as f64));
        self.tell(readings);
        match self.groups.len() {
            0..=CONTAINERS_MAX => result,
            _ => result.and(Err(CollectError::Absurd("there are more containers than are told of"))),
        }
    }
}

/// The control groups of containers below `dir`, by the container's id.
fn find_groups(dir: &Path, depth: usize, groups: &mut BTreeMap<String, Group>) {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if let Some(id) = entry.file_name().to_str().and_then(container_id) {
            groups.insert(id.to_owned(), Group { dir: entry.path(), moved: None });
        } else if depth > 1 {
            find_groups(&entry.path(), depth - 1, groups);
        }
    }
}

/// Whether a container of Kubernetes is `pause`, which every pod has beside its own: alone, and without a limit.
fn is_sandbox(group: &Path, proc: &Path) -> bool {
    let says = |path: &Path, word: &str| text_of(path).is_ok_and(|text| text.trim() == word);
    group.to_str().is_some_and(|path| path.contains("kubepods"))
        && says(&group.join("pids.current"), "1")
        && says(&group.join("memory.max"), "max")
        && text_of(group.join("cgroup.procs"))
            .is_ok_and(|pid| says(&proc.join(pid.trim()).join("comm"), "pause"))
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
            read_written: None,
        }
    }
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
    use engine::tests::{fake_engine, patient_engine};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// A collector of the control groups, processes and devices in a directory.
    fn containers(dir: &Path) -> Containers {
        let (root, proc, stacks) = (dir.into(), dir.join("proc"), Stacks::new(dir.join("block")));
        Containers { root, proc, stacks, ..Containers::new(None) }
    }

    /// A control group with these files, in a tree of the second version.
    fn group(dir: &Path, path: &str, files: &[(&str, &str)]) {
        fs::write(dir.join("cgroup.controllers"), "cpu io memory\n").unwrap();
        fs::create_dir_all(dir.join(path)).unwrap();
        for (file, text) in files {
            fs::write(dir.join(path).join(file), text).unwrap();
        }
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
        // As Linux 6.1 writes them.
        let files = [
            ("cpu.stat", "usage_usec 1234567\nuser_usec 1000000\n"),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 500\ninactive_file 300\n"),
            ("memory.max", "max\n"),
            ("io.stat", "254:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:0 rbytes=1 wbytes=2\n"),
        ];
        group(dir.path(), &format!("system.slice/docker-{ID}.scope"), &files);
        let socket = dir.path().join("engine.sock");
        // As Docker 24 answers, shortened.
        let asked = fake_engine(&socket, 3, |path| {
            let container =
                format!(r#"{{"Id":"{ID}","Names":["/web"],"Image":"nginx","Status":"Up 3 hours"}}"#);
            if path.contains("%22healthy%22") { "[]".to_owned() } else { format!("[{container}]") }
        });
        let mut readings = Vec::new();
        let mut asking = Containers { engine: Some(patient_engine(&socket)), ..containers(dir.path()) };
        asking.collect(&mut readings).unwrap();
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
        containers(dir.path()).collect(&mut readings).unwrap();
        assert_eq!(readings[1].labels, [("container", ID[..12].to_owned())]);
    }

    #[test]
    fn without_the_second_version_of_control_groups_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut readings = Vec::new();
        containers(dir.path()).collect(&mut readings).unwrap();
        assert_eq!(readings, []);
    }

    #[test]
    fn what_holds_a_pod_together_is_no_container() {
        let dir = tempfile::tempdir().unwrap();
        // A pod of Kubernetes 1.28 with containerd on Linux 6.1: `pause`, a container with a limit, and one without.
        let pod = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8f0c.slice";
        for (number, (pid, comm, limit)) in [
            ("812\n", "pause\n", "max\n"),
            ("901\n", "pause\n", "134217728\n"),
            ("77\n", "redis-server\n", "max\n"),
        ]
        .into_iter()
        .enumerate()
        {
            let files = [
                ("cgroup.procs", pid),
                ("pids.current", "1\n"),
                ("memory.max", limit),
                ("memory.current", "9\n"),
            ];
            group(dir.path(), &format!("{pod}/cri-containerd-{number}{}.scope", &ID[1..]), &files);
            group(dir.path(), &format!("proc/{}", pid.trim()), &[("comm", comm)]);
        }
        let mut readings = Vec::new();
        containers(dir.path()).collect(&mut readings).unwrap();
        let ids: Vec<&str> = readings[1..].iter().map(|reading| &reading.labels[0].1[..1]).collect();
        // The limited one has a limit to tell, too.
        assert_eq!((readings[0].value, ids.as_slice()), (2.0, &["1", "1", "2"][..]));
    }

    #[test]
    fn groups_are_looked_through_when_there_are_others_and_now_and_then() {
        let dir = tempfile::tempdir().unwrap();
        let add = |number: usize| group(dir.path(), &format!("{number}{}", &ID[1..]), &[]);
        // As Linux 6.1 has it; before 4.14 there is none.
        let count = |groups: usize| {
            let text = format!("nr_descendants {groups}\nnr_dying_descendants 9\n");
            fs::write(dir.path().join("cgroup.stat"), text).unwrap();
        };
        let mut containers = containers(dir.path());
        let mut found = |now_ms| {
            containers.look(now_ms);
            containers.groups.len()
        };
        add(1);
        count(50);
        assert_eq!(found(0), 1);
        // One has come and another group has gone: that takes until it is due.
        add(2);
        assert_eq!((found(ASK_EVERY_MS - 1), found(ASK_EVERY_MS)), (1, 2));
        add(3);
        count(51);
        assert_eq!(found(ASK_EVERY_MS), 3);
        // One has taken another's place.
        add(4);
        fs::remove_dir(dir.path().join(format!("1{}", &ID[1..]))).unwrap();
        assert_eq!(found(ASK_EVERY_MS), 3);
        fs::remove_file(dir.path().join("cgroup.stat")).unwrap();
        add(5);
        assert_eq!(found(ASK_EVERY_MS), 4);
    }

    #[test]
    fn those_that_are_told_of_have_an_end_and_stay_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let add = |number: usize| {
            group(dir.path(), &format!("{number:03}{}", &ID[3..]), &[("memory.current", "9\n")]);
        };
        let mut containers = containers(dir.path());
        let mut collect = || {
            let mut readings = Vec::new();
            let result = containers.collect(&mut readings);
            (readings[0].value, readings.len() - 1, result.is_ok())
        };
        (1..=CONTAINERS_MAX).for_each(add);
        assert_eq!(collect(), (200.0, CONTAINERS_MAX, true));
        add(0);
        assert_eq!(collect(), (201.0, CONTAINERS_MAX, false));
        assert!(containers.groups[&format!("000{}", &ID[3..])].moved.is_none());
    }
}
