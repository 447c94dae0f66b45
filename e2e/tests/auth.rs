//! Who may do what: forged, stale and misplaced tokens are refused before anything is stored, good ones are not.

use edgewatch_e2e::{
    api::{ENROLL_PATH, PUSH_PATH},
    client::{Client, Request},
    edgewatch::Edgewatch,
    samples::{body, sample},
    tokens::{Mint, signed_hs256, signed_hs512, unsigned},
};
use edgewatch_shared::{
    ErrorCode, HostId,
    keys::Key,
    limits::{HOST_TOKEN_LIFETIME_S_MAX, STATIC_TOKEN_LIFETIME_S_MAX, TOKEN_BYTES_MAX},
    token::{Claims, Scope, sign_host},
    wire::{EnrollReply, MetricsBody},
};
use serde_json::{Value, json};
use std::{fs, sync::LazyLock};

fn api() -> &'static Client {
    static SERVER: LazyLock<Edgewatch> = LazyLock::new(|| Edgewatch::start("auth"));
    SERVER.client()
}

fn now_s() -> i64 {
    api().now().seconds()
}

/// A good push but for its token.
fn push_with(token: &str) -> Request {
    Request::post(PUSH_PATH, body(None, &[sample("load_1m", api().now(), 1.0)])).with_token(token)
}

/// Sends each request; every one of them is refused like this, and nothing of `host` is stored.
fn assert_refused(host: &str, cases: Vec<(&str, Request, u16, ErrorCode)>) {
    for (name, request, status, code) in cases {
        let answer = api().send(request);
        assert_eq!(answer.refusal(), (status, code), "{name}: {}", answer.text());
        let challenge = if status == 401 { "Bearer" } else { "" };
        assert_eq!(answer.header("WWW-Authenticate"), challenge, "{name}");
        assert!(answer.error().server_ms.is_some(), "{name} does not tell the clock");
    }
    assert!(!api().has_samples(host, "load_1m"));
}

/// That the host could push all the while.
fn assert_taken(host: &EnrollReply) {
    api().push_as(host, &[sample("load_1m", api().now(), 1.0)]);
    assert!(api().has_samples(&host.name, "load_1m"));
}

fn header(alg: &str, kid: &str) -> Value {
    json!({ "alg": alg, "typ": "JWT", "kid": kid })
}

#[test]
fn a_request_without_a_bearer_token_is_refused() {
    let host = api().enroll("auth-none");
    let good = api().mint().of_host(host.host_id, api().now());
    let with = |value: &str| {
        let bytes = body(None, &[sample("load_1m", api().now(), 1.0)]);
        Request::post(PUSH_PATH, bytes).with_header("Authorization", value)
    };
    let missing = |name, request| (name, request, 401, ErrorCode::MissingToken);
    assert_refused(
        "auth-none",
        vec![
            missing("no header", Request::post(PUSH_PATH, "{}")),
            missing("another scheme", with(&format!("Basic {good}"))),
            missing("no scheme", with(&good)),
            missing("no token", with("Bearer ")),
        ],
    );
    assert_taken(&host);
}

#[test]
fn a_token_signed_otherwise_is_refused() {
    let host = api().enroll("auth-forged");
    let (mint, id) = (api().mint(), host.host_id);
    let key = mint.host_key(id);
    let claims = json!(Claims::for_host(id, now_s()));
    let static_claims = json!(mint.claims(Scope::Admin));
    let strange = Mint::new(&"another secret ".repeat(4));
    let neighbour = HostId::new(id.home_shard(), [7; 14]);
    let invalid = |name, token: String| (name, push_with(&token), 401, ErrorCode::InvalidToken);
    let none = unsigned(&header("none", "host.1"), &claims);
    let cases = vec![
        invalid("garbage", "garbage".to_owned()),
        invalid("three dots", "...".to_owned()),
        invalid("alg none, unsigned", format!("{none}.")),
        invalid("alg none, signed", signed_hs256(&key, &header("none", "host.1"), &claims)),
        invalid(
            "alg none for a static token",
            format!("{}.", unsigned(&header("none", "static.1"), &static_claims)),
        ),
        invalid("RS256", signed_hs256(&key, &header("RS256", "host.1"), &claims)),
        invalid("HS512", signed_hs512(&key, &header("HS512", "host.1"), &claims)),
        invalid("HS512 that says HS256", signed_hs512(&key, &header("HS256", "host.1"), &claims)),
        invalid("no alg", signed_hs256(&key, &json!({ "typ": "JWT", "kid": "host.1" }), &claims)),
        invalid("no kid", signed_hs256(&key, &json!({ "alg": "HS256", "typ": "JWT" }), &claims)),
        invalid("an unknown kid", signed_hs256(&key, &header("HS256", "host.2"), &claims)),
        invalid("another kind of kid", signed_hs256(&key, &header("HS256", "admin.1"), &claims)),
        invalid("another secret", strange.of_host(id, api().now())),
        invalid("another secret, static", strange.scoped(Scope::Push)),
        invalid("another host's key", sign_host(&mint.host_key(neighbour), &Claims::for_host(id, now_s()))),
        invalid("the static key", sign_host(&mint.static_key(), &Claims::for_host(id, now_s()))),
        invalid("a static token by a host", signed_hs256(&key, &header("HS256", "static.1"), &static_claims)),
        invalid("no signature", unsigned(&header("HS256", "host.1"), &claims)),
        invalid("an empty signature", format!("{}.", unsigned(&header("HS256", "host.1"), &claims))),
        invalid("too long", "a".repeat(TOKEN_BYTES_MAX + 1)),
    ];
    assert_refused("auth-forged", cases);
    assert_taken(&host);
}

