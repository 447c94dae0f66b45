//! `check`: what this host would send, and whether the server is there. Whether it lets this host in, only a push can tell.

use super::{CommandError, client, server_and_identity};
use crate::{
    clock::{Clock, Exchange, corrected_offset_ms},
    collectors::{
        Collectors, ProcessTable, Reading, owners,
        top::{Greedy, Used, top},
    },
    counters::Counters,
    os_clock,
    push::{
        client::{Answer, Client, NoAnswer},
        verdict::refusal,
    },
    settings::Settings,
};
use edgewatch_shared::TimestampMs;
use serde::Deserialize;
use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

/// Milliseconds between the two readings that a processor's share needs.
const BETWEEN_READINGS_MS: u64 = 1_000;

/// Collects once, prints it, asks the server how it is. Exits with 0 only if it is well.
pub fn check(settings: &Settings) -> Result<ExitCode, CommandError> {
    // The top of nothing is nothing: that processes cannot be read is said by their collector.
    let mut known = ProcessTable::default();
    let mut processes = || known.look().unwrap_or_default().processes;
    let before = Used::by(&processes());
    let readings = collect(settings);
    let top = top(&before, &processes(), BETWEEN_READINGS_MS);
    say(&format!(
        "{}{} series every {} s\n",
        table(&readings),
        readings.len(),
        settings.collect_interval_ms / 1_000
    ));
    say(&top_table("processors", &top.by_cpu, |pct| format!("{pct} %")));
    say(&top_table("memory", &top.by_memory, |bytes| format!("{} MiB", (bytes / 1_048_576.0).round())));
    let (url, identity) = server_and_identity(settings)?;
    say(&format!("would push to {url} as {}", identity.name()));
    let client = client(settings, url)?;
    let alive = ask(&client, "/healthz");
    let ready = ask(&client, "/readyz");
    Ok(if alive && ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One collection, of a second in which shares and rates can be told.
pub(super) fn collect(settings: &Settings) -> Vec<Reading> {
    let clock = Arc::new(Clock::new(os_clock::running_ms, os_clock::wall()));
    let counters = Arc::new(Counters::default());
    let mut collectors = Collectors::of_this_host(&settings.collection, &clock, counters, Box::new(|| 0));
    std::thread::sleep(Duration::from_millis(BETWEEN_READINGS_MS));
    collectors.collect()
}

/// Prints a line. Who has stopped listening, as `head` does, need not hear it.
pub(super) fn say(line: &str) {
    let _heard = writeln!(io::stdout(), "{line}");
}

/// Names, labels and values in columns.
fn table(readings: &[Reading]) -> String {
    let rows: Vec<(String, &Reading)> = readings
        .iter()
        .map(|reading| {
            let labels: Vec<String> =
                reading.labels.iter().map(|(key, text)| format!("{key}={text}")).collect();
            (labels.join(","), reading)
        })
        .collect();
    let name_width = readings.iter().map(|reading| reading.name.len()).max().unwrap_or(0);
    let label_width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    rows.iter()
        .map(|(label, reading)| {
            format!("{:name_width$}  {label:label_width$}  {}\n", reading.name, reading.value)
        })
        .collect()
}

/// Who uses the most of something, with names and users.
fn top_table(what: &str, top: &[Greedy], amount: fn(f64) -> String) -> String {
    let users = owners(&top.iter().map(|process| process.pid).collect::<Vec<_>>());
    let line = |process: &Greedy| {
        let user = users.get(&process.pid).map_or("?", String::as_str);
        format!("  {}  {}  {user}  {}\n", amount(process.uses), process.pid, process.name)
    };
    format!("most {what}:\n{}", top.iter().map(line).collect::<String>())
}

/// What health pages may say beside their status.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Health {
    server_ms: Option<TimestampMs>,
}

fn ask(client: &Client, path: &str) -> bool {
    let sent_ms = os_clock::running_ms();
    let result = client.get(path);
    let exchange = |server| Exchange { sent_ms, received_ms: os_clock::running_ms(), server };
    let offset_ms = os_clock::wall().0.saturating_sub(sent_ms);
    let (line, is_well) = report(path, &result, |server| {
        corrected_offset_ms(offset_ms, exchange(server)).saturating_sub(offset_ms)
    });
    say(&line);
    is_well
}

/// One line on an answer, with what this host's clock is off by where the answer tells the time.
fn report(
    path: &str,
    result: &Result<Answer, NoAnswer>,
    off_by_ms: impl FnOnce(TimestampMs) -> i64,
) -> (String, bool) {
    match result {
        Err(error) => (format!("{path}: no answer: {error}"), false),
        Ok(answer) => {
            let health: Health = serde_json::from_slice(&answer.body).unwrap_or_default();
            let clock = health.server_ms.map_or_else(String::new, |server| {
                format!(", the server's clock is {} ms ahead of this host's", off_by_ms(server))
            });
            if (200..300).contains(&answer.status) {
                (format!("{path}: HTTP {}{clock}", answer.status), true)
            } else {
                (format!("{path}: {}{clock}", refusal(answer).1), false)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest() {
        let readings =
            [Reading::plain("load_1m", 0.5), Reading::labelled("disk_used_pct", "mount", "/", 41.25)];
        assert_eq!(table(&readings), "load_1m                 0.5\ndisk_used_pct  mount=/  41.25\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn the_greediest_are_told_with_their_users() {
        let nobody = Greedy { pid: u32::MAX, name: "gone".into(), uses: 12.5 };
        let table = top_table("processors", &[nobody], |pct| format!("{pct} %"));
        assert_eq!(table, "most processors:\n  12.5 %  4294967295  ?  gone\n");
    }

    #[test]
    fn an_answer_is_reported_with_the_clock_where_it_tells_it() {
        let answer =
            |status, body: &str| Ok(Answer { status, retry_after_s: None, body: body.as_bytes().to_vec() });
        let told = |status, body| report("/readyz", &answer(status, body), |server| server.0);
        assert_eq!(told(200, "ok"), ("/readyz: HTTP 200".to_owned(), true));
        let clock = "/readyz: HTTP 200, the server's clock is 5 ms ahead of this host's".to_owned();
        assert_eq!(told(200, r#"{"server_ms":5}"#), (clock, true));
        let body = r#"{"error":{"code":"catalogue_unavailable","message":"D1 is away"}}"#;
        let refused = "/readyz: catalogue_unavailable: D1 is away".to_owned();
        assert_eq!(told(503, body), (refused, false));
    }
}
