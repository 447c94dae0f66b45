//! How long samples are kept: shown and set by administrators.

use edgewatch_e2e::{client::Request, edgewatch::Edgewatch};
use edgewatch_shared::{ErrorCode, limits::RETENTION_DAYS_MAX, token::Scope, wire::Retention};

const PATH: &str = "/api/v1/settings/retention";

#[test]
fn retention_has_defaults_and_keeps_what_is_set() {
    let mut server = Edgewatch::start("retention");
    let api = server.client().clone();
    let shown = || -> Retention { api.send(api.admin_request("GET", PATH)).expect(200).json() };
    let defaults = Retention { raw_days: Some(30), five_minute_days: Some(365), hour_days: None };
    assert_eq!(shown(), defaults);
    let put = |retention: &str| {
        let token = api.mint().scoped(Scope::Admin);
        api.send(Request::put(PATH, retention).with_token(&token))
    };
    let body = |raw: u32| format!(r#"{{"raw_days":{raw},"five_minute_days":null,"hour_days":1}}"#);
    for bad in [0, RETENTION_DAYS_MAX + 1] {
        assert_eq!(put(&body(bad)).refusal(), (400, ErrorCode::InvalidParameter), "{bad}");
    }
    for bad in ["{}", "[]", r#"{"raw_days":1,"five_minute_days":null}"#] {
        assert_eq!(put(bad).refusal(), (400, ErrorCode::MalformedBody), "{bad}");
    }
    assert_eq!(shown(), defaults);
    put(&body(RETENTION_DAYS_MAX)).expect(200);
    put(&body(1)).expect(200);
    let set = Retention { raw_days: Some(1), five_minute_days: None, hour_days: Some(1) };
    assert_eq!(shown(), set);
    for scope in [Scope::Read, Scope::Push] {
        let token = api.mint().scoped(scope);
        let answer = api.send(Request::get(PATH).with_token(&token));
        assert_eq!(answer.refusal(), (403, ErrorCode::ForbiddenScope), "{scope:?}");
    }
    server.stop();
    server.resume();
    let api = server.client();
    let kept: Retention = api.send(api.admin_request("GET", PATH)).expect(200).json();
    assert_eq!(kept, set);
}
