//! What a shard does beside answering: its alarm, its jobs, and what it tells the catalogue.

use super::{Alarm, ShardObject};
use crate::{
    clock, counting,
    store::{CALLS_AT_ONCE, blobs, catalogue::Catalogue},
};
use edgewatch_engine::{
    call::ShardError,
    counters::{Counter, Counters},
    head::ShardNumber,
    jobs::JobKind,
    retention::RetentionSettings,
    shard::{CatalogueChanges, ObjectRange, Task},
    usage::Usage,
};
use edgewatch_shared::{TimestampMs, limits::MINUTE_MS};
use futures_util::{
    StreamExt, TryStreamExt,
    future::{Either, select},
    stream,
};
use std::{pin::pin, rc::Rc, time::Duration};
use worker::{Bucket, Delay, console_error};

/// Jobs done in one run of the alarm; the next run follows at once.
const JOBS_A_RUN: usize = 16;
/// Steps of jobs in one run: some 10 s of computing, which the platform ends after 30.
const STEPS_A_RUN: usize = 1_000;
/// Calls of R2 in one run.
const STORE_CALLS_A_RUN: usize = 500;
/// When a shard that does not open is tried again.
const REOPEN_MS: i64 = MINUTE_MS;
/// How long a job waits for R2 or D1.
const STORE_WAIT_MAX: Duration = Duration::from_secs(30);

/// After a call: the alarm is set if something became due, and the catalogue is told in the background.
pub async fn after_call(object: &Rc<ShardObject>) {
    arm(object).await;
    let has_news = object.with_shard(None, |shard, _| {
        Ok(!shard.catalogue_is_put_off() && !shard.catalogue_changes(clock::now())?.is_empty())
    });
    if has_news.unwrap_or(false) && !object.is_telling.get() {
        let shared = Rc::clone(object);
        object.state.wait_until(async move { tell_catalogue(&shared).await });
    }
}

/// Sets the alarm to the earliest job, unless it rings before that anyway.
pub async fn arm(object: &ShardObject) {
    // The job that is due is being done, and whoever does it arms afterwards.
    if object.is_working.get() {
        return;
    }
    let due = match object.with_shard(None, |shard, _| Ok(shard.next_due())) {
        Ok(Some(due)) => due,
        Ok(None) => return,
        // Nobody knows what is due, and without an alarm nobody would look again.
        Err(error) => {
            console_error!("the shard does not open, it is tried again: {error}");
            clock::now().plus_ms(REOPEN_MS)
        }
    };
    if object.alarm.get() == Alarm::Unknown {
        let offset_ms = clock::now().0.saturating_sub(real_now().0);
        let set = object.state.storage().get_alarm().await.ok().flatten();
        object.alarm.set(set.map_or(Alarm::NotSet, |ms| Alarm::At(TimestampMs(ms).plus_ms(offset_ms))));
    }
    if matches!(object.alarm.get(), Alarm::At(at) if at <= due) {
        return;
    }
    let wait_ms = due.ms_since(clock::now()).max(0);
    match object.state.storage().set_alarm(wait_ms).await {
        Ok(()) => {
            object.alarm.set(Alarm::At(due));
            let mut row = Counters::default();
            row.add(Counter::ShardRowsWritten, 1);
            object.take_over(&row);
        }
        Err(error) => console_error!("the alarm was not set, the next call tries again: {error}"),
    }
}

fn real_now() -> TimestampMs {
    TimestampMs(i64::try_from(worker::Date::now().as_millis()).unwrap_or(i64::MAX))
}

/// What one run of the alarm may do; the next run follows at once and goes on.
struct Budget {
    steps: usize,
    /// Calls of R2: the platform allows 1,000 an invocation.
    store_calls: usize,
}

impl Budget {
    fn is_spent(&self) -> bool {
        self.steps == 0 || self.store_calls == 0
    }
}

/// Does every job that is due, one after the other; returns how many.
pub async fn run_due_jobs(object: &Rc<ShardObject>) -> usize {
    if object.is_working.replace(true) {
        return 0;
    }
    let mut budget = Budget { steps: STEPS_A_RUN, store_calls: STORE_CALLS_A_RUN };
    let mut done: usize = 0;
    while done < JOBS_A_RUN {
        match object.with_shard(None, |shard, _| Ok(shard.due_job(clock::now()))) {
            Ok(Some(job)) => run(object, job.kind, &mut budget).await,
            Ok(None) => break,
            Err(error) => {
                console_error!("jobs: {error}");
                break;
            }
        }
        done = done.saturating_add(1);
        if budget.is_spent() {
            break;
        }
    }
    object.is_working.set(false);
    done
}

/// Does a job, as far as the budget goes, or puts it off.
async fn run(object: &Rc<ShardObject>, kind: JobKind, budget: &mut Budget) {
    if kind == JobKind::Catalogue {
        return tell_catalogue(object).await;
    }
    if let Err(error) = work_through(object, kind, budget).await {
        console_error!("{kind:?}, put off: {error}");
        if let Err(error) = object.with_shard(None, |shard, _| shard.put_off(kind, clock::now())) {
            console_error!("{kind:?}, not put off: {error}");
        }
    }
    tell_catalogue(object).await;
}

