//! Group commit: pushes that arrive while others wait are stored together, in one row and one transaction.
//!
//! The first push of a group sets its time: the next turn of the event loop, so that whoever has arrived meanwhile
//! shares the row, or, where many come, a fixed wait. Nobody is answered before the commit; one that fails is everybody's
//! failure. A group is judged as a whole when it is committed, so that nothing has to be known of pushes that wait.

use super::{ShardObject, work};
use crate::{clock, instance};
use edgewatch_engine::{
    call::{Push, Pushed, ShardError},
    counters::Counters,
    head::ShardNumber,
};
use edgewatch_shared::TimestampMs;
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Shared},
};
use std::{cell::RefCell, rc::Rc, time::Duration};
use worker::Delay;

/// From so many pushes a second on a group waits…
const BUSY_PUSHES_PER_S: u32 = 100;
/// …so long: rows are money, and 20 ms are no time for an agent that pushes once a minute.
const BUSY_WAIT_MS: u64 = 20;
/// From so many on, 20 ms hold only just ten pushes, and half of the groups fewer…
const CROWDED_PUSHES_PER_S: u32 = 400;
/// …so it is a little longer, for a row every ten pushes at 500 a second.
const CROWDED_WAIT_MS: u64 = 30;

type Answers = Result<Vec<Result<Pushed, ShardError>>, ShardError>;
type Commit = Shared<LocalBoxFuture<'static, Rc<Answers>>>;

/// Pushes that wait for their commit.
pub struct Group {
    pushes: Vec<Push>,
    counted: Vec<Counters>,
    bytes: usize,
    commit: Commit,
}

/// What is known of the pushes of a shard.
#[derive(Default)]
pub struct Commits {
    group: RefCell<Option<Group>>,
    rate: RefCell<Rate>,
}

#[cfg(feature = "test-hooks")]
impl Commits {
    /// Pushes that wait for their commit.
    pub fn waiting(&self) -> usize {
        self.group.borrow().as_ref().map_or(0, |group| group.pushes.len())
    }
}

/// Stores a push of `bytes` together with those that arrive meanwhile.
pub async fn push(
    object: &Rc<ShardObject>,
    shard: ShardNumber,
    (push, counted, bytes): (Push, Counters, usize),
) -> Result<Pushed, ShardError> {
    let (place, commit) = join(object, shard, (push, counted, bytes))?;
    match commit.await.as_ref() {
        Ok(answers) => match answers.get(place) {
            Some(answer) => answer.clone(),
            None => Err(ShardError::Storage("a push went unanswered".into())),
        },
        Err(error) => Err(error.clone()),
    }
}

/// Adds a push to the group that waits, beginning one if there is none.
fn join(
    object: &Rc<ShardObject>,
    shard: ShardNumber,
    (push, counted, bytes): (Push, Counters, usize),
) -> Result<(usize, Commit), ShardError> {
    let wait_ms = object.commits.rate.borrow_mut().arrived(clock::now());
    let mut group = object.commits.group.borrow_mut();
    let bytes = group.as_ref().map_or(0, |group| group.bytes).saturating_add(bytes);
    if !instance::reserve(shard, bytes) {
        object.take_over(&counted);
        return Err(ShardError::Overloaded);
    }
    let group = group.get_or_insert_with(|| {
        let commit = commit_after(Rc::clone(object), shard, wait_ms).boxed_local().shared();
        // Whoever began the group may be gone before it is committed.
        let driver = commit.clone();
        object.state.wait_until(async move {
            driver.await;
        });
        Group { pushes: Vec::new(), counted: Vec::new(), bytes: 0, commit }
    });
    group.pushes.push(push);
    group.counted.push(counted);
    group.bytes = bytes;
    Ok((group.pushes.len().saturating_sub(1), group.commit.clone()))
}

async fn commit_after(object: Rc<ShardObject>, shard: ShardNumber, wait_ms: u64) -> Rc<Answers> {
    Delay::from(Duration::from_millis(wait_ms)).await;
    #[cfg(feature = "test-hooks")]
    object.tested.released().await;
    let Some(Group { pushes, counted, .. }) = object.commits.group.take() else {
        return Rc::new(Err(ShardError::Storage("a group was committed twice".into())));
    };
    let now = clock::now();
    let answers = object.with_shard(Some(shard), |open, instance| {
        for counted in &counted {
            open.woken(now);
            open.take_over(counted);
        }
        open.push_all(pushes, now, instance)
    });
    instance::release(shard);
    work::after_call(&object).await;
    Rc::new(answers)
}

/// How many pushes arrive.
#[derive(Debug, Default)]
struct Rate {
    second: i64,
    count: u32,
    /// In the second before.
    before: u32,
}

impl Rate {
    /// Counts a push that arrives at `now`, and says how long a group that begins with it waits.
    fn arrived(&mut self, now: TimestampMs) -> u64 {
        let second = now.seconds();
        if second != self.second {
            let follows = second == self.second.saturating_add(1);
            *self = Self { second, count: 0, before: if follows { self.count } else { 0 } };
        }
        self.count = self.count.saturating_add(1);
        match self.count.max(self.before) {
            rate if rate > CROWDED_PUSHES_PER_S => CROWDED_WAIT_MS,
            rate if rate > BUSY_PUSHES_PER_S => BUSY_WAIT_MS,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_waits_where_many_push_and_only_as_long_as_they_do() {
        let mut rate = Rate::default();
        let mut arrive = |count: u32, ms: i64| (0..count).map(|_| rate.arrived(TimestampMs(ms))).last();
        assert_eq!(arrive(BUSY_PUSHES_PER_S, 1_000), Some(0));
        assert_eq!(arrive(1, 1_999), Some(BUSY_WAIT_MS));
        assert_eq!(arrive(1, 2_000), Some(BUSY_WAIT_MS));
        assert_eq!(arrive(CROWDED_PUSHES_PER_S, 2_500), Some(CROWDED_WAIT_MS));
        assert_eq!(arrive(1, 3_000), Some(CROWDED_WAIT_MS));
        assert_eq!(arrive(1, 4_000), Some(0));
        assert_eq!(arrive(1, 60_000), Some(0));
    }
}
