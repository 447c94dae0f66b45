//! The route table: method, path, who may, how large a body, which endpoint.

use crate::api_error::ApiError;
use edgewatch_shared::{ErrorCode, limits::BODY_BYTES_MAX, token::Scope};
use worker::{Method, Url};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// A static token with this scope.
    Scope(Scope),
    /// A host with its own token, or a static token with scope `push`.
    Push,
}

/// What a route leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Push samples as JSON.
    Ingest,
    /// Push samples as our own agent does.
    Push,
    /// Query samples of a host in buckets.
    Query,
    /// Samples as they are stored, as a stream.
    Export,
    /// Store samples that were exported.
    Import,
    /// Series of a host.
    Series,
    /// Names of hosts.
    HostNames,
    /// Hosts with facts, status and newest values.
    Hosts,
    /// Which processes of a host use the most.
    Processes,
    /// Forget a host.
    DeleteHost,
    /// Refuse a host's pushes.
    RevokeHost,
    /// Send a host's pushes to another shard.
    MoveHost,
    /// Spread a host's series over shards.
    SplitHost,
    /// Enrol a host.
    Enroll,
    /// Is the Worker there?
    Health,
    /// Does everything it needs answer?
    Ready,
    /// Self-metrics.
    SelfMetrics,
    /// What was used today, next to the plan's quotas.
    Usage,
    /// Tell the catalogue everything again.
    Rebuild,
    /// How long samples are kept.
    Retention,
    /// Set how long samples are kept.
    SetRetention,
    /// The script that installs an agent.
    Install,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Stable number under which its requests are counted; never given to another route.
    pub id: u8,
    /// Method.
    pub method: &'static str,
    /// Path; `{…}` stands for one segment.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    /// Bytes of a body as sent; 0: no body is read.
    pub body_bytes_max: usize,
    /// Where it leads.
    pub endpoint: Endpoint,
}

/// Bytes of an administrative body.
const SMALL_BODY_BYTES_MAX: usize = 16 << 10;

/// Every route.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    Route { id: 1, method: "POST", path: "/api/v1/metrics", access: Access::Push, body_bytes_max: BODY_BYTES_MAX, endpoint: Endpoint::Ingest },
    Route { id: 2, method: "GET", path: "/api/v1/metrics/query", access: Access::Scope(Scope::Read), body_bytes_max: 0, endpoint: Endpoint::Query },
    Route { id: 3, method: "GET", path: "/api/v1/metrics/hosts", access: Access::Scope(Scope::Read), body_bytes_max: 0, endpoint: Endpoint::HostNames },
    Route { id: 4, method: "GET", path: "/api/v1/hosts", access: Access::Scope(Scope::Read), body_bytes_max: 0, endpoint: Endpoint::Hosts },
    Route { id: 5, method: "DELETE", path: "/api/v1/hosts/{host}", access: Access::Scope(Scope::Admin), body_bytes_max: 0, endpoint: Endpoint::DeleteHost },
    Route { id: 6, method: "POST", path: "/api/v1/hosts/{host}/revoke", access: Access::Scope(Scope::Admin), body_bytes_max: 0, endpoint: Endpoint::RevokeHost },
    Route { id: 7, method: "POST", path: "/api/v1/enroll", access: Access::Scope(Scope::Enroll), body_bytes_max: SMALL_BODY_BYTES_MAX, endpoint: Endpoint::Enroll },
    Route { id: 8, method: "GET", path: "/healthz", access: Access::Public, body_bytes_max: 0, endpoint: Endpoint::Health },
    Route { id: 9, method: "GET", path: "/readyz", access: Access::Public, body_bytes_max: 0, endpoint: Endpoint::Ready },
    Route { id: 10, method: "GET", path: "/metrics", access: Access::Public, body_bytes_max: 0, endpoint: Endpoint::SelfMetrics },
    Route { id: 11, method: "POST", path: "/api/v1/push", access: Access::Push, body_bytes_max: BODY_BYTES_MAX, endpoint: Endpoint::Push },
    Route { id: 12, method: "GET", path: "/api/v1/usage", access: Access::Scope(Scope::Read), body_bytes_max: 0, endpoint: Endpoint::Usage },
    Route { id: 15, method: "POST", path: "/api/v1/catalogue/rebuild", access: Access::Scope(Scope::Admin), body_bytes_max: 0, endpoint: Endpoint::Rebuild },
    Route { id: 13, method: "GET", path: "/api/v1/settings/retention", access: Access::Scope(Scope::Admin), body_bytes_max: 0, endpoint: Endpoint::Retention },
    Route { id: 14, method: "PUT", path: "/api/v1/settings/retention", access: Access::Scope(Scope::Admin), body_bytes_max: SMALL_BODY_BYTES_MAX, endpoint: Endpoint::SetRetention },
    Route { id: 20, method: "GET", path: "/api/v1/export", access: Access::Scope(Scope::Read), body_bytes_max: 0, endpoint: Endpoint::Export },
    Route { id: 21, method: "POST", path: "/api/v1/import", access: Access::Scope(Scope::Push), body_bytes_max: BODY_BYTES_MAX, endpoint: Endpoint::Import },
    Route { id: 22, method: "POST", path: "/api/v1/hosts/{host}/move", access: Access::Scope(Scope::Admin), body_bytes_max: SMALL_BODY_BYTES_MAX, endpoint: Endpoint::MoveHost },
    Route { id: 23, method: "POST", path: "/api/v1/hosts/{host}/split", access: Access::Scope(Scope::Admin), body_bytes_max: SMALL_BODY_BYTES_MAX, endpoint: Endpoint::SplitHost },
    Route { id: 26, method: "GET", path: "/api/v1/hosts/{host}/processes", access: Access::Scope(Scope::Read), body_bytes_max: 0, endpoint: Endpoint::Processes },
    Route { id: 24, method: "GET", path: "/api/v1/metrics/series", access: Access::Scope(Scope::Read), body_bytes_max: 0, endpoint: Endpoint::Series },
    Route { id: 25, method: "GET", path: "/install.sh", access: Access::Public, body_bytes_max: 0, endpoint: Endpoint::Install },
];

