//! What a running agent takes over when it is told to read its configuration anew.

use crate::{
    collectors::{Collectors, Reading},
    command::{CommandError, client, read_settings, server_and_identity},
    logger,
    push::{
        client::{Answer, Client, NoAnswer},
        identity::Identity,
    },
    schedule::Schedule,
    server_url::ServerUrl,
    settings::{Settings, collection::Collection},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

/// What waits for the thread that it concerns; a later one takes the place of one that was not fetched yet.
#[derive(Debug)]
struct Handover<T>(Mutex<Option<T>>);

impl<T> Handover<T> {
    fn put(&self, news: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(news);
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What both threads look at before they work.
#[derive(Debug)]
pub(super) struct Live {
    collection: Handover<Collection>,
    client: Handover<Client>,
    /// Milliseconds between readings.
    pub(super) interval_ms: Arc<AtomicI64>,
}

impl Live {
    /// Nothing new yet.
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            collection: Handover(Mutex::new(None)),
            client: Handover(Mutex::new(None)),
            interval_ms: Arc::new(AtomicI64::new(settings.collect_interval_ms)),
        }
    }

    /// Reads the host once, by what is collected from now on.
    pub(super) fn collect(
        &self,
        collectors: &mut Collectors,
        of: impl Fn(&Collection) -> Collectors,
    ) -> Vec<Reading> {
        if let Some(collection) = self.collection.take() {
            *collectors = of(&collection);
        }
        collectors.collect()
    }

    /// Makes one request, to the server of now.
    pub(super) fn post(
        &self,
        client: &mut Client,
        request: impl Fn(&Client) -> Result<Answer, NoAnswer>,
    ) -> Result<Answer, NoAnswer> {
        if let Some(new) = self.client.take() {
            *client = new;
        }
        request(client)
    }
}

/// What the agent runs by.
pub(super) struct Running {
    /// The settings.
    pub(super) settings: Settings,
    /// The server.
    pub(super) url: ServerUrl,
    /// Who pushes.
    pub(super) identity: Identity,
}

/// Reads the configuration anew and has the threads take over what they can; returns what changed and holds from the next
/// start on. A fault anywhere changes nothing.
pub(super) fn reload(
    running: &mut Running,
    flags: &BTreeMap<&'static str, String>,
    live: &Live,
    schedule: &Schedule,
) -> Result<Vec<&'static str>, String> {
    let told = |error: CommandError| error.to_string();
    let (mut after, warnings) = read_settings(flags).map_err(|error| told(error.into()))?;
    // What a start would warn of and pass over, a reload does not take.
    if !warnings.is_empty() {
        return Err(warnings.join("; "));
    }
    let before = &running.settings;
    let mut late = held_back(before, &mut after);
    let (mut url, identity) = server_and_identity(&after).map_err(told)?;
    // Whoever enrolled anew is another host, perhaps of another server, which does not know the key that is signed with.
    if identity != running.identity {
        late.push("credentials");
        url = running.url.clone();
    }
    let client = client(&after, url).map_err(|error| told(error.into()))?;
    running.url = client.url().clone();
    live.client.put(client);
    // Collectors that go on know what they read before.
    if after.collection != before.collection {
        live.collection.put(after.collection.clone());
    }
    live.interval_ms.store(after.collect_interval_ms, Ordering::Relaxed);
    schedule.set(after.push_interval_ms);
    logger::start(after.log_level);
    running.settings = after;
    Ok(late)
}

/// Has `after` keep what a running agent cannot change; returns the keys of what would have changed.
fn held_back(before: &Settings, after: &mut Settings) -> Vec<&'static str> {
    let changed = [
        ("state_dir", before.state_dir != after.state_dir),
        ("token", before.token != after.token),
        ("name", before.name != after.name),
        ("spool_size", before.spool.bytes_max != after.spool.bytes_max),
        ("spool_age", before.spool.age_ms_max != after.spool.age_ms_max),
        ("spool_full", before.spool.when_full != after.spool.when_full),
    ];
    after.state_dir.clone_from(&before.state_dir);
    after.collection.state_dir.clone_from(&before.state_dir);
    after.token.clone_from(&before.token);
    after.name.clone_from(&before.name);
    after.spool = before.spool;
    changed.into_iter().filter_map(|(key, is_new)| is_new.then_some(key)).collect()
}
