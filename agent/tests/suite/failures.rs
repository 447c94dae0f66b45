//! What is tried again, what waits, what is split and what is set aside.

use super::{
    agent_process::Home,
    fake_server::{FakeServer, Reply, Request, accepted, acknowledged, now, refusal, reply, strict},
    pushes::times,
};
use edgewatch_shared::{
    ErrorCode,
    wire::{MetricSample, MetricsBody, push::ReadingRange},
};
use std::{collections::BTreeSet, time::Duration};

/// Answers so as long as these last, then acknowledges.
fn first(replies: impl IntoIterator<Item = Reply>) -> impl FnMut(&Request) -> Reply + Send {
    let mut replies: Vec<Reply> = replies.into_iter().collect();
    replies.reverse();
    move |request| replies.pop().unwrap_or_else(|| accepted(request))
}

/// Asserts that no sample was acknowledged twice, and that they came in order.
fn assert_each_once_in_order(bodies: &[MetricsBody]) {
    let mut seen = BTreeSet::new();
    for sample in bodies.iter().flat_map(|body| &body.metrics) {
        let labels = sample.labels.clone().unwrap_or_default();
        assert!(seen.insert((sample.name.clone(), labels, sample.time.0)), "twice: {sample:?}");
    }
    assert!(times(bodies, "load_1m").is_sorted());
}

#[test]
fn what_fails_for_now_is_sent_again_as_it_was_and_delivered_once() {
    let retry_after = Reply { headers: "Retry-After: 0\r\n", ..reply(429, "") };
    for failures in [
        [refusal(503, ErrorCode::ShardUnavailable, Some(now())), reply(500, "")],
        [retry_after, reply(408, "")],
        // Neither a success that acknowledges nothing nor a redirect is a delivery.
        [reply(200, "<html>hello</html>"), reply(301, "")],
        // Somebody on the way refuses, or a server refuses the way: the batch is not to blame.
        [reply(404, "<html>"), refusal(404, ErrorCode::NotFound, None)],
        [reply(413, ""), reply(400, "")],
    ] {
        let server = FakeServer::start(first(failures));
        let home = Home::enrolled_at(&server);
        let agent = home.run("1s", &[]);
        let received = server.wait_for(4);
        assert_eq!(received[0].0.body, received[1].0.body);
        assert_eq!(received[0].0.body, received[2].0.body);
        assert_ne!(received[0].0.body, received[3].0.body);
        assert_each_once_in_order(&acknowledged(&received));
        assert_eq!(agent.said("push failed"), 1, "{}", agent.log());
    }
}

#[test]
fn what_was_queued_while_the_server_was_away_is_delivered_in_order() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let agent = home.run("1s", &[]);
    let before = acknowledged(&server.wait_for(1));
    let address = server.address();
    drop(server);
    let away = now();
    std::thread::sleep(Duration::from_secs(4));
    let back = now();
    let server = FakeServer::start_at(address, |request| strict(request, now()));
    let received = server.wait_until(|received| {
        times(&acknowledged(received), "load_1m").last().is_some_and(|newest| *newest > back)
    });
    let bodies = [before, acknowledged(&received)].concat();
    assert_each_once_in_order(&bodies);
    let taken_while_away = times(&bodies, "load_1m");
    let taken_while_away = taken_while_away.iter().filter(|time| (away..back).contains(time));
    // Four ticks passed; a slow machine may be late for some of them.
    assert!(taken_while_away.count() >= 1, "{}", agent.log());
    assert_eq!(agent.said("pushes are taken again"), 1, "{}", agent.log());
}

#[test]
fn a_host_that_is_not_let_in_keeps_its_batches_and_says_so_once() {
    let refused = refusal(403, ErrorCode::RevokedHost, None);
    let server = FakeServer::start(first([reply(401, ""), refused]));
    let home = Home::enrolled_at(&server);
    let agent = home.run("1s", &[]);
    let received = server.wait_for(4);
    assert_eq!(received[0].0.body, received[2].0.body, "the same batch, once it is let in");
    assert_each_once_in_order(&acknowledged(&received));
    assert_eq!(agent.said("does not let this host in"), 1, "{}", agent.log());
}