#[test]
fn a_token_of_the_wrong_time_or_purpose_is_refused() {
    let host = api().enroll("auth-times");
    let (mint, id) = (api().mint(), host.host_id);
    let key = mint.host_key(id);
    let of_host = |change: &dyn Fn(&mut Claims)| {
        let mut claims = Claims::for_host(id, now_s());
        change(&mut claims);
        push_with(&sign_host(&key, &claims))
    };
    let of_holder = |change: &dyn Fn(&mut Claims)| {
        let mut claims = mint.claims(Scope::Push);
        change(&mut claims);
        push_with(&mint.minted(&claims))
    };
    let without = |claim: &str| {
        let mut claims = json!(Claims::for_host(id, now_s()));
        claims.as_object_mut().unwrap().remove(claim);
        push_with(&signed_hs256(&key, &header("HS256", "host.1"), &claims))
    };
    use ErrorCode::{ExpiredToken, InvalidToken, TokenNotYetValid};
    // Half a minute is more than a test takes.
    assert_refused(
        "auth-times",
        vec![
            ("no exp", without("exp"), 401, InvalidToken),
            ("no iat", without("iat"), 401, InvalidToken),
            ("no sub", without("sub"), 401, InvalidToken),
            ("no aud", without("aud"), 401, InvalidToken),
            ("another audience", of_host(&|claims| claims.aud = "other".into()), 401, InvalidToken),
            ("a sub that is no id", of_host(&|claims| claims.sub = "auth-times".into()), 401, InvalidToken),
            ("just expired", of_host(&|claims| claims.exp = claims.iat), 401, ExpiredToken),
            ("long expired", of_holder(&|claims| claims.exp = 1), 401, ExpiredToken),
            ("a far iat", of_host(&|claims| claims.iat += 90), 401, TokenNotYetValid),
            ("a far exp", of_host(&|claims| claims.exp += 30), 401, InvalidToken),
            ("an endless exp", of_holder(&|claims| claims.exp = i64::MAX), 401, InvalidToken),
            (
                "a static token for too long",
                of_holder(&|claims| claims.exp = claims.iat + STATIC_TOKEN_LIFETIME_S_MAX + 1),
                401,
                InvalidToken,
            ),
            (
                "a year as if by a host",
                of_host(&|claims| claims.exp = claims.iat + HOST_TOKEN_LIFETIME_S_MAX + 1),
                401,
                InvalidToken,
            ),
        ],
    );
    // A clock that is half a minute ahead is let pass.
    api()
        .send(of_host(&|claims| {
            claims.iat += 30;
            claims.exp += 30;
        }))
        .expect(202);
}

#[test]
fn a_body_that_names_another_host_is_refused() {
    let host = api().enroll("auth-own");
    let other = api().enroll("auth-other");
    let token = api().mint().of_host(host.host_id, api().now());
    let good = sample("load_1m", api().now(), 1.0);
    let push = |claimed: Option<&str>| {
        Request::post(PUSH_PATH, body(claimed, std::slice::from_ref(&good))).with_token(&token)
    };
    let in_samples = |claimed: &str| {
        let mut sample = good.clone();
        sample.host = Some(claimed.to_owned());
        let body = MetricsBody { host: None, facts: None, metrics: vec![sample] };
        Request::post(PUSH_PATH, serde_json::to_vec(&body).unwrap()).with_token(&token)
    };
    let mismatch = |name, request| (name, request, 403, ErrorCode::HostMismatch);
    let cases = vec![
        mismatch("another name", push(Some("auth-other"))),
        mismatch("an unknown name", push(Some("auth-nobody"))),
        mismatch("another id", push(Some(&other.host_id.to_string()))),
        mismatch("another name in a sample only", in_samples("auth-other")),
    ];
    assert_refused("auth-own", cases);
    assert!(!api().has_samples("auth-other", "load_1m"));
    for own in [None, Some("auth-own"), Some(host.host_id.to_string().as_str())] {
        api().send(push(own)).expect(202);
    }
    api().send(in_samples("auth-own")).expect(202);
}

