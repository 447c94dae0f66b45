//! What the kernel sees of a running agent: it starts no program and opens no port, whatever a server answers.

use super::{
    agent_process::Home,
    fake_server::{FakeServer, PATIENCE, Reply, accepted, reply},
};
use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

/// System calls that start programs or wait for others.
const WATCHED: &str = "trace=execve,execveat,bind,listen,accept,accept4";

/// Whether processes may be watched here.
fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let can = traced.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("SKIPPED: strace is missing (Debian package strace), or may not watch processes here");
    }
    can
}

#[test]
fn a_running_agent_executes_nothing_and_listens_nowhere_whatever_it_is_told() {
    if !can_trace() {
        return;
    }
    let mut told = 0;
    let server = FakeServer::start(move |request| {
        told += 1;
        let order = r#"{"command":"/bin/sh -c id","exec":["/bin/sh"],"update":"http://127.0.0.1:1/agent"}"#;
        match told {
            1 => reply(200, order),
            2 => Reply { headers: "Location: file:///bin/sh\r\n", ..reply(302, order) },
            3 => Reply { headers: "Retry-After: 0\r\nX-Exec: /bin/sh\r\n", ..reply(503, order) },
            _ => {
                let mut reply = accepted(request);
                reply.body = reply.body.replacen('{', r#"{"command":"/bin/sh -c id","#, 1);
                reply
            }
        }
    });
    let home = Home::enrolled_at(&server);
    let seen = home.file("seen", "");
    // The tracer is a grandchild: the child is the agent itself.
    let mut agent = home.run_under(
        &["strace", "-D", "-f", "-q", "-e", WATCHED, "-e", "signal=none", "-o", &seen],
        "1s",
        &[],
    );
    server.wait_for(6);
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(0), "{}", agent.log());
    let start = Instant::now();
    let seen = loop {
        let text = fs::read_to_string(&seen).unwrap();
        if text.contains("exited with 0 +++") {
            break text;
        }
        assert!(start.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(20));
    };
    let calls: Vec<&str> = seen.lines().filter(|line| !line.contains("+++")).collect();
    // The one that started it.
    assert!(calls.len() == 1 && calls[0].contains("execve(") && calls[0].ends_with("= 0"), "{seen}");
}
