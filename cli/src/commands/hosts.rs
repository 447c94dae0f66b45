//! `edgewatch hosts`: list, revoke, delete, move, split.

use crate::api::Api;
use anyhow::{Context, Result, bail};
use edgewatch_shared::wire::{HostEntry, HostStatus, HostsReply, MoveBody, SplitBody};
use lexopt::{Arg::Value, Parser, ValueExt};

/// Runs the subcommand.
pub fn run(mut arguments: Parser) -> Result<()> {
    let mut words = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(word) => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => list(),
        ["revoke", host] => {
            Api::from_environment()?.post(&format!("/api/v1/hosts/{}/revoke", segment(host)))?;
            println!("{host}: its key is refused from now on");
            Ok(())
        }
        ["delete", host] => {
            Api::from_environment()?.delete(&format!("/api/v1/hosts/{}", segment(host)))?;
            println!("{host}: forgotten; its samples go with their retention");
            Ok(())
        }
        ["move", host, shard] => {
            let body = MoveBody { shard: number(shard)? };
            Api::from_environment()?.post_json(&format!("/api/v1/hosts/{}/move", segment(host)), &body)?;
            println!("{host}: its pushes go to shard {shard} from now on");
            Ok(())
        }
        ["split", host, shards @ ..] => {
            let body = SplitBody { shards: shards.iter().map(|shard| number(shard)).collect::<Result<_>>()? };
            Api::from_environment()?.post_json(&format!("/api/v1/hosts/{}/split", segment(host)), &body)?;
            println!("{host}: its series are spread over shards {} from now on", shards.join(", "));
            Ok(())
        }
        _ => bail!("edgewatch hosts [revoke HOST | delete HOST | move HOST SHARD | split HOST SHARD SHARD…]"),
    }
}

fn number(text: &str) -> Result<u16> {
    text.parse().with_context(|| format!("{text:?} is no number of a shard"))
}

fn list() -> Result<()> {
    let reply: HostsReply = Api::from_environment()?.get("/api/v1/hosts", &[])?;
    for warning in &reply.warnings {
        eprintln!("warning: {warning}");
    }
    let width = reply.hosts.iter().map(|host| host.name.chars().count()).max().unwrap_or(4).max(4);
    println!("{:width$}  STATUS   LAST SEEN                 NEWEST", "NAME");
    for host in &reply.hosts {
        println!("{:width$}  {:7}  {:24}  {}", host.name, status(host), last_seen(host), newest(host));
    }
    Ok(())
}

fn status(host: &HostEntry) -> &'static str {
    match host.status {
        _ if host.revoked => "revoked",
        HostStatus::Ok => "ok",
        HostStatus::Stale => "stale",
        HostStatus::Down => "down",
    }
}

fn last_seen(host: &HostEntry) -> &str {
    host.last_seen.as_deref().unwrap_or("never")
}

fn newest(host: &HostEntry) -> String {
    let values = host.newest.iter().map(|(name, value)| format!("{name}={value}"));
    values.collect::<Vec<_>>().join(" ")
}

/// A path segment with everything but unreserved characters as percent signs (RFC 3986, section 2.3).
fn segment(text: &str) -> String {
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_one_segment() {
        assert_eq!(segment("web-01.example"), "web-01.example");
        assert_eq!(segment("a b/ü"), "a%20b%2F%C3%BC");
    }
}