#[test]
fn a_host_that_was_never_enrolled_was_revoked_or_deleted_is_refused() {
    let stranger = HostId::new(0, [3; 14]);
    let push = |id| push_with(&api().mint().of_host(id, api().now()));
    assert_refused(&stranger.to_string(), vec![("a stranger", push(stranger), 401, ErrorCode::UnknownHost)]);
    // A shard that nobody was ever placed on.
    let afar = HostId::new(4_711, [3; 14]);
    assert_refused(&afar.to_string(), vec![("afar", push(afar), 401, ErrorCode::UnknownHost)]);
    let revoked = api().enroll("auth-revoked");
    api().revoke("auth-revoked");
    assert_refused("auth-revoked", vec![("revoked", push(revoked.host_id), 403, ErrorCode::RevokedHost)]);
    let deleted = api().enroll("auth-deleted");
    api().delete("auth-deleted");
    let id = deleted.host_id.to_string();
    assert_refused(&id, vec![("deleted", push(deleted.host_id), 401, ErrorCode::UnknownHost)]);
    api().delete(&revoked.host_id.to_string());
    assert_refused("auth-revoked", vec![("both", push(revoked.host_id), 401, ErrorCode::UnknownHost)]);
}

#[test]
fn a_scope_opens_its_own_routes_and_no_others() {
    let host = api().enroll("auth-scopes");
    let of_host = api().mint().of_host(host.host_id, api().now());
    let scoped = |scope| api().mint().scoped(scope);
    let tokens = [
        ("host", of_host, "push"),
        ("push", scoped(Scope::Push), "push"),
        ("read", scoped(Scope::Read), "read"),
        ("enroll", scoped(Scope::Enroll), "enroll"),
        ("admin", scoped(Scope::Admin), "push read enroll admin"),
    ];
    let routes = [
        ("push", Request::post(PUSH_PATH, "{}")),
        ("read", Request::get("/api/v1/metrics/query?host=h&name=load_1m")),
        ("read", Request::get("/api/v1/metrics/hosts")),
        ("read", Request::get("/api/v1/hosts")),
        ("enroll", Request::post(ENROLL_PATH, "{}")),
        ("admin", Request::new("POST", "/api/v1/hosts/auth-nobody/revoke")),
        ("admin", Request::new("DELETE", "/api/v1/hosts/auth-nobody")),
    ];
    for (holder, token, allowed) in tokens {
        for (needs, request) in &routes {
            let answer = api().send(request.clone().with_token(&token));
            if allowed.split(' ').any(|scope| scope == *needs) {
                // Past the token; what the request then lacks is not this test's.
                assert!(![401, 403].contains(&answer.status), "{holder}, {needs}: {}", answer.text());
            } else {
                assert_eq!(answer.refusal(), (403, ErrorCode::ForbiddenScope), "{holder}, {needs}");
            }
        }
    }
}

#[test]
fn a_token_with_several_scopes_has_each_of_them() {
    let mut claims = api().mint().claims(Scope::Read);
    claims.scope = "push read".to_owned();
    let token = api().mint().minted(&claims);
    api().send(Request::get("/api/v1/hosts").with_token(&token)).expect(200);
    let answer = api().send(Request::new("DELETE", "/api/v1/hosts/auth-nobody").with_token(&token));
    assert_eq!(answer.refusal(), (403, ErrorCode::ForbiddenScope));
}

#[test]
fn keys_of_the_previous_secret_work_until_it_goes() {
    let mut server = Edgewatch::start("auth-rotation");
    let before = server.client().clone();
    let host = before.enroll("old");
    let old_secret = fs::read_to_string(server.state_dir().join("secret")).unwrap();
    server.stop();

    let new_secret = "f".repeat(64);
    fs::write(server.state_dir().join("secret"), &new_secret).unwrap();
    server.resume_with(|options| {
        options.vars.insert("EDGEWATCH_SECRET_PREVIOUS".to_owned(), old_secret);
    });
    let rotating = server.client().clone();
    let metrics = [sample("load_1m", rotating.now(), 1.0)];
    let status =
        |client: &Client, host: &EnrollReply| rotating.send(client.push_request_of(host, &metrics)).status;
    assert_eq!(status(&before, &host), 202, "the host's key still works");
    assert_eq!(rotating.send(before.read_request("/api/v1/hosts")).status, 200, "so do static tokens");
    let newcomer = rotating.enroll("new");
    let of_newcomer = |mint: &Mint| mint.host_key(newcomer.host_id);
    assert_eq!(Key::from_text(&newcomer.host_key), Ok(of_newcomer(rotating.mint())), "the new secret signs");
    assert_ne!(of_newcomer(before.mint()), of_newcomer(rotating.mint()));
    server.stop();

    server.resume_with(|options| options.vars.clear());
    assert_eq!(status(&before, &host), 401, "the old secret is gone");
    assert_eq!(status(&rotating, &newcomer), 202);
    assert_eq!(status(&rotating, &host), 202, "with its key of the new secret");
}
