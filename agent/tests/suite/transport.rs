//! TLS is never off, and whoever is in the way is gone through or refused, never around.

use super::{
    agent_process::Home,
    fake_server::{FakeServer, PUSH, Reply, Request, acknowledged, is_without_gap, now, reply, strict},
    tls::{Authority, ConnectProxy, expired},
};
use rcgen::CertificateParams;
use std::net::SocketAddr;

/// A name that no resolver knows: who gets there got there through a proxy.
const FAR: &str = "watch.invalid";

fn taken(request: &Request) -> Reply {
    strict(request, now())
}

fn https(server: SocketAddr) -> String {
    format!("https://localhost:{}", server.port())
}

/// Runs an agent against a server with such a certificate until it says this; then nothing must have arrived.
fn refused(
    authority: &Authority,
    name: &str,
    change: fn(&mut CertificateParams),
    env: &[(&str, &str)],
    why: &str,
) {
    let server = FakeServer::start_tls(authority.server(name, change), taken);
    let home = Home::enrolled_at_url(&https(server.address()));
    let agent = home.run("1s", env);
    agent.wait_until_said(why);
    assert_eq!(agent.said("push failed, the batch is kept and tried again"), 1, "{}", agent.log());
    assert_eq!(server.received().len(), 0);
}

#[test]
fn a_server_is_trusted_whose_certificate_the_ca_file_vouches_for() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = FakeServer::start_tls(authority.server("localhost", |_| ()), taken);
    let home = Home::enrolled_at_url(&https(server.address()));
    let ca = home.file("ca.pem", &format!("Ours:\n{}{}", other.pem(), authority.pem()));
    let env = [("EDGEWATCH_CA_FILE", ca.as_str())];
    let output = home.output(&["check"], &env);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let _agent = home.run("1s", &env);
    server.wait_until(|received| received.iter().any(|(request, _)| request.path == PUSH));
}

#[test]
fn a_server_that_nobody_vouches_for_gets_nothing_and_the_batch_is_kept() {
    let authority = Authority::new();
    refused(
        &authority,
        "localhost",
        |_| (),
        &[],
        "UnknownIssuer: nobody whom this agent trusts has signed it",
    );
    let dir = Home::new();
    let other = dir.file("other.pem", &Authority::new().pem());
    let env = [("EDGEWATCH_CA_FILE", other.as_str())];
    refused(&authority, "localhost", |_| (), &env, "name its certificate with ca_file");
}

#[test]
fn a_certificate_of_another_name_or_another_time_is_refused() {
    let authority = Authority::new();
    let dir = Home::new();
    let ca = dir.file("ca.pem", &authority.pem());
    let env = [("EDGEWATCH_CA_FILE", ca.as_str())];
    refused(&authority, "other.example", |_| (), &env, "it is another server's than the URL says");
    refused(&authority, "localhost", expired, &env, "renew it, or set this host's clock");
}

#[test]
fn what_waited_for_a_trusted_server_is_delivered() {
    let authority = Authority::new();
    let server = FakeServer::start_tls(authority.server("localhost", expired), taken);
    let home = Home::enrolled_at_url(&https(server.address()));
    let ca = home.file("ca.pem", &authority.pem());
    let agent = home.run("1s", &[("EDGEWATCH_CA_FILE", &ca)]);
    agent.wait_until_said("push failed");
    let address = server.address();
    drop(server);
    let renewed = authority.server("localhost", |_| ());
    let server = FakeServer::start_tls_at(address, renewed, taken);
    server.wait_until(is_without_gap);
}

