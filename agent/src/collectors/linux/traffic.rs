//! What every interface has carried since the month's reset day, kept over restarts of agent and host.

use super::{kept::Kept, network};
use crate::{
    collectors::{CollectError, Collector, Reading},
    os_clock, platform,
    settings::{collection::Collection, patterns::Patterns},
};
use edgewatch_shared::{limits::MINUTE_MS, time::Day};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["net_month_receive_bytes", "net_month_transmit_bytes"];

/// Milliseconds between two writes to the disk, and from the start to the first. Reason: what an agent that is killed
/// forgets is read from the kernel's own counters, unless the host falls too; then it is these minutes.
const SAVE_EVERY_MS: i64 = 5 * MINUTE_MS;

const FILE: &str = "traffic.json";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What an interface has carried: received and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Bytes of this month.
    month: [u64; 2],
    /// The kernel's counters at the last reading.
    raw: [u64; 2],
}

/// The month so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    /// The day it began, in days since the epoch.
    began_day: i64,
    /// The boot whose counters were read last.
    boot_id: String,
    interfaces: BTreeMap<String, Carried>,
    /// The day of the last reading: only on another one can a month begin.
    #[serde(skip)]
    today: Option<i64>,
}

impl Month {
    /// Adds what the counters have grown by since the last reading. Of a host that was booted since, all of a counter is
    /// new; on the first reading ever, nothing is.
    pub fn add(&mut self, boot_id: &str, today: i64, reset_day: u8, interfaces: &[(String, [u64; 2])]) {
        if self.today.replace(today) != Some(today) {
            self.begin_anew(began(today, reset_day));
        }
        let is_first = self.boot_id.is_empty();
        let rebooted = self.boot_id != boot_id;
        boot_id.clone_into(&mut self.boot_id);
        for (name, raw) in interfaces {
            let is_new = !self.interfaces.contains_key(name);
            let carried = self.interfaces.entry(name.clone()).or_default();
            if is_first && is_new {
                carried.raw = *raw;
            }
            for ((month, before), now) in carried.month.iter_mut().zip(carried.raw).zip(raw) {
                // A counter that is lower than before has begun anew, with the host or with its interface.
                let grown = if rebooted || *now < before { *now } else { now.saturating_sub(before) };
                *month = month.saturating_add(if is_first { 0 } else { grown });
            }
            carried.raw = *raw;
        }
        // One that is gone is kept while it has carried something this month.
        let is_there = |name: &String| interfaces.iter().any(|(known, _)| known == name);
        self.interfaces.retain(|name, carried| is_there(name) || carried.month != [0; 2]);
    }

    /// Begins a month, unless it is the one that there is. A clock that is behind, as that of a board that has none of its
    /// own, ends no month.
    fn begin_anew(&mut self, began_day: i64) {
        if began_day > self.began_day {
            self.began_day = began_day;
            for carried in self.interfaces.values_mut() {
                carried.month = [0; 2];
            }
        }
    }

    /// The samples of the interfaces that are there.
    pub fn samples(&self, interfaces: &[(String, [u64; 2])]) -> Vec<Reading> {
        let mut samples = Vec::new();
        for (name, _) in interfaces {
            if let Some(carried) = self.interfaces.get(name) {
                for (metric, bytes) in DESCRIBED.iter().zip(carried.month) {
                    samples.push(Reading::labelled(metric, "iface", name, bytes as f64));
                }
            }
        }
        samples
    }
}

/// The day on which the month of `today` began, in days since the epoch (UTC): the last reset day.
fn began(today: i64, reset_day: u8) -> i64 {
    let is_reset_day = |day: &i64| day_of_month(*day) == Some(reset_day);
    (today.saturating_sub(30)..=today).rev().find(is_reset_day).unwrap_or(today)
}

/// The end of `2026-11-21`.
fn day_of_month(day: i64) -> Option<u8> {
    Day(day).label().rsplit('-').next()?.parse().ok()
}

/// Reads interfaces, and remembers the month.
pub struct Traffic {
    exclude: Patterns,
    reset_day: u8,
    dev: network::Dev,
    boot_id: Kept,
    path: PathBuf,
    month: Option<Month>,
    saved_ms: Option<i64>,
}

impl Traffic {
    /// A collector that keeps the month in the state directory.
    pub fn new(collection: &Collection) -> Self {
        Self {
            exclude: collection.exclude.interfaces.clone(),
            reset_day: collection.traffic_reset_day,
            dev: network::Dev::default(),
            boot_id: Kept::new(BOOT_ID),
            path: collection.state_dir.join(FILE),
            month: None,
            saved_ms: None,
        }
    }

    fn save_if_due(&mut self, month: &Month, now_ms: i64) -> Result<(), CollectError> {
        // Not at once: who merely looks at a collection leaves nothing behind.
        let saved_ms = *self.saved_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(saved_ms) < SAVE_EVERY_MS {
            return Ok(());
        }
        // A disk that cannot be written to is not tried at every round either.
        self.saved_ms = Some(now_ms);
        let path = self.path.display().to_string();
        save(&self.path, month).map_err(|error| CollectError::unreadable(&path, error))
    }
}