#[test]
fn a_batch_that_is_refused_for_good_is_set_aside_and_counted_and_the_facts_are_told_again() {
    for (status, code) in [(400, ErrorCode::InvalidBatch), (409, ErrorCode::IdentityConflict)] {
        let server = FakeServer::start(first([refusal(status, code, None)]));
        let home = Home::enrolled_at(&server);
        let agent = home.run("1s", &[]);
        let received =
            server.wait_until(|received| acknowledged(received).iter().any(counts_a_rejected_batch));
        let sent_again = received.iter().filter(|(request, _)| request.body == received[0].0.body);
        assert_eq!(sent_again.count(), 1);
        assert!(acknowledged(&received).iter().any(|body| body.facts.is_some()));
        assert_eq!(agent.said(&format!("{}: by a test", code.as_str())), 1, "{}", agent.log());
        let aside = home.files("rejected");
        assert_eq!(aside.len(), 1, "{aside:?}");
        let refused = received[0].0.push();
        let kept = Request { body: std::fs::read(&aside[0]).unwrap(), ..received[0].0.clone() };
        assert_eq!((kept.push().readings, kept.push().metrics), (refused.readings, refused.metrics));
    }
}

#[test]
fn a_server_that_knows_no_records_gets_the_same_batch_without_and_no_further_ones() {
    let server = FakeServer::start(|request| match request.push().processes {
        Some(_) => refusal(415, ErrorCode::UnsupportedSection, None),
        None => accepted(request),
    });
    let home = Home::enrolled_at(&server);
    let agent = home.run("1s", &[]);
    let received = server.wait_until(|received| acknowledged(received).len() >= 3);
    let refused: Vec<_> = received.iter().filter(|(_, reply)| reply.status == 415).collect();
    // Where processes cannot be read there is no record to refuse.
    if let [(first, _), others @ ..] = refused.as_slice() {
        assert!(others.is_empty(), "{}", agent.log());
        let again = received
            .iter()
            .find(|(request, reply)| reply.status == 202 && request.push().readings == first.push().readings);
        assert_eq!(again.map(|(request, _)| request.push().metrics), Some(first.push().metrics));
    }
    assert!(cfg!(not(target_os = "linux")) || !refused.is_empty());
    assert_eq!(agent.said("set aside"), 0, "{}", agent.log());
    assert_each_once_in_order(&acknowledged(&received));
}

#[test]
fn a_batch_that_is_too_large_goes_in_halves_that_keep_their_numbers() {
    for refused in [reply(413, ""), refusal(400, ErrorCode::TooManySamples, None)] {
        let mut refused = Some(refused);
        // Until a push has two readings, it is taken as it is.
        let server = FakeServer::start(move |request| {
            let readings = request.push().readings;
            let refused = refused.take_if(|_| readings.first < readings.last);
            refused.unwrap_or_else(|| accepted(request))
        });
        let home = Home::enrolled_at(&server);
        let _agent = home.run("3s", &[]);
        let is_refused = |(_, reply): &(Request, Reply)| reply.status != 202;
        let at = |received: &[(Request, Reply)]| received.iter().position(is_refused);
        let received = server.wait_until(|received| at(received).is_some_and(|at| received.len() >= at + 3));
        let at = at(&received).unwrap();
        let [whole, first, second] = [at, at + 1, at + 2].map(|at| received[at].0.push());
        assert_eq!((first.stream, second.stream), (whole.stream, whole.stream));
        assert_eq!(first.readings.first, whole.readings.first);
        assert_eq!(second.readings.first, first.readings.last + 1);
        assert_eq!(second.readings.last, whole.readings.last);
        let [whole, first, second] = [at, at + 1, at + 2].map(|at| received[at].0.metrics().metrics);
        let sorted = |mut samples: Vec<MetricSample>| {
            samples.sort_by_key(|sample| (sample.time.0, sample.name.clone(), sample.labels.clone()));
            samples
        };
        assert_eq!(sorted([first, second].concat()), sorted(whole));
    }
}

#[test]
fn a_reading_that_is_too_large_by_itself_is_set_aside_and_counted() {
    let server = FakeServer::start(first([refusal(413, ErrorCode::BodyTooLarge, None)]));
    let home = Home::enrolled_at(&server);
    let agent = home.run("1s", &[]);
    let received = server.wait_until(|received| acknowledged(received).iter().any(counts_a_rejected_batch));
    assert_eq!(received[0].0.push().readings, ReadingRange { first: 1, last: 1 });
    assert!(received[1].0.push().readings.first > 1);
    assert_eq!(
        agent.said("refused a batch for good, it is set aside in rejected/: body_too_large"),
        1,
        "{}",
        agent.log()
    );
}

/// Whether the agent tells of a batch that was refused for good.
fn counts_a_rejected_batch(body: &MetricsBody) -> bool {
    let rejected = |name: &str| name == "agent_rejected_batches_total";
    body.metrics.iter().any(|sample| rejected(&sample.name) && sample.value >= 1.0)
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let server = FakeServer::start(first([reply(500, "")]));
    let home = Home::enrolled_at(&server);
    let full = ["sh", "-c", r#"exec "$0" "$@" 2>/dev/full"#];
    let _agent = home.run_under(&full, "1s", &[]);
    server.wait_for(3);
}
