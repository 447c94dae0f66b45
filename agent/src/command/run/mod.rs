//! `run`: two threads around a spool, and one that does what signals say and tells `status` how it goes.

mod reload;
mod teller;

use super::{CommandError, client, os, server_and_identity};
use crate::{
    clock::Clock,
    collectors::{Collectors, top::Records},
    counters::Counters,
    facts::{self, untold::Untold},
    os_clock,
    pending::Pending,
    push::{
        client::Client,
        identity::Identity,
        sender::{PATH, Post, Sender, State},
        verdict::judge,
    },
    recorder::{self, Collect, Recorder},
    schedule::{FLUSH_MS_MAX, Schedule},
    settings::{Settings, collection::Collection},
    signals::{Signals, Told},
    spool::{self, Setup, Spool, disk::OsDisk, rejected},
    status::Board,
};
use edgewatch_shared::wire::push::{MEDIA_TYPE, StreamId};
use log::{info, warn};
use reload::{Live, Running, reload};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};
use teller::Teller;

/// How long after news the status is written. Reason: by then what the news led to is done; and no disk minds.
const STATUS_AFTER: Duration = Duration::from_secs(1);

/// What the threads work with together.
struct Shared {
    clock: Arc<Clock>,
    counters: Arc<Counters>,
    schedule: Arc<Schedule>,
    spool: Arc<Spool>,
    board: Arc<Board>,
    live: Arc<Live>,
}

/// Collects and pushes until SIGTERM or SIGINT, then sends what is fresh within 5 s. SIGHUP has the configuration read
/// anew.
pub fn run(settings: &Settings, flags: &BTreeMap<&'static str, String>) -> Result<(), CommandError> {
    let (url, identity) = server_and_identity(settings)?;
    let client = client(settings, url)?;
    let mut signals = Signals::catch().map_err(os("cannot wait for signals"))?;
    // Without randomness two streams could be taken for one, and samples for repeats.
    let stream = getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
    let stream = StreamId(stream.map_err(os("cannot begin a stream"))?);
    let shared = shared(settings, stream)?;
    info!("pushing to {} as {}", client.url(), identity.name());
    let left = shared.spool.stats().batches;
    if left > 0 {
        info!("{left} batches are left from before, they are delivered beside new ones");
    }
    let mut teller = Teller::new(settings, &client, &identity);
    let running =
        Running { settings: settings.clone(), url: client.url().clone(), identity: identity.clone() };
    let sent = start(settings, client, identity, stream, &shared, &signals).map_err(os("cannot start"))?;
    wait_for_the_end(running, flags, &mut signals, &shared, &mut teller);
    shared.schedule.stop();
    // Whether the sending thread ended or the time did: what counts is what is left.
    let _in_time = sent.recv_timeout(Duration::from_millis(FLUSH_MS_MAX));
    teller.tell(&shared);
    let left = shared.spool.stats();
    match (left.batches, left.batches_in_memory) {
        (0, _) => info!("stopped, nothing is left behind"),
        (batches, 0) => {
            info!("stopped; {batches} batches with {} samples wait for the next start", left.samples);
        }
        (batches, lost) => {
            warn!("stopped; of {batches} batches {lost} were neither delivered nor written and are lost");
        }
    }
    Ok(())
}

fn shared(settings: &Settings, stream: StreamId) -> Result<Shared, CommandError> {
    let clock = Arc::new(Clock::new(os_clock::running_ms, os_clock::wall()));
    let counters = Arc::new(Counters::default());
    let spool = Spool::open(Setup {
        dir: settings.state_dir.join(spool::FOLDER),
        limits: settings.spool,
        stream,
        clock: Arc::clone(&clock),
        counters: Arc::clone(&counters),
        disk: Arc::new(OsDisk),
    })?;
    Ok(Shared {
        clock,
        counters,
        schedule: Arc::new(Schedule::new(settings.push_interval_ms)),
        spool: Arc::new(spool),
        board: Arc::new(Board::default()),
        live: Arc::new(Live::new(settings)),
    })
}

