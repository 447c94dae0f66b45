//! How the agent says that it is, to people, programs and exit codes.

use super::{
    agent_process::Home,
    fake_server::{FakeServer, PATIENCE, accepted, now, reply, strict},
};
use serde_json::Value;
use std::time::{Duration, Instant};

fn told(home: &Home) -> (i32, Value) {
    let output = home.output(&["status", "--json"], &[]);
    let code = output.status.code().unwrap();
    (code, serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// Waits until the status is what is asked for.
fn wait_until(home: &Home, enough: impl Fn(i32, &Value) -> bool) -> Value {
    let start = Instant::now();
    loop {
        let (code, status) = told(home);
        if enough(code, &status) {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "{code} {status}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_agent_whose_pushes_are_taken_is_well_until_it_is_gone() {
    let home = Home::new();
    let output = home.output(&["status"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("no agent has run here"));

    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let mut agent = home.run("1s", &[]);
    let status = wait_until(&home, |code, _| code == 0);
    assert_eq!((status["is_running"].as_bool(), status["is_well"].as_bool()), (Some(true), Some(true)));
    assert_eq!((status["name"].as_str(), status["pace_ms"].as_i64()), (Some("web-01"), Some(1_000)));
    assert_eq!((&status["pushes"]["link"], &status["pushes"]["why"]), (&"up".into(), &Value::Null));
    assert_eq!(status["url"].as_str(), Some(server.url().as_str()));
    let output = home.output(&["status"], &[]);
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && page.contains("pushes are taken"), "{page}");

    // A faulty configuration is no reason not to tell.
    let faulty = home.file("faulty.toml", "colect = 1");
    let output = home.output(&["status"], &[("EDGEWATCH_CONFIG", &faulty)]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown key \"colect\""));

    agent.kill();
    let (code, status) = told(&home);
    assert_eq!((code, status["is_running"].as_bool()), (1, Some(false)), "{status}");
    let page = String::from_utf8(home.output(&["status"], &[]).stdout).unwrap();
    assert!(page.starts_with("not running: process "), "{page}");
}

#[test]
fn an_agent_that_cannot_push_is_not_well_and_says_why() {
    let mut left = 3;
    let server = FakeServer::start(move |request| {
        left -= 1;
        if left < 0 { accepted(request) } else { reply(403, "not you") }
    });
    let home = Home::enrolled_at(&server);
    let _agent = home.run("1s", &[]);
    let status = wait_until(&home, |_, status| status["pushes"]["link"] == "unauthorized");
    assert_eq!(status["pushes"]["why"], "HTTP 403: not you");
    assert_eq!(status["pushes"]["last_taken_ms"], Value::Null);
    let status = wait_until(&home, |code, _| code == 0);
    assert!(status["waiting"]["push_failures"].as_u64() >= Some(3), "{status}");
}
