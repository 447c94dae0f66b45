//! `status`: how the agent of this host is, by what it wrote last.

use super::{CommandError, check::say, os};
use crate::{
    os_clock, platform,
    settings::{STATE_DIR_OF_ROOT, Settings},
    status::{Link, Process, Status, Waiting},
};
use edgewatch_shared::TimestampMs;
use serde::Serialize;
use std::{path::Path, process::ExitCode};

/// What `--json` prints.
#[derive(Serialize)]
struct Told<'a> {
    is_running: bool,
    is_well: bool,
    #[serde(flatten)]
    status: &'a Status,
}

/// Prints how the agent is. Exits with 0 only if it runs and its pushes are taken.
pub fn status(settings: &Settings, as_json: bool) -> Result<ExitCode, CommandError> {
    let Some(status) = Status::read(&settings.state_dir).map_err(os("the agent's status cannot be read"))?
    else {
        say(&unwritten(&settings.state_dir, Path::new(STATE_DIR_OF_ROOT)));
        return Ok(ExitCode::FAILURE);
    };
    let now = os_clock::wall();
    let is_running = is_running(&status.process);
    let is_well = is_running && status.is_well(now);
    if as_json {
        let told = serde_json::to_string(&Told { is_running, is_well, status: &status });
        say(&told.map_err(|error| os("the agent's status cannot be told")(error.into()))?);
    } else {
        say(&page(&status, is_running, now));
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is said where there is no status: the host's own agent may have one elsewhere, which only root may read.
fn unwritten(state_dir: &Path, of_root: &Path) -> String {
    let missing = Status::path(state_dir);
    let missing = missing.display();
    if state_dir != of_root && of_root.exists() {
        let elsewhere = of_root.display();
        return format!("{missing} is missing; the host's agent has its own in {elsewhere}: ask as root");
    }
    format!("no agent has run here: {missing} is missing")
}

/// Whether the process is the one that wrote the status, and alive.
fn is_running(process: &Process) -> bool {
    platform::process(process.pid).is_some_and(|now| now == *process)
}

fn page(status: &Status, is_running: bool, now: TimestampMs) -> String {
    let ago = |then: TimestampMs| span(now.ms_since(then));
    let Status { version, process, started_ms, written_ms, url, name, pace_ms, pushes, waiting } = status;
    let state = if is_running {
        format!("running for {} (process {})", ago(*started_ms), process.pid)
    } else {
        format!("not running: process {} wrote this {} ago and is gone", process.pid, ago(*written_ms))
    };
    let taken = pushes.last_taken_ms.map_or_else(
        || "no push of this run was taken".to_owned(),
        |taken| format!("the last push was taken {} ago", ago(taken)),
    );
    let way = match pushes.link {
        Link::Untried => "none was tried yet",
        Link::Up => "pushes are taken",
        Link::Away => "pushes fail",
        Link::Unauthorized => "the server does not let this host in",
        Link::Rejecting => "the server refuses batches for good",
    };
    let since =
        if pushes.link == Link::Untried { String::new() } else { format!(", for {}", ago(pushes.since_ms)) };
    let why = pushes.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    format!(
        "{state}, version {version}\n\
         to {url} as {name}, every {}\n\
         {taken}; {way}{since}{why}\n\
         {}\n\
         since the start: {} batches dropped, {} refused for good, {} unreadable; {} pushes failed and were tried again",
        span(*pace_ms),
        spool(waiting, now),
        waiting.dropped_batches,
        waiting.rejected_batches,
        waiting.damaged_batches,
        waiting.push_failures,
    )
}

fn spool(waiting: &Waiting, now: TimestampMs) -> String {
    let oldest = waiting.oldest_ms.filter(|_| waiting.batches > 0);
    let oldest =
        oldest.map_or_else(String::new, |then| format!(", the oldest of {} ago", span(now.ms_since(then))));
    let disk = if waiting.disk_fails {
        format!("; the disk fails, {} are in memory only", waiting.batches_in_memory)
    } else {
        String::new()
    };
    format!(
        "waiting: {} batches with {} samples{oldest}; the spool has {} of {} KiB{disk}",
        waiting.batches,
        waiting.samples,
        waiting.spool_bytes.div_ceil(1_024),
        waiting.spool_bytes_max / 1_024,
    )
}

/// A span of time as people say it, in its largest unit that makes two at least.
fn span(ms: i64) -> String {
    let s = ms.max(0) / 1_000;
    match s {
        0..120 => format!("{s} s"),
        120..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tests::status as written;

    #[test]
    fn a_process_is_the_one_that_wrote_only_with_its_own_start() {
        let own = platform::process(std::process::id()).unwrap();
        assert!(is_running(&own));
        assert!(!is_running(&Process { start_ticks: Some(1), ..own.clone() }));
        assert!(!is_running(&Process { pid: u32::MAX, ..own }));
    }

    #[test]
    fn the_page_says_how_it_is_and_since_when() {
        let status = written();
        let now = status.written_ms.plus_ms(119_999);
        let page_of = |is_running| page(&status, is_running, now);
        let said = page_of(true);
        for part in
            ["running for 2 min (process 7)", "to https://watch.example as web-01, every 60 s", "119 s ago"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(page_of(false).starts_with("not running: process 7 wrote this 119 s ago and is gone"));
    }

    #[test]
    fn who_may_not_see_the_hosts_agent_is_told_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [own, of_root] = ["own", "root"].map(|name| dir.path().join(name));
        let none = format!("no agent has run here: {} is missing", own.join("status.json").display());
        assert_eq!(unwritten(&own, &of_root), none);
        std::fs::create_dir(&of_root).unwrap();
        assert!(unwritten(&own, &of_root).ends_with(&format!("in {}: ask as root", of_root.display())));
        assert!(unwritten(&of_root, &of_root).starts_with("no agent has run here"));
    }

    #[test]
    fn spans_have_the_unit_that_people_would_take() {
        for (ms, text) in
            [(-5, "0 s"), (119_999, "119 s"), (120_000, "2 min"), (7_200_000, "2 h"), (172_800_000, "2 d")]
        {
            assert_eq!(span(ms), text);
        }
    }
}
