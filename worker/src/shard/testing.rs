//! What a shard answers to the test hooks.

use super::{Alarm, ShardObject, work};
use edgewatch_engine::sql::SqlError;
use std::{cell::Cell, rc::Rc, time::Duration};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use worker::{
    Delay, Request, Response, Result,
    js_sys::{Function, Reflect},
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(work: &JsValue, wait_ms: i32) -> JsValue;
}

/// How often a commit that is held looks whether it may go on.
const HELD_LOOK_MS: u64 = 5;

/// What tests ask of an object's commits; forgotten when it ends.
#[derive(Default)]
pub struct Commits {
    are_held: Cell<bool>,
    failing: Cell<u32>,
    unopened: Cell<u32>,
}

impl Commits {
    /// An error if the tests have asked this transaction to fail, after its last statement.
    pub fn fail_if_asked(&self) -> std::result::Result<(), SqlError> {
        let Some(left) = self.failing.get().checked_sub(1) else { return Ok(()) };
        self.failing.set(left);
        Err(SqlError("the commit fails because a test asked it to".into()))
    }

    /// An error if the tests have asked the shard not to open.
    pub fn stay_closed_if_asked(&self) -> std::result::Result<(), SqlError> {
        let Some(left) = self.unopened.get().checked_sub(1) else { return Ok(()) };
        self.unopened.set(left);
        Err(SqlError("the shard does not open because a test asked it to".into()))
    }

    /// Waits while the tests hold pushes back.
    pub async fn released(&self) {
        while self.are_held.get() {
            Delay::from(Duration::from_millis(HELD_LOOK_MS)).await;
        }
    }
}

/// Ends the object a moment after this: `abort` cuts off whatever runs, so it must not run inside wasm.
fn evict_soon(object: &ShardObject) -> std::result::Result<(), JsValue> {
    let state: &JsValue = object.state.as_raw().as_ref();
    let abort: Function = Reflect::get(state, &"abort".into())?.dyn_into()?;
    set_timeout(abort.bind1(state, &"evicted by a test".into()).as_ref(), 0);
    Ok(())
}

/// Answers `/test/<shard>/<verb>`; `None` for everything else.
pub async fn answer(object: &Rc<ShardObject>, request: &Request) -> Option<Result<Response>> {
    let url = request.url().ok()?;
    let (shard, verb) = url.path().strip_prefix("/test/")?.split_once('/')?;
    let told = shard.parse().ok();
    // Opens the shard, should this be its first call. When the alarm rings nobody does.
    if object.tested.unopened.get() == 0
        && let Err(error) = object.with_shard(told, |_, _| Ok(()))
    {
        return Some(Response::error(error.to_string(), 500));
    }
    Some(match verb {
        "run-jobs" => {
            // As when the alarm rings.
            object.alarm.set(Alarm::NotSet);
            let done = work::run_due_jobs(object).await;
            work::arm(object).await;
            Response::ok(done.to_string())
        }
        "evict" => match evict_soon(object) {
            Ok(()) => Response::ok(""),
            Err(error) => Response::error(format!("{error:?}"), 500),
        },
        "commits" => {
            let parameter =
                |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value);
            object.tested.are_held.set(parameter("held").as_deref() == Some("true"));
            let number = |name| parameter(name).and_then(|text| text.parse().ok()).unwrap_or(0);
            object.tested.failing.set(number("failing"));
            object.tested.unopened.set(number("unopened"));
            if object.tested.unopened.get() > 0 {
                // As after a write that failed.
                object.open.replace(None);
            }
            Response::ok("")
        }
        _ => describe(object).await,
    })
}

/// `{"partitions":[…],"heads_bytes":N,"next_due_ms":N,"alarm_ms":N,"pushes_waiting":N,"commits_failing":N}`.
async fn describe(object: &ShardObject) -> Result<Response> {
    let alarm_ms = object.state.storage().get_alarm().await?.unwrap_or(0);
    let described = object.with_shard(None, |shard, instance| {
        let partitions: Vec<_> =
            shard.partitions().iter().map(|hour| format!("{:?}", hour.label())).collect();
        let next_due_ms = shard.next_due().map_or(0, |due| due.0);
        Ok(format!(
            r#"{{"partitions":[{}],"heads_bytes":{},"next_due_ms":{next_due_ms},"alarm_ms":{alarm_ms},"pushes_waiting":{},"commits_failing":{}}}"#,
            partitions.join(","),
            instance.heads.bytes(),
            object.commits.waiting(),
            object.tested.failing.get(),
        ))
    });
    match described {
        Ok(text) => Response::ok(text),
        Err(error) => Response::error(error.to_string(), 500),
    }
}
