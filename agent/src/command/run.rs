//! `run`: two threads around a spool, and one that waits for the signal to stop.

use super::{CommandError, client, os, server_and_identity};
use crate::{
    clock::Clock,
    collectors::Collectors,
    counters::Counters,
    facts::{self, untold::Untold},
    os_clock,
    pending::Pending,
    push::{
        client::Client,
        identity::Identity,
        sender::{PATH, Sender, State},
    },
    recorder::{self, Recorder},
    schedule::{FLUSH_MS_MAX, Schedule},
    settings::Settings,
    signals::Signals,
    spool::{self, Setup, Spool, disk::OsDisk, rejected},
};
use edgewatch_shared::wire::push::{MEDIA_TYPE, StreamId};
use log::{info, warn};
use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

/// Collects and pushes until SIGTERM or SIGINT, then sends what is fresh within 5 s.
pub fn run(settings: &Settings) -> Result<(), CommandError> {
    let (url, identity) = server_and_identity(settings)?;
    let client = client(settings, url)?;
    let signals = Signals::catch().map_err(os("cannot wait for signals"))?;
    let clock = Arc::new(Clock::new(os_clock::running_ms, os_clock::wall()));
    let counters = Arc::new(Counters::default());
    // Without randomness two streams could be taken for one, and samples for repeats.
    let stream = getrandom::u64().map_err(|error| io::Error::other(error.to_string()));
    let stream = StreamId(stream.map_err(os("cannot begin a stream"))?);
    let spool = Spool::open(Setup {
        dir: settings.state_dir.join(spool::FOLDER),
        limits: settings.spool,
        stream,
        clock: Arc::clone(&clock),
        counters: Arc::clone(&counters),
        disk: Arc::new(OsDisk),
    })?;
    let spool = Arc::new(spool);
    info!("pushing to {} as {}", client.url(), identity.name());
    if spool.stats().batches > 0 {
        info!("{} batches are left from before, they are delivered beside new ones", spool.stats().batches);
    }
    let schedule = Arc::new(Schedule::new(settings.push_interval_ms));
    let pending = Pending::new(stream);
    let shared = Shared { clock, counters, schedule: Arc::clone(&schedule), spool: Arc::clone(&spool) };
    let sent = start(settings, client, identity, pending, shared).map_err(os("cannot start"))?;
    signals.wait();
    schedule.stop();
    // Whether the sending thread ended or the time did: what counts is what is left.
    let _in_time = sent.recv_timeout(Duration::from_millis(FLUSH_MS_MAX));
    let left = spool.stats();
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

/// What both threads work with.
struct Shared {
    clock: Arc<Clock>,
    counters: Arc<Counters>,
    schedule: Arc<Schedule>,
    spool: Arc<Spool>,
}

/// Starts both threads; the receiver hears when the sending one has ended.
fn start(
    settings: &Settings,
    client: Client,
    identity: Identity,
    pending: Pending,
    shared: Shared,
) -> io::Result<Receiver<()>> {
    let Shared { clock, counters, schedule, spool } = shared;
    let untold = Arc::new(Untold::default());
    let waiting = {
        let spool = Arc::clone(&spool);
        Box::new(move || spool.stats().batches)
    };
    let mut collectors = Collectors::of_this_host(&settings.collection, Arc::clone(&counters), waiting);
    let recorder = Recorder {
        collect: Box::new(move || collectors.collect()),
        gather_facts: facts::gather,
        untold: Arc::clone(&untold),
        host_in_body: identity.host_in_body().map(str::to_owned),
        interval_ms: settings.collect_interval_ms,
        clock: Arc::clone(&clock),
        schedule: Arc::clone(&schedule),
        spool: Arc::clone(&spool),
        pending,
        state: recorder::State::default(),
    };
    let sender = Sender {
        spool,
        schedule,
        clock,
        counters,
        untold,
        post: Box::new(move |bearer, body| client.post(PATH, bearer, MEDIA_TYPE, body)),
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

/// A number out of `[0, 1)`; the middle if the operating system has no randomness to give, which only costs the spread.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |bits| f64::from(bits) / (f64::from(u32::MAX) + 1.0))
}