/// Does what signals ask for until one asks to stop, and has the status written when there is news.
fn wait_for_the_end(
    mut running: Running,
    flags: &BTreeMap<&'static str, String>,
    signals: &mut Signals,
    shared: &Shared,
    teller: &mut Teller,
) {
    let mut due = Some(Instant::now());
    loop {
        match signals.wait(due.map(|due| due.saturating_duration_since(Instant::now()))) {
            Some(Told::Stop) => return,
            Some(Told::News) => due = due.or_else(|| Instant::now().checked_add(STATUS_AFTER)),
            Some(Told::Reload) => match reload(&mut running, flags, &shared.live, &shared.schedule) {
                Ok(late) => {
                    info!("the configuration was read anew{}", from_the_next_start(&late));
                    teller.url = running.url.to_string();
                }
                Err(why) => warn!("the configuration is not read anew, the old one holds: {why}"),
            },
            None => {
                teller.tell(shared);
                due = None;
            }
        }
    }
}

fn from_the_next_start(late: &[&str]) -> String {
    match late {
        [] => String::new(),
        keys => format!("; from the next start on: {}", keys.join(", ")),
    }
}

/// Starts both threads; the receiver hears when the sending one has ended.
fn start(
    settings: &Settings,
    client: Client,
    identity: Identity,
    stream: StreamId,
    shared: &Shared,
    signals: &Signals,
) -> io::Result<Receiver<()>> {
    let untold = Arc::new(Untold::default());
    let has_records = !settings.collection.off.matches("processes");
    let recorder = Recorder {
        collect: collecting(&settings.collection, shared),
        records: has_records.then(|| Records::of_this_host(shared.clock.running_ms())),
        gather_facts: facts::gather,
        untold: Arc::clone(&untold),
        host_in_body: identity.host_in_body().map(str::to_owned),
        interval_ms: Arc::clone(&shared.live.interval_ms),
        clock: Arc::clone(&shared.clock),
        schedule: Arc::clone(&shared.schedule),
        spool: Arc::clone(&shared.spool),
        pending: Pending::new(stream),
        state: recorder::State::default(),
    };
    let sender = Sender {
        spool: Arc::clone(&shared.spool),
        schedule: Arc::clone(&shared.schedule),
        clock: Arc::clone(&shared.clock),
        counters: Arc::clone(&shared.counters),
        untold,
        post: posting(client, shared, signals)?,
        identity,
        random,
        rejected_dir: settings.state_dir.join(rejected::FOLDER),
        state: State::default(),
    };
    let (ended, sent) = mpsc::channel();
    thread::Builder::new().name("collect".to_owned()).spawn(|| recorder.run())?;
    thread::Builder::new().name("send".to_owned()).spawn(move || {
        sender.run();
        // Nobody listens any more once the time is over.
        let _heard = ended.send(());
    })?;
    Ok(sent)
}

/// Reads the host once, by the configuration of the time.
fn collecting(collection: &Collection, shared: &Shared) -> Collect {
    let (live, spool) = (Arc::clone(&shared.live), Arc::clone(&shared.spool));
    let (clock, counters) = (Arc::clone(&shared.clock), Arc::clone(&shared.counters));
    let of = move |collection: &Collection| {
        let spool = Arc::clone(&spool);
        let waiting = Box::new(move || spool.stats().batches);
        Collectors::of_this_host(collection, &clock, Arc::clone(&counters), waiting)
    };
    let mut collectors = of(collection);
    Box::new(move || live.collect(&mut collectors, &of))
}

/// Makes one request to the server of the time, and has what came of it noted.
fn posting(mut client: Client, shared: &Shared, signals: &Signals) -> io::Result<Post> {
    let (live, board, waker) = (Arc::clone(&shared.live), Arc::clone(&shared.board), signals.waker()?);
    Ok(Box::new(move |bearer, body| {
        let answer = live.post(&mut client, |client| client.post(PATH, bearer, MEDIA_TYPE, body));
        let verdict = match &answer {
            Ok(answer) => judge(answer).verdict,
            Err(no_answer) => no_answer.into(),
        };
        board.note(&verdict, os_clock::wall());
        waker.wake();
        answer
    }))
}

/// A number out of `[0, 1)`; the middle if the operating system has no randomness to give, which only costs the spread.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / (f64::from(u32::MAX) + 1.0))
}
