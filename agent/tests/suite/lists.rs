//! A series list that the server asks for while the disk cannot be read.

use super::fake_server::{host, read_push, ring};
use edgewatch_agent::{
    batch::{Batch, SeriesList},
    clock::Clock,
    counters::Counters,
    facts::untold::Untold,
    push::{
        client::Answer,
        identity::Identity,
        sender::{Next, Sender, State},
    },
    schedule::Schedule,
    spool::{Limits, Setup, Spool, WhenFull, disk::Disk},
};
use edgewatch_shared::{
    ErrorCode, Sample, Series, TimestampMs,
    keys::Purpose,
    limits::PUSH_INTERVAL_MS,
    series::Labels,
    wire::{
        PushReply,
        push::{ReadingRange, StreamId},
    },
};
use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use tempfile::TempDir;

/// A disk on which so many files can be opened to read, and then none.
struct Opens(AtomicU32);

impl Disk for Opens {
    fn open(&self, path: &Path) -> io::Result<File> {
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map_err(|_| io::Error::other("too many open files")).and_then(|_| File::open(path))
    }
}

/// Takes what it is told the list of, and else asks for it.
fn answer(body: &[u8]) -> Answer {
    let has_list = read_push(body).metrics.unwrap().series.is_some();
    let (status, body) = if has_list {
        let reply = PushReply {
            ingested: 1,
            duplicate: 0,
            refused: 0,
            next_push_ms: 60_000,
            server_ms: TimestampMs(1_000),
        };
        (202, serde_json::to_string(&reply).unwrap())
    } else {
        let code = ErrorCode::UnknownDictionary.as_str();
        (409, format!(r#"{{"error":{{"code":"{code}","message":"asked for"}}}}"#))
    };
    Answer { status, retry_after_s: None, body: body.into_bytes() }
}

#[test]
fn a_batch_whose_list_cannot_be_read_now_is_sent_with_it_once_it_can_be() {
    let dir = TempDir::new().unwrap();
    let disk = Arc::new(Opens(AtomicU32::new(0)));
    let clock = Arc::new(Clock::new(|| 0, TimestampMs(1_000)));
    let counters = Arc::new(Counters::default());
    let spool = Spool::open(Setup {
        dir: dir.path().join("spool"),
        limits: Limits { bytes_max: 1 << 20, age_ms_max: i64::MAX, when_full: WhenFull::DropNewest },
        stream: StreamId(1),
        clock: Arc::clone(&clock),
        counters: Arc::clone(&counters),
        disk: Arc::<Opens>::clone(&disk),
    });
    let spool = Arc::new(spool.unwrap());
    let list = Arc::new(SeriesList::of(&[Series { name: "load_1m".into(), labels: Labels::new() }]));
    let columns = [vec![Sample { time: TimestampMs(1_000), value: 1.0 }]];
    let readings = ReadingRange { first: 1, last: 1 };
    spool.freeze(Batch::freeze(StreamId(1), readings, None, list.id, &columns, 1_000), &list).unwrap();
    let mut sender = Sender {
        spool: Arc::clone(&spool),
        schedule: Arc::new(Schedule::new(PUSH_INTERVAL_MS)),
        clock,
        counters: Arc::clone(&counters),
        untold: Arc::new(Untold::default()),
        post: Box::new(|_, body| Ok(answer(body))),
        identity: Identity::Enrolled {
            id: host(),
            key: ring().signing(Purpose::Host(host())),
            name: "web-01".into(),
        },
        random: || 0.5,
        rejected_dir: dir.path().join("rejected"),
        state: State::default(),
    };
    // The batch can be read, its list cannot.
    disk.0.store(1, Ordering::Relaxed);
    assert!(matches!(sender.step(), Next::Pause(_)));
    assert_eq!(disk.0.load(Ordering::Relaxed), 0);
    disk.0.store(u32::MAX, Ordering::Relaxed);
    assert_eq!((sender.step(), spool.is_empty()), (Next::Step, true));
    assert_eq!(counters.damaged_batches.get(), 0);
}
