//! The nouns of a host that is no Linux, as far as sysinfo tells them on macOS and Windows.

pub mod cpu;
pub mod disk;
pub mod load;
pub mod memory;
pub mod network;
pub mod uptime;

use super::{
    CollectError, Collector,
    itself::{self, Itself},
    top::Look,
};
use crate::{clock::Clock, settings::collection::Collection};
use std::{collections::BTreeMap, sync::Arc};

/// The nouns of this system, in the order in which they are read, and the names each of them emits.
pub const NOUNS: [(&str, &[&str]); 7] = [
    ("cpu", cpu::DESCRIBED),
    ("memory", memory::DESCRIBED),
    ("disk", disk::DESCRIBED),
    ("network", network::DESCRIBED),
    ("load", load::DESCRIBED),
    ("uptime", uptime::DESCRIBED),
    ("itself", itself::DESCRIBED),
];

/// The nouns' collectors, in the order of [`NOUNS`].
pub fn collectors(
    collection: &Collection,
    _clock: &Arc<Clock>,
    itself: Itself,
) -> [Box<dyn Collector>; NOUNS.len()] {
    let exclude = &collection.exclude;
    [
        Box::new(cpu::Cpu::new()),
        Box::new(memory::Memory::new()),
        Box::new(disk::Disk::new(exclude.clone())),
        Box::new(network::Network::new(exclude.interfaces.clone())),
        Box::new(load::Load),
        Box::new(uptime::Uptime),
        Box::new(itself),
    ]
}

/// The processes of this host: not told here.
#[derive(Debug, Default)]
pub struct ProcessTable;

impl ProcessTable {
    /// Nothing.
    pub fn look(&mut self) -> Result<Look, CollectError> {
        Ok(Look::default())
    }
}

/// Who these processes belong to: not told here.
pub fn owners(_pids: &[u32]) -> BTreeMap<u32, String> {
    BTreeMap::new()
}

/// Resident memory of this process: not told here.
#[derive(Default)]
pub struct Resident;

impl Resident {
    /// Nothing.
    pub fn bytes(&mut self) -> Result<Option<u64>, CollectError> {
        Ok(None)
    }
}
