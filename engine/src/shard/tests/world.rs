//! What the tests of a shard act on: the shard, its storage, and what stands for R2.

use super::*;
use crate::sql::Value;
use edgewatch_shared::{Sample, Series, series::SeriesSamples};

type Pushed = Result<Reply, ShardError>;

/// A shard, its storage and what stands for R2.
pub struct World {
    pub sql: TestSql,
    pub instance: Instance,
    pub shard: Shard<TestSql>,
    pub with_r2: bool,
    pub retention: RetentionSettings,
    pub r2: BTreeMap<String, Vec<u8>>,
}

impl World {
    pub fn new() -> Self {
        let sql = TestSql::new();
        let mut instance = Instance { heads: HeadRegistry::new(1 << 20), ..Instance::default() };
        let shard = Shard::open(sql.clone(), Some(3), &mut instance).unwrap();
        let mut world = Self {
            sql,
            instance,
            shard,
            with_r2: true,
            retention: RetentionSettings::default(),
            r2: BTreeMap::new(),
        };
        world.shard.set_bucket(true);
        world.enroll(1).unwrap();
        world
    }

    pub fn without_r2() -> Self {
        let mut world = Self::new();
        world.bind_r2(false);
        world
    }

    pub fn bind_r2(&mut self, is_bound: bool) {
        self.with_r2 = is_bound;
        self.shard.set_bucket(is_bound);
    }

    pub fn reopen(&mut self) {
        self.shard = Shard::open(self.sql.clone(), None, &mut self.instance).unwrap();
        self.shard.set_bucket(self.with_r2);
    }

    pub fn ask(&mut self, request: Request, now: TimestampMs) -> Result<Reply, ShardError> {
        self.shard.answer(Call { counted: Counters::default(), request }, now, &mut self.instance)
    }

    pub fn enroll(&mut self, n: u8) -> Result<Reply, ShardError> {
        let enroll = Enroll { id: host(n), name: name(n), facts: Facts::default(), tags: Vec::new() };
        self.ask(Request::Enroll(enroll), HOUR)
    }

    pub fn push(&mut self, sender: Sender, start: TimestampMs, count: i64, now: TimestampMs) -> Pushed {
        self.push_named("load_1m", sender, start, count, now)
    }

    pub fn push_named(
        &mut self,
        name: &str,
        sender: Sender,
        start: TimestampMs,
        count: i64,
        now: TimestampMs,
    ) -> Pushed {
        self.ask(Request::Push(named_push(name, sender, start, count)), now)
    }

    /// Pushes these values of `load_1m`.
    pub fn push_values(&mut self, n: u8, values: impl Iterator<Item = (TimestampMs, f64)>, now: TimestampMs) {
        let series = Series { name: "load_1m".into(), labels: Labels::new() };
        let samples = values.map(|(time, value)| Sample { time, value }).collect();
        let sender = Sender::Host { id: host(n), claimed: None };
        let push = push_of(sender, &[SeriesSamples { series, samples }], Vec::new());
        self.ask(Request::Push(push), now).unwrap();
    }

    pub fn push_from(&mut self, n: u8, start: TimestampMs, count: i64, now: TimestampMs) {
        self.push(Sender::Host { id: host(n), claimed: None }, start, count, now).unwrap();
    }

    /// Times (ms after [`HOUR`]) and values of everything of host 1, as a query would see it.
    pub fn read_all(&mut self) -> Vec<(i64, f64)> {
        self.read_named("load_1m").unwrap()
    }

    pub fn read_named(&mut self, name: &str) -> Result<Vec<(i64, f64)>, ShardError> {
        let read = Read {
            hosts: vec![host(1)],
            names: vec![name.into()],
            labels: Labels::new(),
            from: TimestampMs(i64::MIN),
            to: TimestampMs(i64::MAX),
            evaluation: None,
            is_partial: false,
        };
        let Reply::Read(reply) = self.ask(Request::Read(read.clone()), HOUR)? else { panic!() };
        let mut merger = Merger::default();
        for part in reply.parts {
            merger.add(part).unwrap();
        }
        for object in reply.objects {
            let bytes = &self.r2[&object.key];
            for part in read_block(bytes, object.rank, &read, &mut Inflater::default()).unwrap() {
                merger.add(part).unwrap();
            }
        }
        let merged = merger.finish();
        Ok(merged.values().flatten().map(|sample| (sample.time.0 - HOUR.0, sample.value)).collect())
    }

