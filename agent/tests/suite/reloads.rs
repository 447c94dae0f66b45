//! SIGHUP: what changes while the agent runs, and what a faulty file changes.

use super::{
    agent_process::Home,
    fake_server::{FakeServer, Reply, Request, acknowledged, is_without_gap, now, strict},
    tls::Authority,
};
use edgewatch_agent::credentials::{Credentials, Prepared};

const AGAIN: &str = "the configuration was read anew";

#[test]
fn what_is_collected_and_how_often_changes_while_it_runs() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let file = home.file("agent.toml", "collect_interval = \"5m\"\npush_interval = \"1h\"\n");
    // The environment would go before the file.
    let env = [("EDGEWATCH_CONFIG", file.as_str()), ("EDGEWATCH_COLLECT_INTERVAL", "")];
    let mut agent = home.run("", &env);
    agent.wait_until_said("pushing to");
    home.file(
        "agent.toml",
        "collect_interval = \"1s\"\npush_interval = \"1s\"\ncollectors_off = [\"load\"]\n",
    );
    agent.hang_up();
    agent.wait_until_said(AGAIN);
    let received = server.wait_for(3);
    let bodies = acknowledged(&received);
    let names: Vec<&str> =
        bodies.iter().flat_map(|body| &body.metrics).map(|sample| sample.name.as_str()).collect();
    assert!(names.contains(&"cpu_count") && !names.contains(&"load_1m"), "{names:?}");
    agent.terminate();
    assert_eq!(agent.wait().code(), Some(0), "{}", agent.log());
}

#[test]
fn a_faulty_file_changes_nothing_and_says_why_in_a_line() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let file = home.file("agent.toml", "");
    let agent = home.run("1s", &[("EDGEWATCH_CONFIG", &file)]);
    agent.wait_until_said("the first push was taken");
    for (text, why) in [
        ("colect_interval = \"1s\"", "did you mean \"collect_interval\"?"),
        ("collectors_off = [\"gpu\"]", "which is not a list of collectors"),
        ("ca_file = \"/nowhere.pem\"", "/nowhere.pem: No such file"),
        ("url = \"http://other.example\"", "--allow-plain-http"),
        ("= 1", "unquoted keys cannot be empty"),
    ] {
        home.file("agent.toml", text);
        let lines = agent.log().lines().count();
        agent.hang_up();
        agent.wait_until_said(why);
        let log = agent.log();
        let said = log.lines().skip(lines).find(|line| line.contains(why));
        assert!(said.is_some_and(|line| line.contains("is not read anew, the old one holds")), "{log}");
    }
    assert_eq!(agent.said(AGAIN), 0, "{}", agent.log());
    let before = server.received().len();
    server.wait_for(before + 2);
}

#[test]
fn what_cannot_change_is_named_and_holds_from_the_next_start_on() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let file = home.file("agent.toml", "");
    let agent = home.run("1s", &[("EDGEWATCH_CONFIG", &file)]);
    agent.wait_until_said("the first push was taken");
    home.file("agent.toml", "name = \"other\"\nlog_level = \"debug\"\n");
    agent.hang_up();
    agent.wait_until_said("read anew; from the next start on: name");
    agent.wait_until_said(" debug pushed ");
}

#[test]
fn an_authority_that_is_named_later_is_trusted_at_once_and_nothing_was_lost() {
    let authority = Authority::new();
    let server =
        FakeServer::start_tls(authority.server("localhost", |_| ()), |request| strict(request, now()));
    let home = Home::enrolled_at_url(&format!("https://localhost:{}", server.address().port()));
    let file = home.file("agent.toml", "");
    let agent = home.run("1s", &[("EDGEWATCH_CONFIG", &file)]);
    agent.wait_until_said("name its certificate with ca_file");
    let ca = home.file("ca.pem", &authority.pem());
    home.file("agent.toml", &format!("ca_file = {ca:?}\n"));
    agent.hang_up();
    server.wait_until(is_without_gap);
}

#[test]
fn another_server_is_told_the_facts_and_the_series_as_if_it_were_the_first() {
    let [before, after] = [(); 2].map(|()| FakeServer::start(|request| strict(request, now())));
    let home = Home::enrolled_at(&before);
    let file = home.file("agent.toml", "");
    let agent = home.run("1s", &[("EDGEWATCH_CONFIG", &file)]);
    agent.wait_until_said("the first push was taken");
    home.file("agent.toml", &format!("url = {:?}\n", after.url()));
    agent.hang_up();
    let has_facts = |(request, _): &&(Request, Reply)| request.push().facts.is_some();
    let received = after.wait_until(|received| received.iter().any(|push| has_facts(&push)));
    assert!(received.iter().find(has_facts).unwrap().0.has_list(), "{}", agent.log());
}

#[test]
fn who_enrolled_elsewhere_is_who_it_was_where_it_was_until_the_next_start() {
    let [before, after] = [(); 2].map(|()| FakeServer::start(|request| strict(request, now())));
    let home = Home::enrolled_at(&before);
    let agent = home.run("1s", &[]);
    agent.wait_until_said("the first push was taken");
    let known = Credentials::load(&home.state_dir()).unwrap().unwrap();
    let host_key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".into();
    let new = Credentials { url: after.url(), host_key, ..known };
    Prepared::in_dir(&home.state_dir()).unwrap().keep(&new).unwrap();
    agent.hang_up();
    agent.wait_until_said("read anew; from the next start on: credentials");
    let count = before.received().len();
    before.wait_for(count + 2);
    assert_eq!(after.received().len(), 0, "{}", agent.log());
}
