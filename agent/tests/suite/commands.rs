//! Enrolling, checking, and being called or configured wrongly.

use super::{
    agent_process::Home,
    fake_server::{FakeServer, PUSH, accepted, now, refusal, reply, strict},
};
use edgewatch_agent::credentials::Credentials;
use edgewatch_shared::{ErrorCode, wire::EnrollBody};
use std::process::Output;

/// Arguments, environment, and what the message has to name.
type Misuse<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

fn told(output: &Output) -> (i32, String) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[test]
fn a_host_enrols_once_and_then_pushes_as_itself() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::new();
    let url = server.url();
    let enroll = ["enroll", &url, "t0k3n", "--name", "web-01", "--tag", "eu"];
    let (code, text) = told(&home.output(&enroll, &[]));
    assert_eq!(code, 0, "{text}");
    let (request, _) = server.received().remove(0);
    assert_eq!((request.path.as_str(), request.bearer()), ("/api/v1/enroll", "t0k3n"));
    let body: EnrollBody = serde_json::from_slice(&request.body).unwrap();
    assert_eq!((body.name.as_str(), body.tags), ("web-01", vec!["eu".to_owned()]));
    assert!(body.facts.cpus > 0);

    let (code, text) = told(&home.output(&enroll, &[]));
    assert_eq!(code, 1);
    assert!(text.contains("enrolled already") && text.contains("--force"), "{text}");
    let (code, text) = told(&home.output(&[&enroll[..], &["--force"]].concat(), &[]));
    assert!(code == 0 && text.contains("restart it"), "{text}");

    let _agent = home.run("1s", &[]);
    server.wait_until(|received| received.iter().any(|(request, _)| request.path == PUSH));
}

#[test]
fn the_enrolment_token_can_come_from_the_environment() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::new();
    let env = [("EDGEWATCH_URL", server.url()), ("EDGEWATCH_TOKEN", "t0k3n".to_owned())];
    let env = env.each_ref().map(|(name, text)| (*name, text.as_str()));
    let (code, text) = told(&home.output(&["enroll"], &env));
    assert_eq!(code, 0, "{text}");
    assert_eq!(server.received()[0].0.bearer(), "t0k3n");
}

/// `run` would go to the file's server, whatever the credentials say.
#[test]
fn a_host_does_not_enrol_at_another_server_than_its_file_names() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::new();
    let config = home.file("agent.toml", "url = \"https://watch.example\"\n");
    let (code, text) = told(&home.output(&["enroll", &server.url(), "t0k3n", "--config", &config], &[]));
    assert_eq!(code, 1);
    assert!(text.contains(&config) && text.contains("https://watch.example"), "{text}");
    assert_eq!(server.received().len(), 0);

    home.file("agent.toml", &format!("url = \"{}/\"\n", server.url()));
    let (code, text) = told(&home.output(&["enroll", &server.url(), "t0k3n", "--config", &config], &[]));
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_refused_enrolment_leaves_nothing_behind() {
    let server = FakeServer::start(|_| refusal(403, ErrorCode::EnrollmentExhausted, None));
    let home = Home::new();
    let (code, text) = told(&home.output(&["enroll", &server.url(), "t0k3n"], &[]));
    assert_eq!(code, 1);
    assert!(text.contains("enrollment_exhausted: by a test"), "{text}");
    assert_eq!(std::fs::read_dir(home.state_dir()).unwrap().count(), 0);
}

#[test]
fn a_host_that_cannot_keep_credentials_does_not_spend_the_token() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::new();
    std::fs::write(home.state_dir(), "a file where the directory should be").unwrap();
    let (code, _) = told(&home.output(&["enroll", &server.url(), "t0k3n"], &[]));
    assert_eq!(code, 1);
    assert_eq!(server.received().len(), 0);
    assert!(Credentials::load(&home.state_dir()).is_err());
}