    /// Seals everything that is due; returns how many partitions that was.
    pub fn seal(&mut self, now: TimestampMs) -> usize {
        let before = self.shard.partitions().len();
        while self.shard.wal.oldest_frozen(now).is_some() {
            while !self.step(JobKind::Seal, now).unwrap() {}
        }
        before - self.shard.partitions().len()
    }

    /// One step of a job, and what it asks for; says whether the job is done.
    pub fn step(&mut self, kind: JobKind, now: TimestampMs) -> Result<bool, ShardError> {
        match self.shard.work(kind, now, &mut self.instance)? {
            Task::Done => return Ok(true),
            Task::Again => {}
            Task::Store { key, bytes } => {
                assert!(self.with_r2, "{key}");
                let stored = self.r2.entry(key.clone()).or_insert_with(|| bytes.clone());
                assert_eq!(*stored, bytes, "{key} is stored again with other content");
                self.shard.stored()?;
            }
            Task::Read(ranges) => {
                let read = |range: &ObjectRange| {
                    let object = self.r2.get(&range.key)?;
                    let end = (range.offset + range.length) as usize;
                    object.get(range.offset as usize..end).map(<[u8]>::to_vec)
                };
                let bytes = ranges.iter().map(|range| read(range).unwrap_or_default()).collect();
                self.shard.given(bytes);
            }
            Task::LearnRetention => self.shard.set_retention(self.retention)?,
            Task::Delete { keys, .. } => {
                for key in keys {
                    self.r2.remove(&key);
                }
                self.shard.deleted()?;
            }
        }
        Ok(false)
    }

    /// Does a job with a storage that fails after so many statements, and opens the shard anew; says whether it was cut.
    pub fn is_cut_after(&mut self, statements: u32, kind: JobKind, now: TimestampMs) -> bool {
        self.sql.failing_after.set(Some(statements));
        let is_cut = loop {
            match self.step(kind, now) {
                Ok(false) => {}
                Ok(true) => break false,
                Err(_) => break true,
            }
        };
        self.sql.failing_after.set(None);
        self.reopen();
        is_cut
    }

    /// Does every job that is due, and says which.
    pub fn run_due(&mut self, now: TimestampMs) -> Vec<JobKind> {
        let mut done = Vec::new();
        while let Some(job) = self.shard.due_job(now) {
            while !self.step(job.kind, now).unwrap() {}
            self.assert_objects_exist();
            done.push(job.kind);
            assert!(done.len() < 100, "{done:?}");
        }
        done
    }

    /// What is read or will be has its object.
    pub fn assert_objects_exist(&self) {
        let rows =
            self.sql.exec("SELECT key FROM blocks WHERE place = 1 AND state IN (0, 1, 3)", &[]).unwrap();
        for row in rows {
            let [Value::Text(key)] = row.as_slice() else { panic!("{row:?}") };
            assert!(self.r2.contains_key(key), "{key} is gone");
        }
    }

    pub fn hosts(&mut self) -> Vec<HostReport> {
        let Reply::Hosts(hosts) = self.ask(Request::Hosts, HOUR).unwrap() else { panic!() };
        hosts
    }

    pub fn counters(&mut self, store: bool) -> Counters {
        let Reply::Counters(counters) = self.ask(Request::Counters(store), HOUR).unwrap() else { panic!() };
        counters
    }
}

/// A push of samples with their names, a second apart.
pub fn named_push(name: &str, sender: Sender, start: TimestampMs, count: i64) -> Push {
    push_of(sender, batch(name, start, count).series(), vec![("load_1m".into(), count as f64)])
}

fn push_of(sender: Sender, series: &[SeriesSamples], newest: Vec<(String, f64)>) -> Push {
    let named = Named {
        samples: series.iter().map(|entry| entry.samples.len() as u32).sum(),
        series: series.iter().map(|entry| fingerprint(&entry.series)).collect(),
        newest,
        frame: frame::encode_series(series, &mut Deflater::default()).unwrap(),
    };
    let payload = Some(Payload::Named(named));
    Push { sender, facts: None, outside_window: 0, payload, record: None, way: Way::Direct }
}
