//! `run`: two threads around a queue, and one that waits for the signal to stop.

use super::{CommandError, client, server_and_identity};
use crate::{
    clock::Clock,
    collectors::Collectors,
    counters::Counters,
    facts, os_clock,
    push::{client::Client, identity::Identity, sender::Sender},
    queue::Queue,
    recorder::Recorder,
    schedule::{FLUSH_MS_MAX, Schedule},
    settings::Settings,
    signals::Signals,
};
use edgewatch_shared::wire::push::StreamId;
use log::{info, warn};
use std::{
    io,
    sync::{
        Arc,
        atomic::AtomicBool,
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};

/// Collects and pushes until SIGTERM or SIGINT, then sends what is left within 5 s.
pub fn run(settings: &Settings) -> Result<(), CommandError> {
    let (url, identity) = server_and_identity(settings)?;
    let client = client(settings, url)?;
    let signals = Signals::catch().map_err(os("cannot wait for signals"))?;
    info!("pushing to {} as {}", client.url(), identity.name());
    let schedule = Arc::new(Schedule::new(settings.push_interval_ms));
    let queue = Arc::new(Queue::new(settings.queue_batches));
    let sent = start(settings, client, identity, &schedule, &queue).map_err(os("cannot start"))?;
    signals.wait();
    schedule.stop();
    // Whether the sending thread ended or the time did: what counts is what is left.
    let _in_time = sent.recv_timeout(Duration::from_millis(FLUSH_MS_MAX));
    match queue.len() {
        0 => info!("stopped, nothing is left behind"),
        batches => warn!(
            "stopped; {batches} batches with {} samples were not delivered and are lost",
            queue.sample_count()
        ),
    }
    Ok(())
}

fn os(what: &'static str) -> impl FnOnce(io::Error) -> CommandError {
    move |error| CommandError::Os { what, error }
}

/// Starts both threads; the receiver hears when the sending one has ended.
fn start(
    settings: &Settings,
    client: Client,
    identity: Identity,
    schedule: &Arc<Schedule>,
    queue: &Arc<Queue>,
) -> io::Result<Receiver<()>> {
    let clock = Arc::new(Clock::new(os_clock::running_ms, os_clock::wall()));
    let counters = Arc::new(Counters::default());
    let facts_due = Arc::new(AtomicBool::new(true));
    let queue_batches = {
        let queue = Arc::clone(queue);
        Box::new(move || queue.len())
    };
    // Without randomness two streams could be taken for one, and samples for repeats.
    let stream = StreamId(getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?);
    let recorder = Recorder {
        collectors: Collectors::of_this_host(&settings.collection, Arc::clone(&counters), queue_batches),
        gather_facts: facts::gather,
        facts_due: Arc::clone(&facts_due),
        stream,
        host_in_body: identity.host_in_body().map(str::to_owned),
        interval_ms: settings.collect_interval_ms,
        clock: Arc::clone(&clock),
        schedule: Arc::clone(schedule),
        queue: Arc::clone(queue),
        counters: Arc::clone(&counters),
    };
    let sender = Sender {
        queue: Arc::clone(queue),
        schedule: Arc::clone(schedule),
        clock,
        counters,
        facts_due,
        client,
        identity,
        random,
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
