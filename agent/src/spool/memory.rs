//! Batches that the disk did not take.

use crate::batch::{Batch, SeriesList};
use edgewatch_shared::wire::push::DictionaryId;
use std::{collections::VecDeque, sync::Arc};

/// Bytes of batches that are kept in memory while the disk does not take them. Reason: 12 hours of an ordinary host, and
/// a tenth of what the agent may use.
pub const MEMORY_BYTES_MAX: usize = 512 << 10;

/// A batch, and its series list.
#[derive(Debug)]
pub struct InMemory {
    /// The batch.
    pub batch: Batch,
    /// Its list, which it shares with its neighbours.
    pub list: Arc<SeriesList>,
    bytes: usize,
}

/// The batches, from the oldest to the newest.
#[derive(Debug, Default)]
pub struct Memory {
    batches: VecDeque<InMemory>,
    bytes: usize,
}

impl Memory {
    /// Adds the newest batch. It comes back if there is no room for it.
    pub fn push(&mut self, batch: Batch, list: &Arc<SeriesList>) -> Result<(), Batch> {
        let added = in_memory(batch, list, self.batches.back());
        if self.bytes.saturating_add(added.bytes) > MEMORY_BYTES_MAX {
            return Err(added.batch);
        }
        self.bytes = self.bytes.saturating_add(added.bytes);
        self.batches.push_back(added);
        Ok(())
    }

    /// Puts a batch before all others. False if there is no room for it.
    pub fn push_before(&mut self, batch: Batch, list: &Arc<SeriesList>) -> bool {
        let known = self.batches.front().map(|next| &next.list).filter(|known| known.id == list.id);
        let added = in_memory(batch, known.unwrap_or(list), self.batches.front());
        let has_room = self.bytes.saturating_add(added.bytes) <= MEMORY_BYTES_MAX;
        if has_room {
            self.put_back(added);
        }
        has_room
    }

    /// Takes the oldest batch out.
    pub fn pop(&mut self) -> Option<InMemory> {
        let oldest = self.batches.pop_front()?;
        self.bytes = self.bytes.saturating_sub(oldest.bytes);
        Some(oldest)
    }

    /// Puts the oldest batch back.
    pub fn put_back(&mut self, oldest: InMemory) {
        self.bytes = self.bytes.saturating_add(oldest.bytes);
        self.batches.push_front(oldest);
    }

    /// Keeps some of the batches.
    pub fn retain(&mut self, stays: impl Fn(&Batch) -> bool) {
        let bytes = &mut self.bytes;
        self.batches.retain(|known| {
            let stays = stays(&known.batch);
            if !stays {
                *bytes = bytes.saturating_sub(known.bytes);
            }
            stays
        });
    }

    /// The batches, from the oldest to the newest.
    pub fn iter(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter().map(|known| &known.batch)
    }

    /// A series list of one of them.
    pub fn list(&self, id: DictionaryId) -> Option<&Arc<SeriesList>> {
        self.batches.iter().map(|known| &known.list).find(|list| list.id == id)
    }

    /// How many batches there are.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }
}

/// A batch beside its neighbour: a list that both have is counted once.
fn in_memory(batch: Batch, list: &Arc<SeriesList>, neighbour: Option<&InMemory>) -> InMemory {
    let is_shared = neighbour.is_some_and(|neighbour| Arc::ptr_eq(&neighbour.list, list));
    let list_bytes = if is_shared { 0 } else { list.encoded.len() };
    let bytes = batch.to_bytes().len().saturating_add(list_bytes);
    InMemory { batch, list: Arc::clone(list), bytes }
}