impl Route {
    /// Number under which requests to no route are counted.
    pub const UNMATCHED_ID: u8 = 0;

    /// Whether it takes telemetry, so that its refusals are counted by reason.
    pub fn is_push(&self) -> bool {
        self.access == Access::Push || self.endpoint == Endpoint::Import
    }
}

/// How a route is called in self-metrics.
pub fn label(id: u8) -> &'static str {
    ROUTES.iter().find(|route| route.id == id).map_or("unmatched", |route| route.path)
}

/// The method of a route, for self-metrics.
pub fn method(id: u8) -> &'static str {
    ROUTES.iter().find(|route| route.id == id).map_or("", |route| route.method)
}

/// A request that has a route.
pub struct Matched {
    /// The route.
    pub route: &'static Route,
    /// The request's URL.
    pub url: Url,
    /// What stands for `{…}` in the path.
    pub segment: Option<String>,
}

/// Finds the route of a request; `HEAD` is served as `GET`.
pub fn find(method: &Method, url: Url) -> Result<Matched, ApiError> {
    let method = if *method == Method::Head { Method::Get } else { method.clone() };
    let on_path: Vec<_> =
        ROUTES.iter().filter_map(|route| Some((route, segment(route.path, url.path())?))).collect();
    if let Some((route, segment)) = on_path.iter().find(|(route, _)| route.method == method.as_ref()) {
        return Ok(Matched { route, segment: segment.clone(), url });
    }
    if on_path.is_empty() {
        return Err(ApiError::new(ErrorCode::NotFound, "no such path; docs/api.md lists them all"));
    }
    let methods: Vec<_> = on_path.iter().map(|(route, _)| route.method).collect();
    Err(ApiError::method_not_allowed(&methods))
}

/// `Some` if the path fits the pattern, with what stands for its `{…}`.
fn segment(pattern: &str, path: &str) -> Option<Option<String>> {
    let mut found = None;
    let mut parts = path.split('/');
    for expected in pattern.split('/') {
        let part = parts.next()?;
        if expected.starts_with('{') && !part.is_empty() {
            found = Some(percent_decoded(part)?);
        } else if expected != part {
            return None;
        }
    }
    parts.next().is_none().then_some(found)
}

/// A path segment without its percent signs; `None` if what they hide is not UTF-8.
fn percent_decoded(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Result<(Endpoint, Option<String>), ErrorCode> {
        let url = Url::parse(&format!("https://edge.test{path}")).unwrap();
        find(&method, url)
            .map(|matched| (matched.route.endpoint, matched.segment))
            .map_err(|error| error.code())
    }

    #[test]
    fn routes_are_found_by_method_and_path() {
        assert_eq!(found(Method::Post, "/api/v1/metrics"), Ok((Endpoint::Ingest, None)));
        assert_eq!(found(Method::Get, "/api/v1/metrics/query?host=a"), Ok((Endpoint::Query, None)));
        assert_eq!(found(Method::Head, "/healthz"), Ok((Endpoint::Health, None)));
        let host = Some("a b/c".to_owned());
        assert_eq!(
            found(Method::Delete, "/api/v1/hosts/a%20b%2Fc"),
            Ok((Endpoint::DeleteHost, host.clone()))
        );
        assert_eq!(found(Method::Post, "/api/v1/hosts/a%20b%2Fc/revoke"), Ok((Endpoint::RevokeHost, host)));
    }

    #[test]
    fn a_domain_of_any_script_is_an_address() {
        for host in
            ["xn--bcher-kva.example", "xn--p1b6ci4b4b3a.xn--11b5bs8d", "edge.workers.dev", "[::1]:8787"]
        {
            let url = Url::parse(&format!("https://{host}/healthz?a=%C3%BC"));
            assert_eq!(url.map(|url| url.path().to_owned()).as_deref(), Ok("/healthz"), "{host}");
        }
    }

    #[test]
    fn what_has_no_route_is_told_so() {
        assert_eq!(found(Method::Get, "/"), Err(ErrorCode::NotFound));
        assert_eq!(found(Method::Get, "/api/v1/hosts/a/b"), Err(ErrorCode::NotFound));
        assert_eq!(found(Method::Delete, "/api/v1/hosts/%ff"), Err(ErrorCode::NotFound));
        assert_eq!(found(Method::Delete, "/api/v1/hosts/%4"), Err(ErrorCode::NotFound));
        assert_eq!(found(Method::Get, "/api/v1/metrics"), Err(ErrorCode::MethodNotAllowed));
    }

    #[test]
    fn numbers_and_places_of_routes_are_unique() {
        for (at, route) in ROUTES.iter().enumerate() {
            for other in ROUTES.iter().skip(at + 1) {
                assert_ne!(route.id, other.id);
                assert_ne!((route.method, route.path), (other.method, other.path));
            }
            assert_ne!(route.id, Route::UNMATCHED_ID);
        }
    }
}
