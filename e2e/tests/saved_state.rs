//! State that an earlier release wrote: it opens, nothing of it is missing, and it goes on.

use edgewatch_e2e::{
    client::Client,
    edgewatch::Edgewatch,
    saved_state::{self, Saved, fixtures, minutes, names},
};
use edgewatch_shared::{
    ErrorCode,
    limits::{DAY_MS, MINUTE_MS},
};

/// Every sample, or the test fails and says which are missing.
fn assert_whole(api: &Client, saved: &Saved, when: &str) {
    for series in &saved.series {
        assert!(!series.minutes.is_empty());
        let found = minutes(api, &series.host, &series.name, saved.from);
        assert_eq!(found, series.minutes, "{} of {} {when}", series.name, series.host);
    }
}

#[test]
fn every_saved_state_opens_and_nothing_of_it_is_missing() {
    let fixtures = fixtures();
    assert!(!fixtures.is_empty());
    for (n, file) in fixtures.iter().enumerate() {
        let file_name = file.display();
        let (dir, saved) = saved_state::unpack(file, &format!("saved-state-{n}"));
        let server =
            Edgewatch::start_with(&format!("saved-state-{n}-log"), |options| options.state_dir = dir);
        let api = server.client();
        // Never back: tokens are made today.
        let now = saved.at.max(api.now());
        api.set_time(now);
        assert_eq!(names(api), saved.names, "{file_name}");
        assert_whole(api, &saved, &format!("as {file_name} had it"));
        let processes = api.processes(&saved.host.host_id.to_string());
        match &saved.processes {
            Some(saved) => assert_eq!(processes, *saved, "{file_name}"),
            None => assert_eq!(processes.time, None, "{file_name}"),
        }

        // What was pushed is known, who may not push still may not, and what comes is taken.
        let stream = saved_state::readings(saved.from);
        api.push_compact(&saved.host, &stream.frame(1, 6));
        let metrics = [edgewatch_e2e::samples::sample("load_1m", now, 1.0)];
        let revoked = api.send(api.push_request_of(&saved.revoked, &metrics));
        assert_eq!(revoked.refusal(), (403, ErrorCode::RevokedHost), "{file_name}");
        let push = |name: &str, value| {
            api.push(name, &[edgewatch_e2e::samples::sample("app_new", now.plus_ms(MINUTE_MS), value)]);
        };
        push("named", 5.0);
        push("new", 6.0);
        assert_whole(api, &saved, "after pushes");

        api.end_this_hour();
        while api.run_jobs(0) > 0 {}
        assert_eq!(api.shard(0).partitions, [""; 0]);
        assert_whole(api, &saved, "after a seal");
        api.set_time(now.day().end().plus_ms(3 * 60 * MINUTE_MS));
        while api.run_jobs(0) > 0 {}
        assert_whole(api, &saved, "after a compaction");
        assert!(api.has_samples("named", "app_new") && api.has_samples("new", "app_new"));
        // As whoever runs this test years later: its retention is for ever.
        api.set_time(now.plus_ms(4_000 * DAY_MS));
        while api.run_jobs(0) > 0 {}
        api.set_time(now);
        assert_whole(api, &saved, "years later");
    }
}
