//! `edgewatch export`: samples as lines of JSON, compressed with zstd, host by host and day by day.

use crate::api::Api;
use anyhow::{Context, Result, bail};
use edgewatch_shared::{
    TimestampMs,
    limits::DAY_MS,
    wire::{HostEntry, HostsReply},
};
use lexopt::{
    Arg::{Long, Value},
    Parser, ValueExt,
};
use std::{
    fs::File,
    io::{Write, stdout},
};

#[derive(Debug, Default)]
struct Wish {
    file: Option<String>,
    host: Option<String>,
    from: Option<TimestampMs>,
    to: Option<TimestampMs>,
    /// Parameters that are handed on as they are.
    selector: Vec<(String, String)>,
}

/// Writes to a file, or to the standard output.
pub fn run(arguments: Parser) -> Result<()> {
    let wish = read(arguments)?;
    let (from, to) = wish.from.zip(wish.to).context("say which time: --from TIME --to TIME")?;
    let api = Api::from_environment()?;
    let mut out: Box<dyn Write> = match &wish.file {
        Some(file) => Box::new(File::create(file).with_context(|| format!("creating {file}"))?),
        None => Box::new(stdout().lock()),
    };
    for host in wanted(api.get("/api/v1/hosts", &[])?, wish.host.as_deref())? {
        for (from, to) in days(from, to) {
            let time = [("from", from), ("to", to)].map(|(key, time)| (key.to_owned(), time.0.to_string()));
            let parameters =
                [&[("host".to_owned(), host.id.to_string())], &time[..], &wish.selector].concat();
            let copied = api.copy("/api/v1/export", &parameters, &mut out);
            copied.with_context(|| format!("{}, {}", host.name, from.to_rfc3339()))?;
        }
    }
    out.flush().context("writing")
}

/// The hosts that are exported. A listing that may lack some is no base for a copy of all.
fn wanted(listing: HostsReply, host: Option<&str>) -> Result<Vec<HostEntry>> {
    let HostsReply { mut hosts, warnings } = listing;
    hosts.sort_by_key(|host| host.id);
    hosts.retain(|listed| host.is_none_or(|wanted| wanted == listed.name || wanted == listed.id.to_string()));
    if !warnings.is_empty() && (host.is_none() || hosts.is_empty()) {
        bail!("hosts may be missing, so nothing is exported: {}", warnings.join("; "));
    }
    if hosts.is_empty() {
        bail!("there is no such host");
    }
    Ok(hosts)
}

fn read(mut arguments: Parser) -> Result<Wish> {
    let mut wish = Wish::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(file) if wish.file.is_none() => wish.file = Some(file.string()?),
            Long("host") => wish.host = Some(arguments.value()?.string()?),
            Long("from") => wish.from = Some(time(&arguments.value()?.string()?).context("--from")?),
            Long("to") => wish.to = Some(time(&arguments.value()?.string()?).context("--to")?),
            Long("name") => wish.selector.push(("name".to_owned(), arguments.value()?.string()?)),
            Long("label") => {
                let label = arguments.value()?.string()?;
                let (key, value) = label.split_once('=').context("--label is KEY=VALUE")?;
                wish.selector.push((format!("label.{key}"), value.to_owned()));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(wish)
}

fn time(text: &str) -> Result<TimestampMs> {
    match text.parse() {
        Ok(ms) => Ok(TimestampMs(ms)),
        Err(_) => TimestampMs::parse_rfc3339(text).context("nor milliseconds since the epoch"),
    }
}

/// The days of UTC that the time from `from` to `to` touches, cut off at both ends.
fn days(from: TimestampMs, to: TimestampMs) -> Vec<(TimestampMs, TimestampMs)> {
    let mut days = Vec::new();
    let mut start = from;
    while start <= to {
        let next = TimestampMs((start.0.div_euclid(DAY_MS) + 1) * DAY_MS);
        days.push((start, to.min(next.plus_ms(-1))));
        start = next;
    }
    days
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_cut_off_at_both_ends() {
        let days: Vec<_> =
            days(TimestampMs(5), TimestampMs(2 * DAY_MS)).iter().map(|(a, b)| (a.0, b.0)).collect();
        assert_eq!(days, [(5, DAY_MS - 1), (DAY_MS, 2 * DAY_MS - 1), (2 * DAY_MS, 2 * DAY_MS)]);
    }

    #[test]
    fn a_listing_that_may_lack_hosts_is_not_exported_whole() {
        let listing = |warnings: &[&str]| {
            let host = r#"{"id":"0000a3c1-7e5d-8f00-9c1b-2f4e6a8b0c1d","name":"a","status":"ok","last_seen":null,
                "revoked":false,"facts":{},"tags":[],"newest":{}}"#;
            let hosts = vec![serde_json::from_str(host).unwrap()];
            HostsReply { hosts, warnings: warnings.iter().map(ToString::to_string).collect() }
        };
        let count = |warnings: &[&str], host| wanted(listing(warnings), host).map(|hosts| hosts.len()).ok();
        assert_eq!(
            (count(&[], None), count(&[], Some("a")), count(&[], Some("b"))),
            (Some(1), Some(1), None)
        );
        assert_eq!((count(&["!"], None), count(&["!"], Some("a"))), (None, Some(1)));
        let error = wanted(listing(&["shard 3 did not answer"]), Some("b")).unwrap_err();
        assert!(error.to_string().contains("shard 3"), "{error}");
    }

    #[test]
    fn options_become_a_wish() {
        let arguments =
            ["--from", "0", "out.zst", "--to", "1970-01-02T00:00:00Z", "--label", "core=0", "--host", "a"];
        let wish = read(Parser::from_args(arguments)).unwrap();
        assert_eq!((wish.file.as_deref(), wish.host.as_deref()), (Some("out.zst"), Some("a")));
        assert_eq!((wish.from, wish.to), (Some(TimestampMs(0)), Some(TimestampMs(DAY_MS))));
        assert_eq!(wish.selector, [("label.core".to_owned(), "0".to_owned())]);
        assert!(read(Parser::from_args(["a", "b"])).is_err());
        assert!(read(Parser::from_args(["--from", "yesterday"])).is_err());
    }
}
