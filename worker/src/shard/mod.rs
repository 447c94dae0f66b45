//! The Durable Object of a shard: it hands calls to [`edgewatch_engine::Shard`], keeps
//! one alarm at the earliest job, and does what has to wait for R2 and D1.

mod commit;
mod sql;
#[cfg(feature = "test-hooks")]
mod testing;
mod work;

use crate::{
    clock, instance, settings,
    store::{blobs, shards},
};
use edgewatch_engine::{
    Shard as EngineShard,
    call::{self, Call, Reply, ShardError},
    counters::Counters,
    head::ShardNumber,
};
use edgewatch_shared::TimestampMs;
use sql::ObjectSql;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

/// The object.
#[durable_object]
pub struct Shard {
    object: Rc<ShardObject>,
}

/// What the object and its work in the background share.
struct ShardObject {
    state: State,
    env: Env,
    /// `None` until the first call, and after a write that failed: then memory is behind storage.
    open: RefCell<Option<EngineShard<ObjectSql>>>,
    /// When the alarm rings, as far as this incarnation knows.
    alarm: Cell<Alarm>,
    is_working: Cell<bool>,
    is_telling: Cell<bool>,
    commits: commit::Commits,
    /// What tests ask of its commits.
    #[cfg(feature = "test-hooks")]
    tested: Rc<testing::Commits>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Alarm {
    Unknown,
    NotSet,
    At(TimestampMs),
}

impl DurableObject for Shard {
    fn new(state: State, env: Env) -> Self {
        let object = ShardObject {
            state,
            env,
            open: RefCell::new(None),
            alarm: Cell::new(Alarm::Unknown),
            is_working: Cell::new(false),
            is_telling: Cell::new(false),
            commits: commit::Commits::default(),
            #[cfg(feature = "test-hooks")]
            tested: Rc::default(),
        };
        Self { object: Rc::new(object) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let path = request.path();
        #[cfg(feature = "test-hooks")]
        if let Some(response) = testing::answer(&self.object, &request).await {
            return response;
        }
        let Some(number) = shards::number_in(&path) else {
            return Response::error("the path is not a shard's number", 400);
        };
        #[expect(clippy::disallowed_methods, reason = "only our own Worker calls, after its body limits")]
        let bytes = request.bytes().await?;
        let answer = match call::decode::<Call>(&bytes) {
            Ok(Call { counted, request: call::Request::Push(push) }) => {
                let pushed = commit::push(&self.object, number, (push, counted, bytes.len())).await;
                pushed.map(Reply::Pushed)
            }
            Ok(call) => {
                let answer = self.object.answer(number, call);
                work::after_call(&self.object).await;
                answer
            }
            Err(error) => return Response::error(format!("the call does not decode: {error}"), 400),
        };
        match call::encode(&answer) {
            Ok(bytes) => Response::from_bytes(bytes),
            Err(error) => Response::error(format!("the answer does not encode: {error}"), 500),
        }
    }

    async fn alarm(&self) -> Result<Response> {
        // Never an error: after six failures in a row the platform would give up on the alarm.
        self.object.alarm.set(Alarm::NotSet);
        self.object.count_alarm();
        work::run_due_jobs(&self.object).await;
        work::arm(&self.object).await;
        Response::empty()
    }
}

impl ShardObject {
    fn answer(&self, number: ShardNumber, call: Call) -> std::result::Result<Reply, ShardError> {
        let now = clock::now();
        self.with_shard(Some(number), |shard, instance| shard.answer(call, now, instance))
    }

    /// Works with the shard, opening it first if need be; never waits.
    fn with_shard<T>(
        &self,
        told: Option<ShardNumber>,
        work: impl FnOnce(
            &mut EngineShard<ObjectSql>,
            &mut edgewatch_engine::shard::Instance,
        ) -> std::result::Result<T, ShardError>,
    ) -> std::result::Result<T, ShardError> {
        let mut open = self.open.borrow_mut();
        let result = instance::with(|instance| {
            if open.is_none() {
                #[cfg(feature = "test-hooks")]
                self.tested.stay_closed_if_asked()?;
                let sql = ObjectSql::new(&self.state);
                #[cfg(feature = "test-hooks")]
                let sql = sql.failing_with(&self.tested);
                let mut shard = EngineShard::open(sql, told, instance)?;
                shard.set_bucket(blobs::bucket(&self.env).is_some());
                shard.set_quotas(settings::quotas(settings::plan(&self.env).unwrap_or_default()));
                *open = Some(shard);
            }
            match open.as_mut() {
                Some(shard) => {
                    #[cfg(feature = "test-hooks")]
                    shard.set_quotas(settings::quotas(settings::plan(&self.env).unwrap_or_default()));
                    work(shard, instance)
                }
                None => Err(ShardError::Storage("the shard is not open".into())),
            }
        });
        if let Some(shard) = open.as_mut() {
            shard.take_complaints().into_iter().for_each(|complaint| worker::console_error!("{complaint}"));
        }
        if matches!(result, Err(ShardError::Storage(_) | ShardError::RowTooLarge(_))) {
            *open = None;
        }
        result
    }

    fn count_alarm(&self) {
        let counted = self.with_shard(None, |shard, _| {
            shard.woken(clock::now());
            Ok(())
        });
        if let Err(error) = counted {
            worker::console_error!("an alarm is not counted: {error}");
        }
    }

    /// Counts what was done for the shard outside of it.
    fn take_over(&self, counted: &Counters) {
        if let Some(shard) = self.open.borrow_mut().as_mut() {
            shard.take_over(counted);
        }
    }
}
