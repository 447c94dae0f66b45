//! Bytes of a push on the wire: what the agent's own client writes to the socket, head and body, counted by whoever
//! listens. Beside it remote_write 1.0 with the very same samples. TLS adds the same to both.

use crate::{
    feed::{Feed, READINGS, Sender},
    figure::{Figure, median},
    fleet::client,
    peers::remote_write,
};
use anyhow::{Context, Result, anyhow, ensure};
use edgewatch_agent::{
    batch::{Batch, SeriesList, Told},
    push::{client::Client, identity::Identity, transport::Transport},
    server_url::ServerUrl,
};
use edgewatch_shared::{
    HostId, Sample, Series, TimestampMs,
    keys::{Keyring, Purpose},
    series::SeriesSamples,
    wire::push::{MEDIA_TYPE, ReadingRange, StreamId},
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

/// A minute of an agent that watches a small machine.
const SERIES: usize = 70;
/// Pushes of each; the first one, which has the series list, is a figure of its own.
const PUSHES: u64 = 60;
/// A time in seconds of ten digits, as they are now.
const START: TimestampMs = TimestampMs(1_795_000_000_000);
/// Some random number.
const STREAM: StreamId = StreamId(0x9e37_79b9_7f4a_7c15);
const REMOTE_WRITE: &str = "remote_write 1.0";

/// Medians over the recording's pushes.
pub fn measure() -> Result<Vec<Figure>> {
    let feed = Feed::of_agent(SERIES)?;
    let sender = Sender { host: 0, start: START };
    let ours = ours(&feed, sender)?;
    let theirs = theirs(&feed, sender)?;
    let (first, later) = ours.split_first().context("no push was counted")?;
    let per_sample = |bytes: f64| bytes / feed.samples_per_push() as f64;
    let (ours, theirs) = (median(later.to_vec()), median(theirs));
    Ok(vec![
        Figure::new("wire_bytes_per_push", ours, "B").beside(REMOTE_WRITE, theirs),
        Figure::new("wire_bytes_per_push_max", later.iter().copied().fold(0.0, f64::max), "B"),
        Figure::new("wire_bytes_per_push_with_series_list", *first, "B"),
        Figure::new("wire_bytes_per_sample", per_sample(ours), "B").beside(REMOTE_WRITE, per_sample(theirs)),
    ])
}

/// Bytes of every push of an enrolled host, by the agent's client and token.
fn ours(feed: &Feed, sender: Sender) -> Result<Vec<f64>> {
    let keyring = Keyring::new(&[7; 32], None)?;
    let id = HostId::new(0, [9; 14]);
    let identity = Identity::Enrolled { id, key: keyring.signing(Purpose::Host(id)), name: "web-01".into() };
    counted(PUSHES, |url| {
        let url = ServerUrl::parse(url, false).map_err(|error| anyhow!("{error}"))?;
        let client = Client::new(url, &Transport::direct());
        for number in 0..PUSHES {
            let bearer = identity.bearer(Feed::time(sender, number).seconds());
            let (batch, list) = batch(feed.samples(sender, number), number);
            let list = (number == 0).then_some(&list);
            let body = batch.body(Told { floor: batch.readings.first, list, ..Told::default() })?;
            let answer = client.post("/api/v1/push", &bearer, MEDIA_TYPE, &body);
            let answer = answer.map_err(|error| anyhow!("{error}"))?;
            ensure!(answer.status == 202, "the listener answered {}", answer.status);
        }
        Ok(())
    })
}

/// The agent's batch of some readings, and the list of their series.
fn batch(mut samples: Vec<SeriesSamples>, number: u64) -> (Batch, SeriesList) {
    samples.sort_by(|a, b| a.series.cmp(&b.series));
    let (series, columns): (Vec<Series>, Vec<Vec<Sample>>) =
        samples.into_iter().map(|entry| (entry.series, entry.samples)).unzip();
    let list = SeriesList::of(&series);
    let first = number * READINGS + 1;
    let readings = ReadingRange { first, last: first + READINGS - 1 };
    (Batch::freeze(STREAM, readings, None, list.id, &columns, 0), list)
}

/// Bytes of the same pushes as Prometheus sends them, with a bearer token of 43 characters (32 bytes).
fn theirs(feed: &Feed, sender: Sender) -> Result<Vec<f64>> {
    counted(PUSHES, |url| {
        let client = client();
        for number in 0..PUSHES {
            let body = remote_write::body(
                &remote_write::as_scraped(&feed.samples(sender, number)),
                ("instance", "web-01"),
            )?;
            let mut request = client
                .post(format!("{url}{}", remote_write::PATH))
                .header("Authorization", format!("Bearer {}", "x".repeat(43)));
            for (name, value) in remote_write::HEADERS {
                request = request.header(name, value);
            }
            let mut reply = request.send(&body)?;
            ensure!(reply.status() == 202, "the listener answered {}", reply.status());
            // A connection whose answer is not read is not used again.
            reply.body_mut().read_to_string()?;
        }
        Ok(())
    })
}

/// Bytes of each of `requests` requests that `send` makes over one connection to the URL it is given.
fn counted(requests: u64, send: impl FnOnce(&str) -> Result<()>) -> Result<Vec<f64>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let listening = thread::spawn(move || {
        let (mut connection, _) = listener.accept()?;
        (0..requests).map(|_| request_bytes(&mut connection)).collect::<Result<Vec<_>>>()
    });
    send(&url)?;
    listening.join().map_err(|_| anyhow!("the listener panicked"))?
}

/// Reads one request, answers 202, and says how long it was.
fn request_bytes(connection: &mut TcpStream) -> Result<f64> {
    let mut request = Vec::new();
    let mut part = [0; 4_096];
    loop {
        let read = connection.read(&mut part)?;
        ensure!(read > 0, "the request ends too early");
        request.extend_from_slice(&part[..read]);
        if request_length(&request)?.is_some_and(|length| request.len() >= length) {
            break;
        }
    }
    let reply =
        r#"{"ingested":420,"duplicate":0,"refused":0,"next_push_ms":60000,"server_ms":1795000000000}"#;
    write!(
        connection,
        "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{reply}",
        reply.len()
    )?;
    Ok(request.len() as f64)
}

/// Bytes of head and body, once the head is whole.
fn request_length(request: &[u8]) -> Result<Option<usize>> {
    let Some(head) = request.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("a request without its length")?.trim().parse()?;
    Ok(Some(head + 4 + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_long_as_its_head_and_its_body() {
        let head = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        for (request, expected) in [(&head[..20], None), (head, Some(head.len() + 3))] {
            assert_eq!(request_length(request.as_bytes()).unwrap(), expected, "{request}");
        }
    }

    #[test]
    fn every_byte_of_a_request_counts() {
        let counted = counted(2, |url| {
            let client = client();
            for body in ["12345", "12345678"] {
                client.post(url).send(body)?.body_mut().read_to_string()?;
            }
            Ok(())
        });
        let [first, second] = counted.unwrap()[..] else { panic!("two requests") };
        assert_eq!(second - first, 3.0);
    }
}
