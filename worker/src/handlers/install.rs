//! `GET /install.sh`: the script that installs, enrols and starts an agent, with this Worker's URL filled in.
//!
//! People run it as root, so nothing gets into it but characters that mean nothing to a shell: the request's host is
//! whatever a client says it is.

use super::Ask;
use crate::{api_error::ApiError, reply::Reply};
use edgewatch_shared::ErrorCode;
use worker::Url;

/// The script, with `@SERVER@`, `@RELEASES@` and `@KEY@` where they belong.
const SCRIPT: &str = include_str!("../../../agent/packaging/install.sh");
/// The public key that releases are signed with, in the second line.
const RELEASE_KEY: &str = include_str!("../../../agent/packaging/release.pub");
/// Where releases are, unless `RELEASES_URL` says otherwise: beside the sources.
const RELEASES_URL: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/releases/latest/download");
/// Characters of a public key in base64: 42 bytes.
const KEY_CHARS: usize = 56;
/// It changes with a deploy or a setting.
const CACHE_CONTROL: &str = "public, max-age=300";

/// The script as text.
pub fn script(ask: &Ask<'_>) -> Result<Reply, ApiError> {
    let server = own_url(&ask.matched.url).ok_or_else(|| {
        let message = "the request's host is no plain name or address";
        ApiError::new(ErrorCode::InvalidParameter, message)
    })?;
    let misconfigured = |name: &str| {
        ApiError::new(
            ErrorCode::Misconfigured,
            format!("{name} in wrangler.toml is not what docs/operating.md says"),
        )
    };
    let releases = ask.settings.releases_url.as_deref().unwrap_or(RELEASES_URL);
    let releases =
        Url::parse(releases).ok().and_then(|url| plain(&url)).ok_or_else(|| misconfigured("RELEASES_URL"))?;
    let built_in = RELEASE_KEY.lines().nth(1).unwrap_or_default();
    let key = ask.settings.release_key.as_deref().unwrap_or(built_in);
    if !is_key(key) {
        return Err(misconfigured("RELEASE_KEY"));
    }
    let script = SCRIPT.replace("@SERVER@", &server).replace("@RELEASES@", &releases).replace("@KEY@", key);
    Ok(Reply::new(200, "text/x-shellscript; charset=utf-8", script)
        .with_header("Cache-Control", CACHE_CONTROL))
}

/// This Worker's URL as the client knows it; `https`, but for a Worker on the client's own machine.
fn own_url(request: &Url) -> Option<String> {
    let mut own = request.clone();
    own.set_path("");
    own.set_query(None);
    own.set_fragment(None);
    if own.scheme() == "http" && !is_loopback(&own) {
        own.set_scheme("https").ok()?;
    }
    plain(&own)
}

/// A URL without a slash at its end, if it is made of nothing that a shell, or a reader, could take for something else.
fn plain(url: &Url) -> Option<String> {
    let is_web = url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
    let has_extras = !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some();
    let text = url.as_str().trim_end_matches('/');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
    (is_web && !has_extras && url.has_host() && text.bytes().all(is_plain)).then(|| text.to_owned())
}

fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// Whether it looks like one of minisign's public keys; whether it is one, verifying says.
fn is_key(text: &str) -> bool {
    text.len() == KEY_CHARS && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(url: &str) -> Option<String> {
        own_url(&Url::parse(url).unwrap())
    }

    #[test]
    fn the_workers_url_is_https_but_on_the_clients_own_machine() {
        for (url, expected) in [
            ("https://watch.example/install.sh?a=b", "https://watch.example"),
            ("http://watch.example/install.sh", "https://watch.example"),
            ("https://watch.example:8443/install.sh", "https://watch.example:8443"),
            ("http://127.0.0.1:8787/install.sh", "http://127.0.0.1:8787"),
            ("http://localhost/install.sh", "http://localhost"),
            ("http://[::1]:1/install.sh", "http://[::1]:1"),
            ("https://[2001:db8::1]/install.sh", "https://[2001:db8::1]"),
        ] {
            assert_eq!(own(url).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn what_a_shell_could_take_for_something_else_is_refused() {
        for host in
            ["a'b", "a;b", "$(id)", "`id`", "a&b", "a\"b", "{a,b}", "a!b", "a(b)", "a*b", "a,b", "a+b", "a=b"]
        {
            // Hosts that are none at all never get here.
            let Ok(url) = Url::parse(&format!("https://{host}.example/install.sh")) else { continue };
            assert_eq!(own_url(&url), None, "{host}");
        }
        assert_eq!(own("https://me@watch.example/install.sh"), None);
        assert_eq!(own("https://me:secret@watch.example/install.sh"), None);
    }

    #[test]
    fn releases_are_where_a_plain_url_says() {
        let read = |text: &str| Url::parse(text).ok().and_then(|url| plain(&url));
        assert_eq!(read(RELEASES_URL).as_deref(), Some(RELEASES_URL));
        assert_eq!(
            read("https://mirror.example/edgewatch/").as_deref(),
            Some("https://mirror.example/edgewatch")
        );
        for bad in [
            "http://mirror.example",
            "ftp://mirror.example",
            "https://m.example/a?b",
            "https://m.example/a'b",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_script_has_a_place_for_each_and_the_built_in_key_is_one() {
        for place in ["'@SERVER@'", "'@RELEASES@'", "'@KEY@'"] {
            assert_eq!(SCRIPT.matches(place).count(), 1, "{place}");
        }
        assert!(is_key(RELEASE_KEY.lines().nth(1).unwrap()));
        assert!(!is_key(""));
        assert!(!is_key(&"'".repeat(KEY_CHARS)));
    }
}
