//! Writes down how the agent is, for `status`.

use super::Shared;
use crate::{
    os_clock, platform,
    push::{client::Client, identity::Identity},
    settings::Settings,
    status::{Process, Status, Waiting},
};
use edgewatch_shared::TimestampMs;
use log::{debug, warn};
use std::path::PathBuf;

/// What is told and does not change by itself.
pub(super) struct Teller {
    /// The server.
    pub(super) url: String,
    name: String,
    process: Option<Process>,
    state_dir: PathBuf,
    spool_bytes_max: u64,
    started_ms: TimestampMs,
    is_failing: bool,
}

impl Teller {
    /// Nothing is told yet.
    pub(super) fn new(settings: &Settings, client: &Client, identity: &Identity) -> Self {
        Self {
            url: client.url().to_string(),
            name: identity.name().to_owned(),
            process: platform::process(std::process::id()),
            state_dir: settings.state_dir.clone(),
            spool_bytes_max: settings.spool.bytes_max,
            started_ms: os_clock::wall(),
            is_failing: false,
        }
    }

    /// Writes it. A disk that does not take it is said once.
    pub(super) fn tell(&mut self, shared: &Shared) {
        let Some(process) = self.process.clone() else { return };
        let spool = shared.spool.stats();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process,
            started_ms: self.started_ms,
            written_ms: os_clock::wall(),
            url: self.url.clone(),
            name: self.name.clone(),
            pace_ms: shared.schedule.pace_ms(),
            pushes: shared.board.pushes(),
            waiting: Waiting {
                batches: spool.batches,
                samples: spool.samples,
                batches_in_memory: spool.batches_in_memory,
                oldest_ms: spool.oldest,
                spool_bytes: spool.bytes,
                spool_bytes_max: self.spool_bytes_max,
                disk_fails: spool.disk_fails,
                dropped_batches: spool.dropped_batches,
                rejected_batches: spool.rejected_batches,
                damaged_batches: spool.damaged_batches,
                push_failures: shared.counters.push_failures.get(),
            },
        };
        let state_dir = self.state_dir.display();
        let written =
            platform::create_private_dir(&self.state_dir).and_then(|()| status.write(&self.state_dir));
        match (&written, self.is_failing) {
            (Err(error), false) => warn!("the status cannot be written to {state_dir}: {error}"),
            (Ok(()), true) => debug!("the status is written to {state_dir} again"),
            _ => {}
        }
        self.is_failing = written.is_err();
    }
}