#[test]
fn a_ca_file_that_cannot_be_used_ends_the_agent_with_a_message() {
    let home = Home::enrolled_at_url("https://watch.example");
    let good = Authority::new().pem();
    let body = good.lines().nth(1).unwrap();
    for (text, why) in [
        ("", "it has no certificate"),
        ("certificates, but not as PEM\n", "it has no certificate"),
        (&good.replace("END", "FIN"), "it is no PEM file"),
        (&good.replace(body, "AAAA"), "certificate 1: "),
        (&format!("{good}{}", good.replace(body, "AAAA")), "certificate 2: "),
    ] {
        let ca = home.file("ca.pem", text);
        for command in ["run", "check"] {
            let output = home.output(&[command, "--ca-file", &ca], &[]);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{told}");
            assert!(told.contains(&format!("--ca-file: {ca}: {why}")), "{why}: {told}");
        }
    }
    let output = home.output(&["run", "--ca-file", "nowhere.pem"], &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.pem: No such file"));
}

#[test]
fn a_push_goes_through_the_proxy_and_its_tls_ends_at_the_server() {
    let authority = Authority::new();
    for variable in ["HTTPS_PROXY", "all_proxy", "EDGEWATCH_PROXY"] {
        let server = FakeServer::start_tls(authority.server(FAR, |_| ()), taken);
        let proxy = ConnectProxy::start(Some(server.address()));
        let home = Home::enrolled_at_url(&format!("https://{FAR}"));
        let ca = home.file("ca.pem", &authority.pem());
        let through = format!("http://me:secret@{}", proxy.address());
        let agent = home.run("1s", &[(variable, &through), ("EDGEWATCH_CA_FILE", &ca)]);
        let received = server.wait_for(1);
        assert_eq!(acknowledged(&received).len(), 1);
        let asked = proxy.asked().join("\n");
        assert!(asked.starts_with(&format!("CONNECT {FAR}:443 HTTP/1.1; ")), "{asked}");
        assert!(asked.contains("Proxy-Authorization: Basic bWU6c2VjcmV0"), "{asked}");
        assert!(!asked.contains("Bearer") && !agent.log().contains("secret"), "{asked}");
    }
}

#[test]
fn a_proxy_that_refuses_is_not_gone_around() {
    let server = FakeServer::start(taken);
    let proxy = ConnectProxy::start(None);
    // Another address of this machine, which counts as another machine's here: plain HTTP has to be allowed.
    let home = Home::enrolled_at_url(&format!("http://{FAR}:{}", server.address().port()));
    let through = proxy.address().to_string();
    let agent = home.run("1s", &[("ALL_PROXY", &through), ("EDGEWATCH_ALLOW_PLAIN_HTTP", "true")]);
    agent.wait_until_said(&format!("responded 407/407 (through the proxy {through})"));
    assert!(!proxy.asked().is_empty());
    assert_eq!(server.received().len(), 0);
}

#[test]
fn what_no_proxy_names_is_reached_without() {
    let proxy = ConnectProxy::start(None);
    let home = Home::enrolled_at_url(&format!("https://{FAR}"));
    let through = proxy.address().to_string();
    let agent = home.run("1s", &[("HTTPS_PROXY", &through), ("NO_PROXY", "a.example, .invalid")]);
    agent.wait_until_said("push failed");
    assert_eq!(proxy.asked(), [""; 0]);
}

#[test]
fn a_proxy_that_cannot_be_used_ends_the_agent_rather_than_being_passed_over() {
    let home = Home::enrolled_at_url("https://watch.example");
    for (variable, bad) in
        [("ALL_PROXY", "socks5://p.example"), ("HTTPS_PROXY", "://"), ("EDGEWATCH_PROXY", "ftp://p")]
    {
        let output = home.output(&["run"], &[(variable, bad)]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("{variable} is no proxy's URL")), "{told}");
    }
}

#[test]
fn a_redirect_carries_nothing_elsewhere() {
    let elsewhere = FakeServer::start(taken);
    let location: &'static str =
        Box::leak(format!("Location: {}{PUSH}\r\n", elsewhere.url()).into_boxed_str());
    for status in [301, 302, 303, 307, 308] {
        let server = FakeServer::start(move |_| Reply { headers: location, ..reply(status, "") });
        let home = Home::enrolled_at(&server);
        let agent = home.run("1s", &[]);
        agent.wait_until_said(&format!("push failed, the batch is kept and tried again: HTTP {status}"));
        assert_eq!(elsewhere.received().len(), 0, "{status}");
    }
}
