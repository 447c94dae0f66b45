//! Where the server is.

use std::{fmt, net::IpAddr};
use ureq::http::Uri;

/// The base URL of a server, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    base: String,
    host: String,
    is_https: bool,
    is_loopback: bool,
}

/// Why a text is not a server's URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No URL at all, or one of something else.
    #[error("{0:?} is not a URL such as https://edgewatch.example.workers.dev")]
    Malformed(String),
    /// A URL with more than scheme, host, port and path.
    #[error("a server's URL has no user name, password, query or fragment")]
    Overloaded,
    /// Plain HTTP to another machine.
    #[error(
        "http:// to {0} would show tokens and metrics to everybody on the way; use https://, or say --allow-plain-http (EDGEWATCH_ALLOW_PLAIN_HTTP=true) if the network is yours"
    )]
    PlainHttp(String),
}

impl ServerUrl {
    /// Reads a URL. Plain HTTP is accepted to this machine itself, and elsewhere only if `allow_plain_http`.
    pub fn parse(text: &str, allow_plain_http: bool) -> Result<Self, UrlError> {
        let malformed = || UrlError::Malformed(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| malformed())?;
        let authority = uri.authority().ok_or_else(malformed)?;
        // The fragment is no part of what Uri keeps.
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(UrlError::Overloaded);
        }
        let host = authority.host();
        if host.is_empty() {
            return Err(malformed());
        }
        let is_loopback = is_loopback(host);
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if is_loopback || allow_plain_http => false,
            Some("http") => return Err(UrlError::PlainHttp(host.to_owned())),
            _ => return Err(malformed()),
        };
        let base = text.trim_end_matches('/').to_owned();
        Ok(Self { base, host: host.to_owned(), is_https, is_loopback })
    }

    /// The URL of a path, which starts with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The host in it; an IPv6 address has its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is spoken to under TLS.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Whether it is this machine itself.
    pub fn is_loopback(&self) -> bool {
        self.is_loopback
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_taken_with_port_and_path_and_loses_its_last_slash() {
        let url = ServerUrl::parse("https://watch.example:8443/s/1/", false).unwrap();
        assert_eq!(url.join("/api/v1/push"), "https://watch.example:8443/s/1/api/v1/push");
        assert!(!url.is_loopback() && url.is_https());
        assert_eq!(url.host(), "watch.example");
    }

    #[test]
    fn plain_http_is_for_this_machine_unless_allowed() {
        for own in ["http://localhost:8787", "http://127.0.0.9:1", "http://[::1]:1"] {
            assert!(ServerUrl::parse(own, false).is_ok_and(|url| url.is_loopback()), "{own}");
        }
        for other in ["http://10.0.0.1", "http://watch.example", "http://localhost.example"] {
            let error = ServerUrl::parse(other, false).unwrap_err();
            assert!(error.to_string().contains("--allow-plain-http"), "{other}");
            assert!(ServerUrl::parse(other, true).is_ok(), "{other}");
        }
    }

    #[test]
    fn what_is_no_servers_url_is_refused() {
        for bad in ["", "watch.example", "ftp://watch.example", "/metrics", "https://", "https:///x"] {
            assert!(matches!(ServerUrl::parse(bad, true), Err(UrlError::Malformed(_))), "{bad}");
        }
        for bad in
            ["https://me:key@watch.example", "https://watch.example?token=1", "https://watch.example/#a"]
        {
            assert_eq!(ServerUrl::parse(bad, true), Err(UrlError::Overloaded), "{bad}");
        }
    }
}
