//! What a shard does beside answering: its alarm, seals, and what it tells the catalogue.

use super::{Alarm, ShardObject};
use crate::{
    clock, counting,
    store::{blobs, catalogue::Catalogue},
};
use edgewatch_engine::{
    call::ShardError,
    counters::{Counter, Counters},
    jobs::JobKind,
    seal::Seal,
};
use edgewatch_shared::TimestampMs;
use std::rc::Rc;
use worker::console_error;

/// Jobs done in one run of the alarm; the next run follows at once.
const JOBS_A_RUN: usize = 16;

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
    if object.is_sealing.get() {
        return;
    }
    let Ok(Some(due)) = object.with_shard(None, |shard, _| Ok(shard.next_due())) else { return };
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

/// Does every job that is due; returns how many.
pub async fn run_due_jobs(object: &Rc<ShardObject>) -> usize {
    for done in 0..JOBS_A_RUN {
        let due = object.with_shard(None, |shard, _| Ok(shard.due_job(clock::now())));
        match due {
            Ok(Some(job)) => match job.kind {
                JobKind::Seal => seal(object).await,
                JobKind::Catalogue => tell_catalogue(object).await,
            },
            Ok(None) => return done,
            Err(error) => {
                console_error!("jobs: {error}");
                return done;
            }
        }
    }
    JOBS_A_RUN
}

/// Seals the oldest partition whose hour is over.
async fn seal(object: &Rc<ShardObject>) {
    if object.is_sealing.replace(true) {
        return;
    }
    if let Err(error) = try_seal(object).await {
        console_error!("seal, put off: {error}");
        let put_off = object.with_shard(None, |shard, _| shard.put_off_seal(clock::now()));
        if let Err(error) = put_off {
            console_error!("seal, not put off: {error}");
        }
    }
    object.is_sealing.set(false);
    tell_catalogue(object).await;
}

async fn try_seal(object: &ShardObject) -> Result<(), ShardError> {
    let planned = object.with_shard(None, |shard, instance| shard.plan_seal(clock::now(), instance))?;
    let Some(mut seal) = planned else { return Ok(()) };
    store_objects(object, &mut seal).await?;
    object.with_shard(None, |shard, instance| shard.commit_seal(&seal, instance))
}

/// Without a bucket nothing is stored here: the blocks stay in the shard.
async fn store_objects(object: &ShardObject, seal: &mut Seal) -> Result<(), ShardError> {
    let Some(bucket) = blobs::bucket(&object.env) else { return Ok(()) };
    while let Some(pending) = seal.pending() {
        blobs::create(&bucket, pending.key, pending.bytes).await.map_err(ShardError::Corrupt)?;
        seal.object_stored();
    }
    Ok(())
}

/// Tells the catalogue what it does not know yet, or puts that off.
pub async fn tell_catalogue(object: &Rc<ShardObject>) {
    if object.is_telling.replace(true) {
        return;
    }
    if let Err(error) = try_tell_catalogue(object).await {
        console_error!("catalogue, put off: {error}");
        if let Err(error) = object.with_shard(None, |shard, _| shard.put_off_catalogue(clock::now())) {
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
        if !changes.is_empty() {
            let catalogue = Catalogue::open(&object.env).await.map_err(|error| format!("{error:?}"))?;
            catalogue
                .tell(number, &changes.hosts, &changes.blocks, changes.summary.as_ref(), now)
                .await
                .map_err(|error| format!("{error:?}"))?;
        }
        object.with_shard(None, |shard, _| shard.catalogue_told(&changes, now)).map_err(text)?;
        // Rows that were written to D1 here, where perhaps no Worker runs that would hand them on.
        object.take_over(&counting::take());
        if changes.is_empty() {
            return Ok(());
        }
    }
}
