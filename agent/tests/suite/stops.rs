//! How the agent ends.

use super::{
    agent_process::Home,
    fake_server::{FakeServer, PATIENCE, Reply, Request, accepted, acknowledged, now, strict},
    pushes::times,
};
use edgewatch_shared::wire::push::StreamId;
use std::{sync::mpsc, time::Duration};

#[test]
fn sigterm_pushes_what_is_pending_and_exits_with_0() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let mut agent = home.run("1h", &[]);
    server.wait_for(1);
    // Four ticks; one that is not missed is enough.
    std::thread::sleep(Duration::from_secs(4));
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(0));
    let bodies = acknowledged(&server.received());
    assert_eq!(bodies.len(), 2, "{}", agent.log());
    assert!(!times(&bodies[1..], "load_1m").is_empty());
    assert_eq!(agent.said("nothing is left behind"), 1, "{}", agent.log());
}

#[test]
fn sigterm_wakes_a_long_wait_for_one_more_try() {
    let mut tries = 0;
    let server = FakeServer::start(move |request| {
        tries += 1;
        let mut reply = accepted(request);
        if tries == 1 {
            reply.status = 503;
            reply.headers = "Retry-After: 3600\r\n";
        }
        reply
    });
    let home = Home::enrolled_at(&server);
    let mut agent = home.run("1h", &[]);
    server.wait_for(1);
    agent.wait_until_said("push failed");
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(0));
    let received = server.received();
    assert_eq!(received[0].0.body, received[1].0.body);
    assert_eq!(agent.said("nothing is left behind"), 1, "{}", agent.log());
}

#[test]
fn sigterm_without_a_server_ends_too_and_what_waits_is_delivered_by_the_next_agent() {
    let server = FakeServer::start(accepted);
    let home = Home::enrolled_at(&server);
    let address = server.address();
    drop(server);
    let mut agent = home.run("1s", &[]);
    agent.wait_until_said("push failed");
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(0));
    assert_eq!(agent.said("wait for the next start"), 1, "{}", agent.log());
    let server = FakeServer::start_at(address, |request| strict(request, now()));
    let _agent = home.run("1h", &[]);
    let received = server.wait_until(|received| streams(received).len() == 2);
    assert_eq!(received[0].0.push().stream, streams(&received)[0], "what is fresh goes first");
}

/// The streams that were acknowledged, in the order in which they came first.
fn streams(received: &[(Request, Reply)]) -> Vec<StreamId> {
    let mut streams = Vec::new();
    for (request, _) in received.iter().filter(|(_, reply)| reply.status == 202) {
        let stream = request.push().stream;
        if !streams.contains(&stream) {
            streams.push(stream);
        }
    }
    streams
}

#[test]
fn a_second_agent_says_who_has_the_spool_and_ends() {
    let server = FakeServer::start(accepted);
    let home = Home::enrolled_at(&server);
    let first = home.run("1s", &[]);
    first.wait_until_said("the first push was taken");
    let second = home.output(&["run"], &[]);
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("is used by another agent, process {}", first.id())), "{told}");
}

#[test]
fn a_second_signal_ends_the_agent_at_once() {
    let (arrived, wait_for_arrival) = mpsc::channel();
    let server = FakeServer::start(move |request| {
        arrived.send(()).unwrap();
        // Longer than the agent waits for its last push; the test is over before.
        std::thread::sleep(PATIENCE / 6);
        accepted(request)
    });
    let home = Home::enrolled_at(&server);
    let mut agent = home.run("1h", &[]);
    wait_for_arrival.recv_timeout(PATIENCE).unwrap();
    agent.terminate();
    std::thread::sleep(Duration::from_millis(500));
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(1), "{}", agent.log());
}
