//! What a shard answers to the test hooks.

use super::{Alarm, ShardObject, work};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use worker::{
    Response, Result,
    js_sys::{Function, Reflect},
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(work: &JsValue, wait_ms: i32) -> JsValue;
}

/// Ends the object a moment after this: `abort` cuts off whatever runs, so it must not run inside wasm.
fn evict_soon(object: &ShardObject) -> std::result::Result<(), JsValue> {
    let state: &JsValue = object.state.as_raw().as_ref();
    let abort: Function = Reflect::get(state, &"abort".into())?.dyn_into()?;
    set_timeout(abort.bind1(state, &"evicted by a test".into()).as_ref(), 0);
    Ok(())
}

/// Answers `/test/<shard>/<verb>`; `None` for everything else.
pub async fn answer(object: &Rc<ShardObject>, path: &str) -> Option<Result<Response>> {
    let (shard, verb) = path.strip_prefix("/test/")?.split_once('/')?;
    let told = shard.parse().ok();
    // Opens the shard, should this be its first call.
    if let Err(error) = object.with_shard(told, |_, _| Ok(())) {
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
        _ => describe(object),
    })
}

/// `{"partitions":[…],"heads_bytes":N,"next_due_ms":N}`.
fn describe(object: &ShardObject) -> Result<Response> {
    let described = object.with_shard(None, |shard, instance| {
        let partitions: Vec<_> =
            shard.partitions().iter().map(|hour| format!("{:?}", hour.label())).collect();
        let next_due_ms = shard.next_due().map_or(0, |due| due.0);
        Ok(format!(
            r#"{{"partitions":[{}],"heads_bytes":{},"next_due_ms":{next_due_ms}}}"#,
            partitions.join(","),
            instance.heads.bytes()
        ))
    });
    match described {
        Ok(text) => Response::ok(text),
        Err(error) => Response::error(error.to_string(), 500),
    }
}