/// Takes one step of a job after the other; in between the shard answers calls.
async fn work_through(object: &ShardObject, kind: JobKind, budget: &mut Budget) -> Result<(), String> {
    let text = |error: ShardError| error.to_string();
    // A seal is small, and the log waits for it.
    while kind == JobKind::Seal || !budget.is_spent() {
        let next = object.with_shard(None, |shard, instance| shard.work(kind, clock::now(), instance));
        budget.steps = budget.steps.saturating_sub(1);
        match next.map_err(text)? {
            Task::Done => return Ok(()),
            Task::Again => Delay::from(Duration::ZERO).await,
            Task::Store { key, bytes } => {
                budget.store_calls = budget.store_calls.saturating_sub(1);
                in_time("R2", blobs::create(&bucket(object)?, &key, &bytes)).await?;
                object.with_shard(None, |shard, _| shard.stored()).map_err(text)?;
            }
            Task::Read(ranges) => {
                budget.store_calls = budget.store_calls.saturating_sub(ranges.len());
                let bytes = read_all(object, ranges).await?;
                object
                    .with_shard(None, |shard, _| {
                        shard.given(bytes);
                        Ok(())
                    })
                    .map_err(text)?;
            }
            Task::LearnRetention => {
                let retention = in_time("D1", learn_retention(object)).await?;
                object.with_shard(None, |shard, _| shard.set_retention(retention)).map_err(text)?;
            }
            Task::Delete { keys, ids } => {
                if !keys.is_empty() {
                    budget.store_calls = budget.store_calls.saturating_sub(1);
                    in_time("R2", blobs::delete(&bucket(object)?, keys)).await?;
                }
                in_time("D1", forget_blocks(object, &ids)).await?;
                object.with_shard(None, |shard, _| shard.deleted()).map_err(text)?;
            }
        }
    }
    Ok(())
}

/// Reads some bytes of several objects; none of an object that is gone.
async fn read_all(object: &ShardObject, ranges: Vec<ObjectRange>) -> Result<Vec<Vec<u8>>, String> {
    let bucket = bucket(object)?;
    let read = |range: ObjectRange| {
        let bucket = &bucket;
        async move {
            let bytes = blobs::read_range(bucket, &range.key, range.offset, range.length);
            in_time("R2", bytes).await.map(Option::unwrap_or_default)
        }
    };
    stream::iter(ranges).map(read).buffered(CALLS_AT_ONCE).try_collect().await
}

/// The retention as it is set. A catalogue that was lost says nothing of it: then what it last said holds.
async fn learn_retention(object: &ShardObject) -> Result<RetentionSettings, String> {
    let known =
        object.with_shard(None, |shard, _| Ok(shard.retention())).map_err(|error| error.to_string())?;
    let catalogue = Catalogue::open(&object.env).await.map_err(|error| format!("{error:?}"))?;
    let set = catalogue.retention().await.map_err(|error| format!("{error:?}"))?;
    Ok(set.unwrap_or(known))
}

async fn forget_blocks(object: &ShardObject, ids: &[i64]) -> Result<(), String> {
    let number = object.with_shard(None, |shard, _| Ok(shard.number())).map_err(|error| error.to_string())?;
    let catalogue = Catalogue::open(&object.env).await.map_err(|error| format!("{error:?}"))?;
    catalogue.forget_blocks(number, ids).await.map_err(|error| format!("{error:?}"))
}

fn bucket(object: &ShardObject) -> Result<Bucket, String> {
    blobs::bucket(&object.env).ok_or_else(|| "no bucket is bound as BLOBS".to_owned())
}

/// Waits for a store, but not for ever: a job that hangs would keep all others from being done.
async fn in_time<T>(store: &str, call: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match select(pin!(call), pin!(Delay::from(STORE_WAIT_MAX))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Err(format!("{store} did not answer within {} s", STORE_WAIT_MAX.as_secs())),
    }
}

/// Tells the catalogue what it does not know yet, or puts that off.
pub async fn tell_catalogue(object: &Rc<ShardObject>) {
    if object.is_telling.replace(true) {
        return;
    }
    if let Err(error) = try_tell_catalogue(object).await {
        console_error!("catalogue, put off: {error}");
        if let Err(error) =
            object.with_shard(None, |shard, _| shard.put_off(JobKind::Catalogue, clock::now()))
        {
            console_error!("catalogue, not put off: {error}");
        }
        arm(object).await;
    }
    object.is_telling.set(false);
}

async fn try_tell_catalogue(object: &ShardObject) -> Result<(), String> {
    let text = |error: ShardError| error.to_string();
    loop {
        let now = clock::now();
        let (changes, number) = object
            .with_shard(None, |shard, _| Ok((shard.catalogue_changes(now)?, shard.number())))
            .map_err(text)?;
        let others = if changes.is_empty() {
            Usage::default()
        } else {
            in_time("D1", write_catalogue(object, number, &changes, now)).await?
        };
        if !changes.blocks.is_empty() {
            // Every hour or so, on the occasion: when something is to be deleted, it is looked up again.
            let retention = in_time("D1", learn_retention(object)).await?;
            object.with_shard(None, |shard, _| shard.set_retention(retention)).map_err(text)?;
        }
        object.with_shard(None, |shard, _| shard.catalogue_told(&changes, others, now)).map_err(text)?;
        // Rows that were written to D1 here, where perhaps no Worker runs that would hand them on.
        object.take_over(&counting::take());
        if changes.is_empty() {
            return Ok(());
        }
    }
}

async fn write_catalogue(
    object: &ShardObject,
    number: ShardNumber,
    changes: &CatalogueChanges,
    now: TimestampMs,
) -> Result<Usage, String> {
    let catalogue = Catalogue::open(&object.env).await.map_err(|error| format!("{error:?}"))?;
    let told = catalogue.tell(number, &changes.hosts, &changes.blocks, changes.summary.as_ref(), now).await;
    told.map_err(|error| format!("{error:?}"))
}
