//! A spool on a file system that can only be read for a while: a real one, where this user may mount it.

use edgewatch_agent::{
    batch::{Batch, SeriesList},
    clock::Clock,
    counters::Counters,
    spool::{Limits, Setup, Spool, WhenFull, disk::OsDisk},
};
use edgewatch_shared::{
    Sample, Series, TimestampMs,
    series::Labels,
    wire::push::{ReadingRange, StreamId},
};
use std::{
    cell::Cell,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;

const READ_ONLY: &str =
    "suite::read_only::a_disk_that_can_only_be_read_is_read_and_written_again_once_it_can_be";
const IN_A_NAMESPACE: &str = "EDGEWATCH_TEST_IN_A_NAMESPACE";

thread_local! {
    static NOW_MS: Cell<i64> = const { Cell::new(0) };
}

fn can(command: &mut Command) -> bool {
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A file system of its own.
struct Mount(PathBuf);

impl Mount {
    /// `None` if this user may not.
    fn at(dir: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        can(mount.args(["-t", "tmpfs", "tmpfs"]).arg(dir)).then(|| Self(dir.to_owned()))
    }

    /// From now on it can be written, or not.
    fn is(&self, access: &str) {
        assert!(
            can(Command::new("mount").args(["-o", &format!("remount,bind,{access}")]).arg(&self.0)),
            "{access}"
        );
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A spool of a process.
struct Process {
    spool: Spool,
    stream: u64,
    frozen: u64,
}

impl Process {
    fn start(dir: &Path, stream: u64) -> Self {
        let spool = Spool::open(Setup {
            dir: dir.to_owned(),
            limits: Limits { bytes_max: 1 << 20, age_ms_max: i64::MAX, when_full: WhenFull::DropNewest },
            stream: StreamId(stream),
            clock: Arc::new(Clock::new(|| NOW_MS.get(), TimestampMs(0))),
            counters: Arc::new(Counters::default()),
            disk: Arc::new(OsDisk),
        });
        Self { spool: spool.unwrap(), stream, frozen: 0 }
    }

    /// Freezes one reading. Returns how many batches wait, how many of them in memory only, and whether the disk fails.
    fn freeze(&mut self) -> (usize, usize, bool) {
        self.frozen += 1;
        let readings = ReadingRange { first: self.frozen, last: self.frozen };
        let list = Arc::new(SeriesList::of(&[Series { name: "load_1m".into(), labels: Labels::new() }]));
        let columns = [vec![Sample { time: TimestampMs(1_000), value: 1.0 }]];
        let batch = Batch::freeze(StreamId(self.stream), readings, None, list.id, &columns, 0);
        self.spool.freeze(batch, &list).unwrap();
        self.stats()
    }

    fn stats(&self) -> (usize, usize, bool) {
        let stats = self.spool.stats();
        (stats.batches, stats.batches_in_memory, stats.disk_fails)
    }

    /// Delivers one batch; returns its stream and reading.
    fn deliver(&self) -> Option<(u64, u64)> {
        let waiting = self.spool.fresh().or_else(|| self.spool.backlog())?;
        self.spool.settle(&waiting);
        Some((waiting.batch.stream.0, waiting.batch.readings.first))
    }
}

#[test]
fn a_disk_that_can_only_be_read_is_read_and_written_again_once_it_can_be() {
    let root = TempDir::new().unwrap();
    if let Some(mount) = Mount::at(root.path()) {
        is_read_and_written_again(&mount);
        return without_a_lock_it_waits_until_it_can_be_written(&mount);
    }
    // Whoever may not mount here may do so in a namespace of its own, unless the kernel says no to that, too.
    if env::var_os(IN_A_NAMESPACE).is_some() || !can(Command::new("unshare").args(["-rm", "true"])) {
        eprintln!(
            "SKIPPED {READ_ONLY}: neither this user nor a namespace of its own may mount a file system"
        );
        return;
    }
    let mut again = Command::new("unshare");
    again.arg("-rm").arg(env::current_exe().unwrap()).args(["--exact", READ_ONLY, "--nocapture"]);
    assert!(
        again.env(IN_A_NAMESPACE, "yes").status().unwrap().success(),
        "it fails in a namespace of its own"
    );
}

fn is_read_and_written_again(mount: &Mount) {
    let dir = mount.0.join("with-lock");
    let mut first = Process::start(&dir, 1);
    for waiting in 1..=3 {
        assert_eq!(first.freeze(), (waiting, 0, false));
    }
    drop(first);
    mount.is("ro");
    let mut second = Process::start(&dir, 2);
    assert_eq!(second.stats(), (3, 0, false));
    assert_eq!(second.freeze(), (4, 1, true));
    assert_eq!([second.deliver(), second.deliver()], [Some((2, 1)), Some((1, 1))]);
    assert_eq!(second.freeze(), (3, 1, true));
    mount.is("rw");
    NOW_MS.set(NOW_MS.get() + 10_000);
    assert_eq!(second.freeze(), (4, 0, false));
    drop(second);
    let third = Process::start(&dir, 3);
    let left: Vec<(u64, u64)> = std::iter::from_fn(|| third.deliver()).collect();
    assert_eq!(left, [(1, 2), (1, 3), (2, 2), (2, 3)]);
}

fn without_a_lock_it_waits_until_it_can_be_written(mount: &Mount) {
    let dir = mount.0.join("without-lock");
    Process::start(&dir, 1).freeze();
    fs::remove_file(dir.join("lock")).unwrap();
    mount.is("ro");
    let mut there = Process::start(&dir, 2);
    let mut nowhere = Process::start(&mount.0.join("without-folder"), 2);
    assert_eq!((there.freeze(), nowhere.freeze()), ((1, 1, true), (1, 1, true)));
    assert_eq!((there.deliver(), nowhere.deliver()), (Some((2, 1)), Some((2, 1))));
    assert_eq!((there.freeze(), nowhere.freeze()), ((1, 1, true), (1, 1, true)));
    mount.is("rw");
    NOW_MS.set(NOW_MS.get() + 10_000);
    assert_eq!((there.freeze(), nowhere.freeze()), ((3, 0, false), (2, 0, false)));
}