impl Collector for Traffic {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let columns = |interface: network::Interface| {
            let [received, _, _, _, _, _, _, _, sent, ..] = interface.columns;
            (interface.name, [received, sent])
        };
        let interfaces: Vec<(String, [u64; 2])> = self
            .dev
            .read()?
            .into_iter()
            .map(columns)
            .filter(|(name, _)| !self.exclude.matches(name))
            .collect();
        let boot_id = self.boot_id.text()?;
        let mut month = self.month.take().unwrap_or_else(|| load(&self.path));
        month.add(boot_id.trim(), os_clock::wall().day().0, self.reset_day, &interfaces);
        readings.extend(month.samples(&interfaces));
        let saved = self.save_if_due(&month, os_clock::running_ms());
        self.month = Some(month);
        saved
    }
}

/// What was kept; a file that is not there or is damaged is a month that begins now.
fn load(path: &Path) -> Month {
    let text = fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Written beside and renamed, so that what has the name is whole. Not synchronised: after a crash of the host the old
/// one is as good.
fn save(path: &Path, month: &Month) -> std::io::Result<()> {
    let temporary = path.with_extension("json.new");
    if let Some(dir) = path.parent() {
        platform::create_private_dir(dir)?;
    }
    let mut file = platform::create_private_file(&temporary)?;
    file.write_all(&serde_json::to_vec(month)?)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eth0(received: u64, sent: u64) -> [(String, [u64; 2]); 1] {
        [("eth0".to_owned(), [received, sent])]
    }

    /// 2026-11-21.
    const TODAY: i64 = 20_778;

    fn carried(month: &Month) -> [u64; 2] {
        month.interfaces["eth0"].month
    }

    #[test]
    fn a_month_begins_on_its_reset_day() {
        for (today, reset_day, began_days_ago) in
            [(TODAY, 21, 0), (TODAY, 22, 30), (TODAY, 1, 20), (TODAY + 9, 28, 2), (TODAY + 10, 1, 0)]
        {
            assert_eq!(today - began(today, reset_day), began_days_ago, "{today} {reset_day}");
        }
        // The longest way back: from 2027-03-27 to 2027-02-28, and over a leap day from 2024-03-28 to itself.
        assert_eq!((began(20_904, 28), began(19_810, 28)), (20_877, 19_810));
    }

    #[test]
    fn only_what_is_new_counts_and_a_reboot_makes_all_new() {
        let mut month = Month::default();
        month.add("a", TODAY, 1, &eth0(1_000, 100));
        assert_eq!(carried(&month), [0, 0], "what was before the agent is nobody's");
        month.add("a", TODAY, 1, &eth0(1_500, 150));
        assert_eq!(carried(&month), [500, 50]);
        month.add("b", TODAY, 1, &eth0(2_000, 7));
        assert_eq!(carried(&month), [2_500, 57], "of another boot all counts, even if it is more");
        month.add("b", TODAY, 1, &eth0(10, 7));
        assert_eq!(carried(&month), [2_510, 57], "an interface that began anew");
    }

    #[test]
    fn a_new_month_begins_with_what_is_new() {
        let mut month = Month::default();
        month.add("a", TODAY, 22, &eth0(0, 0));
        month.add("a", TODAY, 22, &eth0(500, 50));
        month.add("a", TODAY + 1, 22, &eth0(600, 60));
        assert_eq!(carried(&month), [100, 10]);
        let expected = [("net_month_receive_bytes", 100.0), ("net_month_transmit_bytes", 10.0)]
            .map(|(name, bytes)| Reading::labelled(name, "iface", "eth0", bytes));
        assert_eq!(month.samples(&eth0(600, 60)), expected);
    }

    #[test]
    fn a_clock_that_is_behind_ends_no_month() {
        let mut month = Month::default();
        month.add("a", TODAY, 22, &eth0(0, 0));
        month.add("a", 0, 22, &eth0(500, 50));
        month.add("a", TODAY, 22, &eth0(600, 60));
        assert_eq!(carried(&month), [600, 60]);
    }

    #[test]
    fn an_interface_that_came_later_counts_whole_and_one_that_is_gone_is_kept_for_the_month() {
        let mut month = Month::default();
        month.add("a", TODAY, 22, &[]);
        month.add("a", TODAY, 22, &eth0(70, 7));
        assert_eq!(carried(&month), [70, 7]);
        month.add("a", TODAY, 22, &[]);
        assert_eq!((carried(&month), month.samples(&[])), ([70, 7], Vec::new()));
        month.add("a", TODAY + 1, 22, &[]);
        assert!(month.interfaces.is_empty());
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_damage_is_a_new_month() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join(FILE);
        let mut month = Month::default();
        month.add("a", TODAY, 1, &eth0(1_000, 100));
        month.add("a", TODAY, 1, &eth0(1_500, 150));
        save(&path, &month).unwrap();
        assert_eq!(load(&path), Month { today: None, ..month });
        fs::write(&path, "{").unwrap();
        assert_eq!(load(&path), Month::default());
    }
}
