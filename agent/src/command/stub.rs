//! `check --stub`: one collection, frozen and pushed by the agent's own code to a server built in, which shows what came.
//!
//! The server is on a free port of 127.0.0.1 for as long as the command runs. It knows just enough HTTP to answer us.

use super::{CommandError, check, os, server_and_identity};
use crate::{
    batch::{BatchError, Told, compressed},
    clock::Clock,
    facts, os_clock,
    pending::Pending,
    push::{
        client::Client,
        identity::Identity,
        sender::PATH,
        transport::Transport,
        verdict::{Verdict, judge},
    },
    server_url::ServerUrl,
    settings::{Settings, SettingsError},
};
use edgewatch_shared::{
    Series,
    limits::{BATCH_SAMPLES_MAX, PUSH_INTERVAL_MS},
    wire::{
        PushReply,
        push::{self, MEDIA_TYPE, MetricsSection, PushFrame, StreamId, decode_columns},
    },
};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    thread,
};

/// Bytes of a request that are read. Reason: it is our own, of one batch at the most.
const REQUEST_BYTES_MAX: u64 = 4 << 20;

/// A request as it came over the wire.
struct Received {
    head: String,
    body: Vec<u8>,
}

/// Collects once, pushes it twice, with its list of series and as it is from then on, and prints what arrived.
pub fn stub(settings: &Settings) -> Result<ExitCode, CommandError> {
    let identity = match server_and_identity(settings) {
        // The way is not gone, but `run` would refuse one that cannot be.
        Ok((url, identity)) => super::client(settings, url).map(|_| identity)?,
        // Whoever only tries a configuration need not be anybody yet.
        Err(CommandError::Settings(SettingsError::NoUrl | SettingsError::NoIdentity(_))) => {
            Identity::PushToken { token: "stub".to_owned(), name: settings.host_name(facts::own_name)? }
        }
        Err(error) => return Err(error),
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(os("cannot listen on 127.0.0.1"))?;
    let port = listener.local_addr().map_err(os("cannot listen on 127.0.0.1"))?.port();
    let url = ServerUrl::parse(&format!("http://127.0.0.1:{port}"), false)
        .map_err(|error| os("cannot speak to 127.0.0.1")(io::Error::other(error.to_string())))?;
    let client = Client::new(url, &Transport::direct());
    check::say(&format!("the stub listens on {}", client.url()));
    let readings = check::collect(settings);
    let clock = Clock::new(os_clock::running_ms, os_clock::wall());
    let mut pending = Pending::new(StreamId(1));
    pending.add(readings, clock.now(), clock.offset_ms());
    let mut series = Vec::new();
    let mut is_well = true;
    if let Some((batch, list)) = pending.freeze(identity.host_in_body(), clock.offset_ms()) {
        for is_first in [true, false] {
            let told = Told {
                floor: batch.readings.first,
                host: identity.host_in_body(),
                facts: is_first.then(facts::gather),
                list: is_first.then_some(list.as_ref()),
                is_bare: false,
            };
            let no_push = |error: BatchError| os("cannot make a push")(io::Error::other(error));
            let push = batch.uncompressed(told).map_err(no_push)?;
            let body = compressed(&push).map_err(no_push)?;
            let bearer = identity.bearer(clock.now().seconds());
            let (received, is_taken) = pushed(&listener, &client, &bearer, &body)?;
            is_well &= is_taken;
            is_well &= received.body == body;
            // What arrived is what was sent: so it need not be decompressed, which takes 95 kB of program.
            check::say(&described(&received, &push, &mut series));
        }
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Pushes once; returns what arrived, and whether the client believed the acknowledgement.
fn pushed(
    listener: &TcpListener,
    client: &Client,
    bearer: &str,
    body: &[u8],
) -> Result<(Received, bool), CommandError> {
    let (received, answer) = thread::scope(|scope| {
        let serving = scope.spawn(|| listener.accept().and_then(|(stream, _)| serve(stream)));
        let answer = client.post(PATH, bearer, MEDIA_TYPE, body);
        let received = serving.join().unwrap_or_else(|_| Err(io::Error::other("the stub ended")));
        (received, answer)
    });
    let answer = answer.map_err(|error| CommandError::NoAnswer { url: client.url().to_string(), error })?;
    let is_delivered = matches!(judge(&answer).verdict, Verdict::Delivered(_));
    Ok((received.map_err(os("the stub received no push"))?, is_delivered))
}

/// Reads a request and acknowledges it.
fn serve(mut stream: TcpStream) -> io::Result<Received> {
    let received = read(BufReader::new(stream.try_clone()?.take(REQUEST_BYTES_MAX)))?;
    let reply = PushReply {
        ingested: 1,
        duplicate: 0,
        refused: 0,
        next_push_ms: PUSH_INTERVAL_MS.unsigned_abs(),
        server_ms: os_clock::wall(),
    };
    let body = serde_json::to_string(&reply)?;
    let head =
        format!("HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    Ok(received)
}

fn read(mut stream: impl BufRead) -> io::Result<Received> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap_or(0))
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body)?;
    Ok(Received { head, body })
}

/// What a server sees of a push, of which `push` is the body before it was compressed. `series` remembers the last list, as a server does.
fn described(received: &Received, push: &[u8], series: &mut Vec<Series>) -> String {
    let Received { head, body } = received;
    let mut text =
        format!("\n{} bytes: {} of head, {} of body\n\n", head.len() + body.len(), head.len(), body.len());
    for line in head.lines().filter(|line| !line.is_empty()) {
        text.push_str(&format!("  {}\n", masked(line)));
    }
    text.push('\n');
    match push::decode(push) {
        Ok(frame) => text.push_str(&told(frame, series)),
        Err(why) => text.push_str(&format!("which no server can read: {why}\n")),
    }
    text
}

/// A header line without its secret.
fn masked(line: &str) -> String {
    match line.split_once("Bearer ") {
        Some((name, token)) => format!("{name}Bearer … ({} characters, masked)", token.len()),
        None => line.to_owned(),
    }
}

fn told(frame: PushFrame, series: &mut Vec<Series>) -> String {
    let PushFrame { readings, host, facts, metrics, .. } = frame;
    let mut text = format!("readings {} to {}\n", readings.first, readings.last);
    text.push_str(&host.map_or_else(String::new, |host| format!("host {host}\n")));
    if let Some(facts) = facts {
        text.push_str(&format!("{facts:?}\n"));
    }
    let Some(MetricsSection { series: list, columns, .. }) = metrics else { return text };
    let brings_list = list.is_some();
    *series = list.unwrap_or_else(|| std::mem::take(series));
    let columns = match decode_columns(&columns, series.len(), BATCH_SAMPLES_MAX) {
        Ok(columns) => columns,
        Err(error) => return format!("{text}columns that no server can read: {error}\n"),
    };
    let samples = columns.iter().map(Vec::len).sum::<usize>();
    let list = if brings_list { "with their list" } else { "by the list that was sent before" };
    text.push_str(&format!("{} series {list}, {samples} samples\n", series.len()));
    if brings_list {
        for (series, column) in series.iter().zip(&columns) {
            let labels: Vec<String> =
                series.labels.iter().map(|(key, text)| format!("{key}={text}")).collect();
            let values: Vec<String> = column.iter().map(|sample| sample.value.to_string()).collect();
            text.push_str(&format!("  {}{{{}}} {}\n", series.name, labels.join(","), values.join(" ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        assert_eq!(masked("authorization: Bearer a.b.c"), "authorization: Bearer … (5 characters, masked)");
        assert_eq!(masked("content-length: 7"), "content-length: 7");
    }

    #[test]
    fn what_no_server_could_read_is_said() {
        let received = Received { head: "POST / HTTP/1.1\r\n\r\n".to_owned(), body: b"nonsense".to_vec() };
        let text = described(&received, b"nonsense", &mut Vec::new());
        assert!(text.contains("27 bytes: 19 of head, 8 of body"), "{text}");
        assert!(text.contains("which no server can read"), "{text}");
    }

    #[test]
    fn a_request_is_read_to_its_length_and_one_that_ends_early_is_none() {
        let received = read("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabc".as_bytes()).unwrap();
        assert_eq!(received.body, b"ab");
        for early in ["", "POST / HTTP/1.1\r\n", "POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\nabc"] {
            assert!(read(early.as_bytes()).is_err(), "{early:?}");
        }
    }
}
