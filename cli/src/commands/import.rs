//! `edgewatch import`: lines that an export wrote go to a Worker, a megabyte or so at a time.

use crate::api::{Api, Unavailable};
use anyhow::{Context, Result, bail};
use edgewatch_shared::{limits::BODY_BYTES_MAX, wire::export::ImportReply};
use lexopt::{Arg::Value, Parser, ValueExt};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read, stdin},
    thread,
    time::Duration,
};

/// Bytes of lines in one request: far below what a Worker decompresses, and about 100,000 samples.
const REQUEST_BYTES: usize = 2 << 20;
const ZSTD_LEVEL: i32 = 3;
/// How long a request is tried again: a quota that is used up is there again after midnight UTC.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Sends a file, or the standard input.
pub fn run(mut arguments: Parser) -> Result<()> {
    let mut file = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(name) if file.is_none() => file = Some(name.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let api = Api::from_environment()?;
    let input: Box<dyn Read> = match &file {
        Some(file) => Box::new(File::open(file).with_context(|| format!("opening {file}"))?),
        None => Box::new(stdin().lock()),
    };
    let mut total = ImportReply::default();
    for_each_request(input, &mut |body| {
        let reply = patiently(&mut || api.send("/api/v1/import", &body), &mut |error, wait| {
            eprintln!("{error}; going on in {} s", wait.as_secs());
            thread::sleep(wait);
        })?;
        total.imported += reply.imported;
        total.refused += reply.refused;
        Ok(())
    })?;
    println!("{} samples imported, {} refused for their age", total.imported, total.refused);
    Ok(())
}

/// Sends until it is taken: for as long as the Worker says when to try again, up to a day.
fn patiently(
    send: &mut dyn FnMut() -> Result<ImportReply>,
    wait: &mut dyn FnMut(&Unavailable, Duration),
) -> Result<ImportReply> {
    let mut waited = Duration::ZERO;
    loop {
        let error = match send() {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        let Some(unavailable) = error.downcast_ref::<Unavailable>().filter(|_| waited < WAIT_MAX) else {
            return Err(
                error.context("what was imported until here is there once, whenever it is sent again")
            );
        };
        let pause = unavailable.retry_after.max(Duration::from_secs(1));
        wait(unavailable, pause);
        waited += pause;
    }
}

/// Hands out compressed bodies of whole lines.
fn for_each_request(input: impl Read, send: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
    let mut lines = BufReader::new(zstd::Decoder::new(input).context("reading zstd")?);
    let mut open = Vec::new();
    loop {
        let before = open.len();
        let read = lines.read_until(b'\n', &mut open).context("reading lines")?;
        if open.len() > REQUEST_BYTES && before > 0 {
            let rest = open.split_off(before);
            send_lines(&open, send)?;
            open = rest;
        }
        if read == 0 {
            return if open.is_empty() { Ok(()) } else { send_lines(&open, send) };
        }
    }
}

/// Sends lines, in halves if they do not compress to what a request may have.
fn send_lines(lines: &[u8], send: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
    let body = zstd::bulk::compress(lines, ZSTD_LEVEL)?;
    if body.len() <= BODY_BYTES_MAX {
        return send(body);
    }
    let middle = lines.len() / 2;
    let ends = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    match ends.filter(|end| *end < lines.len()).min_by_key(|end| end.abs_diff(middle)) {
        Some(end) => {
            let (first, second) = lines.split_at(end);
            send_lines(first, send)?;
            send_lines(second, send)
        }
        None => bail!("a single line has more than {BODY_BYTES_MAX} bytes compressed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decompressed(body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        zstd::Decoder::new(body).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn requests(text: &[u8]) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let compressed = zstd::bulk::compress(text, 1).unwrap();
        // As an export writes it: several frames.
        let twice = [compressed.clone(), compressed].concat();
        for_each_request(&twice[..], &mut |body| {
            sent.push(decompressed(&body));
            Ok(())
        })
        .unwrap();
        sent
    }

    #[test]
    fn every_line_is_sent_once_whole_and_in_order() {
        let line = [vec![b'x'; 700_000], vec![b'\n']].concat();
        let text = line.repeat(4);
        let sent = requests(&text);
        assert_eq!(sent.len(), 4);
        assert_eq!(sent.concat(), text.repeat(2));
        assert!(sent.iter().all(|body| body.ends_with(b"\n") && body.len() <= REQUEST_BYTES));
        assert_eq!(requests(b""), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn what_the_worker_cannot_take_now_is_sent_again_when_it_says() {
        let unavailable =
            |seconds| Unavailable { message: "later".to_owned(), retry_after: Duration::from_secs(seconds) };
        let reply = ImportReply { imported: 7, refused: 0 };
        let mut answers = vec![Ok(reply), Err(unavailable(900).into()), Err(unavailable(0).into())];
        let mut waits = Vec::new();
        let sent = patiently(&mut || answers.pop().unwrap(), &mut |_, wait| waits.push(wait.as_secs()));
        assert_eq!((sent.unwrap(), waits), (reply, vec![1, 900]));

        let mut waits = Vec::new();
        let refused = patiently(&mut || bail!("no"), &mut |_, wait| waits.push(wait));
        assert!(refused.is_err() && waits.is_empty());
        let mut waited = Duration::ZERO;
        let given_up = patiently(&mut || Err(unavailable(900).into()), &mut |_, wait| waited += wait);
        assert!(given_up.is_err());
        assert_eq!(waited, WAIT_MAX);
    }

    #[test]
    fn what_does_not_compress_is_sent_in_halves() {
        let mut noise: u64 = 1;
        let mut random = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 33) as u8 | 0x10
        };
        let line: Vec<u8> = (0..400_000).map(|_| random()).chain([b'\n']).collect();
        let mut sizes = Vec::new();
        send_lines(&line.repeat(1), &mut |body| {
            sizes.push(body.len());
            Ok(())
        })
        .unwrap();
        assert_eq!(sizes.len(), 1);
        let lines: Vec<u8> =
            (0..4).flat_map(|_| (0..400_000).map(|_| random()).chain([b'\n']).collect::<Vec<_>>()).collect();
        let mut sent = Vec::new();
        send_lines(&lines, &mut |body| {
            assert!(body.len() <= BODY_BYTES_MAX);
            sent.extend(decompressed(&body));
            Ok(())
        })
        .unwrap();
        assert_eq!(sent, lines);
        let endless: Vec<u8> = (0..2_000_000).map(|_| random()).collect();
        assert!(send_lines(&endless, &mut |_| Ok(())).is_err());
    }
}
