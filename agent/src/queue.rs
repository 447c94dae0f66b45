//! Batches on their way from the collecting thread to the sending one.
//!
//! Bounded; when it is full the newest batch is turned away: the oldest mark the beginning of
//! an outage, which is what people look for. In memory: what waits here is lost when the process
//! ends. A spool on disk will take this module's place.

use crate::batch::Batch;
use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// The queue is full; the batch comes back to whoever wanted to add it.
#[derive(Debug, PartialEq)]
pub struct Full(pub Box<Batch>);

/// A bounded first-in-first-out queue between two threads.
#[derive(Debug)]
pub struct Queue {
    capacity: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Arc<Batch>>,
    closed: bool,
}

impl Queue {
    /// An empty queue for at most `capacity` batches.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Adds the newest batch.
    pub fn push(&self, batch: Batch) -> Result<(), Full> {
        let mut state = self.lock();
        if state.batches.len() >= self.capacity {
            return Err(Full(Box::new(batch)));
        }
        state.batches.push_back(Arc::new(batch));
        self.changed.notify_one();
        Ok(())
    }

    /// The oldest batch, which stays in the queue until it is taken or replaced. Waits for
    /// one; `None` once the queue is empty and closed.
    pub fn wait_for_front(&self) -> Option<Arc<Batch>> {
        let waiting = |state: &mut State| state.batches.is_empty() && !state.closed;
        let state = self.changed.wait_while(self.lock(), waiting);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.batches.front().map(Arc::clone)
    }

    /// Takes the oldest batch out.
    pub fn take_front(&self) {
        self.lock().batches.pop_front();
    }

    /// Puts others in the oldest batch's place, in their order. They are the same readings, so the capacity does not matter.
    pub fn replace_front(&self, with: impl DoubleEndedIterator<Item = Batch>) {
        let mut state = self.lock();
        state.batches.pop_front();
        for batch in with.rev() {
            state.batches.push_front(Arc::new(batch));
        }
    }

    /// Nothing more will be added: whoever waits for the end of the queue may stop there.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Batches in the queue, the one being sent included.
    pub fn len(&self) -> usize {
        self.lock().batches.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Samples in the queue.
    pub fn sample_count(&self) -> usize {
        self.lock().batches.iter().map(|batch| batch.sample_count()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid between any two lines above, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::batch as of_readings;

    /// The batch of one reading.
    fn batch(number: u64) -> Batch {
        of_readings(number..=number)
    }

    fn drained(queue: &Queue) -> Vec<Batch> {
        queue.close();
        std::iter::from_fn(|| {
            let front = queue.wait_for_front()?;
            queue.take_front();
            Some(Batch::clone(&front))
        })
        .collect()
    }

    #[test]
    fn a_full_queue_turns_the_newest_away_and_keeps_the_order() {
        let queue = Queue::new(2);
        assert_eq!(queue.push(batch(1)), Ok(()));
        assert_eq!(queue.push(batch(2)), Ok(()));
        assert_eq!(queue.push(batch(3)), Err(Full(Box::new(batch(3)))));
        assert_eq!((queue.len(), queue.sample_count()), (2, 3));
        assert_eq!(drained(&queue), [batch(1), batch(2)]);
    }

    #[test]
    fn the_front_stays_until_it_is_taken() {
        let queue = Queue::new(2);
        queue.push(batch(1)).unwrap();
        assert_eq!(queue.wait_for_front(), queue.wait_for_front());
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn a_split_front_keeps_its_place_even_in_a_full_queue() {
        let queue = Queue::new(2);
        queue.push(batch(1)).unwrap();
        queue.push(batch(3)).unwrap();
        queue.replace_front([batch(1), batch(2)].into_iter());
        assert_eq!(drained(&queue), [batch(1), batch(2), batch(3)]);
    }

    #[test]
    fn a_closed_queue_is_drained_and_then_ends() {
        let queue = Queue::new(1);
        queue.push(batch(1)).unwrap();
        queue.close();
        assert!(queue.wait_for_front().is_some());
        queue.take_front();
        assert_eq!(queue.wait_for_front(), None);
    }

    #[test]
    fn whoever_waits_is_woken_by_a_batch_and_by_the_end() {
        let queue = Queue::new(1);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| drained_while_open(&queue));
            queue.push(batch(1)).unwrap();
            queue.close();
            assert_eq!(waiting.join().unwrap(), 1);
        });
    }

    fn drained_while_open(queue: &Queue) -> usize {
        let mut count = 0;
        while queue.wait_for_front().is_some() {
            queue.take_front();
            count += 1;
        }
        count
    }
}