#[test]
fn check_prints_a_collection_and_tells_by_its_code_whether_the_server_is_there() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let (code, text) = told(&home.output(&["check"], &[]));
    assert_eq!(code, 0, "{text}");
    for shown in
        ["core=total", "mem_used_pct", "mount=/", "as web-01", "/healthz: HTTP 200", "/readyz: HTTP 200"]
    {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(server.received().iter().all(|(request, _)| request.path != PUSH));

    let unready = FakeServer::start(|request| match request.path.as_str() {
        "/healthz" => reply(200, ""),
        _ => refusal(503, ErrorCode::CatalogueUnavailable, None),
    });
    let (code, text) = told(&Home::enrolled_at(&unready).output(&["check"], &[]));
    assert_eq!(code, 1);
    assert!(text.contains("/readyz: catalogue_unavailable"), "{text}");
}

#[test]
fn check_with_the_stub_shows_what_a_server_would_receive_and_asks_nobody() {
    let server = FakeServer::start(|request| strict(request, now()));
    let home = Home::enrolled_at(&server);
    let env = [("EDGEWATCH_METRICS_EXCLUDE", "cpu_usage_pct{core=*}, !cpu_usage_pct{core=total}")];
    let (code, text) = told(&home.output(&["check", "--stub"], &env));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("cpu_usage_pct{core=total} ") && !text.contains("core=0"), "{text}");
    let parts: Vec<&str> = text.split(" bytes: ").collect();
    let [_, first, later] = parts[..] else { panic!("{text}") };
    assert!(first.contains("series with their list") && first.contains("agent_version"), "{text}");
    assert!(later.contains("series by the list that was sent before"), "{text}");
    for push in [first, later] {
        assert!(
            push.contains("POST /api/v1/push HTTP/1.1") && push.contains("characters, masked)"),
            "{text}"
        );
    }
    assert!(!text.contains("eyJ"), "no token is shown: {text}");
    assert_eq!(server.received().len(), 0);

    // Nobody need be enrolled, nor know a server.
    let (code, text) = told(&Home::new().output(&["check", "--stub", "--name", "trial"], &[]));
    assert!(code == 0 && text.contains("host trial"), "{text}");
}

#[test]
fn what_is_missing_is_named_and_nothing_starts() {
    let home = Home::new();
    let cases: [Misuse; 9] = [
        (&["run"], &[], "EDGEWATCH_URL"),
        (&["run"], &[("EDGEWATCH_URL", "http://127.0.0.1:1")], "EDGEWATCH_TOKEN"),
        (&["run"], &[("SERVER_URL", "nonsense"), ("AGENT_TOKEN", "t")], "SERVER_URL"),
        (&["run"], &[("EDGEWATCH_URL", "http://watch.example"), ("AGENT_TOKEN", "t")], "--allow-plain-http"),
        (
            &["check", "--stub"],
            &[("EDGEWATCH_URL", "http://watch.example"), ("AGENT_TOKEN", "t")],
            "--allow-plain-http",
        ),
        (
            &["check", "--stub"],
            &[
                ("EDGEWATCH_URL", "https://watch.example"),
                ("AGENT_TOKEN", "t"),
                ("EDGEWATCH_PROXY", "ftp://p"),
            ],
            "EDGEWATCH_PROXY",
        ),
        (&["check", "--stub"], &[("SERVER_URL", "nonsense")], "SERVER_URL"),
        (&["rum"], &[], "did you mean \"run\"?"),
        (&["run", "--config", "nowhere.toml"], &[], "nowhere.toml"),
    ];
    for (arguments, env, named) in cases {
        let (code, text) = told(&home.output(arguments, env));
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(named), "{named}: {text}");
    }
}

#[test]
fn an_optional_value_that_cannot_be_used_is_warned_of() {
    let server = FakeServer::start(accepted);
    let home = Home::enrolled_at(&server);
    let agent = home.run("soon", &[]);
    server.wait_for(1);
    assert_eq!(agent.said("EDGEWATCH_PUSH_INTERVAL is \"soon\""), 1, "{}", agent.log());
}

#[test]
fn the_version_has_a_commit() {
    let (code, text) = told(&Home::new().output(&["--version"], &[]));
    assert_eq!(code, 0);
    assert!(text.starts_with("edgewatch-agent ") && text.contains("(commit "), "{text}");
}
