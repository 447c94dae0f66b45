//! How the agent ends.

use super::{
    agent_process::{AgentProcess, Home},
    fake_server::{FakeServer, PATIENCE, Reply, accepted, delivered, now, reply, strict},
};
use std::{collections::BTreeSet, sync::mpsc, time::Duration};

/// What makes it tell how many readings it took.
const DEBUG: [(&str, &str); 1] = [("EDGEWATCH_LOG_LEVEL", "debug")];

/// The numbers of the readings that an agent which has ended took.
fn taken(agent: &AgentProcess) -> BTreeSet<u64> {
    let log = agent.log();
    let line = log.lines().find_map(|line| line.strip_suffix(" readings were taken")).unwrap();
    let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    (1..=count).collect()
}

#[test]
fn sigterm_pushes_what_is_pending_and_exits_with_0() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let mut agent = home.run("1h", &DEBUG);
    server.wait_for(1);
    // Four ticks; one that is not missed is enough.
    std::thread::sleep(Duration::from_secs(4));
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(0));
    let received = server.received();
    let readings = delivered(&received, received[0].0.push().stream);
    assert_eq!((received.len(), &readings), (2, &taken(&agent)), "{}", agent.log());
    assert!(readings.len() > 1, "{}", agent.log());
    assert_eq!(agent.said("nothing is left behind"), 1, "{}", agent.log());
}

#[test]
fn who_is_told_to_wait_does_and_sigterm_wakes_it_for_one_more_try() {
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
    // By itself it would have tried again after a second.
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(server.received().len(), 1, "it was told to wait for an hour");
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(0));
    let received = server.received();
    assert_eq!(received[0].0.body, received[1].0.body);
    assert_eq!(agent.said("nothing is left behind"), 1, "{}", agent.log());
}

#[test]
fn sigterm_without_a_server_ends_too_and_all_that_was_read_is_delivered_by_the_next_agent() {
    let server = FakeServer::start(|_| Reply { headers: "Retry-After: 3600\r\n", ..reply(503, "") });
    let home = Home::enrolled_at(&server);
    let address = server.address();
    let mut agent = home.run("1h", &DEBUG);
    agent.wait_until_said("push failed");
    // Readings that are in no batch yet.
    std::thread::sleep(Duration::from_secs(3));
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(0));
    assert_eq!(agent.said("wait for the next start"), 1, "{}", agent.log());
    let first = server.received()[0].0.push().stream;
    drop(server);
    let taken = taken(&agent);
    assert!(taken.len() > 1, "{}", agent.log());
    let server = FakeServer::start_at(address, |request| strict(request, now()));
    let _agent = home.run("1s", &[]);
    server.wait_until(|received| delivered(received, first) == taken);
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
