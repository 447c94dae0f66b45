//! What interfaces have carried since the month's reset day.

use edgewatch_shared::time::Day;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, mem};

/// Interfaces that are gone and still kept, those that have carried the most. Reason: every container may have one of its own.
const GONE_MAX: usize = 64;

/// What an interface has carried: received and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Carried {
    /// Bytes of this month.
    month: [u64; 2],
    /// The kernel's counters at the last reading.
    raw: [u64; 2],
}

/// The month so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    /// The day it began, in days since the epoch; 0 until a server has told what day it is.
    began_day: i64,
    /// The boot whose counters were read last.
    boot_id: String,
    interfaces: BTreeMap<String, Carried>,
    /// The day of the last reading: only on another one can a month begin.
    #[serde(skip)]
    today: Option<i64>,
    /// Whether somebody was there to see an interface come.
    #[serde(skip)]
    is_watched: bool,
}

impl Month {
    /// Adds what the counters have grown by since the last reading. Of a host that was booted since, all of a counter is
    /// new, and so it is of an interface that came while somebody watched. What one had before it was watched, because
    /// there was no agent or it was left out, is nobody's. `today` is absent until a server has told it.
    pub fn add(
        &mut self,
        boot_id: &str,
        today: Option<i64>,
        reset_day: u8,
        interfaces: &[(String, [u64; 2])],
    ) {
        if let Some(day) = today.filter(|_| self.today != today) {
            self.today = today;
            self.begin(began(day, reset_day));
        }
        let rebooted = !self.boot_id.is_empty() && self.boot_id != boot_id;
        boot_id.clone_into(&mut self.boot_id);
        let is_watched = mem::replace(&mut self.is_watched, true) || rebooted;
        for (name, raw) in interfaces {
            let from = if is_watched { [0; 2] } else { *raw };
            let new = || Carried { raw: from, ..Carried::default() };
            let carried = self.interfaces.entry(name.clone()).or_insert_with(new);
            for ((month, before), now) in carried.month.iter_mut().zip(carried.raw).zip(raw) {
                // A counter that is lower than before has begun anew, with the host or with its interface.
                let grown = if rebooted || *now < before { *now } else { now.saturating_sub(before) };
                *month = month.saturating_add(grown);
            }
            carried.raw = *raw;
        }
        self.forget(interfaces);
    }

    /// What an interface has received and sent this month.
    pub fn carried(&self, name: &str) -> [u64; 2] {
        self.interfaces.get(name).map(|carried| carried.month).unwrap_or_default()
    }

    /// The day of the last reading, if a server has told it.
    #[cfg(test)]
    pub fn today(&self) -> Option<i64> {
        self.today
    }

    /// Forgets what is gone and has carried nothing this month, and of more than [`GONE_MAX`] those that carried the least.
    fn forget(&mut self, there: &[(String, [u64; 2])]) {
        let is_gone = |name: &String| there.iter().all(|(known, _)| known != name);
        self.interfaces.retain(|name, carried| carried.month != [0; 2] || !is_gone(name));
        let mut gone: Vec<(u64, String)> = Vec::new();
        for (name, carried) in self.interfaces.iter().filter(|(name, _)| is_gone(name)) {
            let [received, sent] = carried.month;
            gone.push((received.saturating_add(sent), name.clone()));
        }
        while gone.len() > GONE_MAX {
            let least = gone.iter().enumerate().min_by_key(|(_, (bytes, _))| *bytes).map(|(at, _)| at);
            let (_, name) = gone.swap_remove(least.unwrap_or_default());
            self.interfaces.remove(&name);
        }
    }

    /// Begins a month, unless it is the one that there is. What was counted is the last one's, but for what a clock that
    /// was ahead has called a later month, and for what was counted before anybody told the day.
    fn begin(&mut self, began_day: i64) {
        if began_day > self.began_day && self.began_day > 0 {
            for carried in self.interfaces.values_mut() {
                carried.month = [0; 2];
            }
        }
        self.began_day = began_day;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn eth0(received: u64, sent: u64) -> [(String, [u64; 2]); 1] {
        [("eth0".to_owned(), [received, sent])]
    }

    /// 2026-11-21.
    const TODAY: i64 = 20_778;

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
        month.add("a", Some(TODAY), 1, &eth0(1_000, 100));
        assert_eq!(month.carried("eth0"), [0, 0], "what was before the agent is nobody's");
        month.add("a", Some(TODAY), 1, &eth0(1_500, 150));
        assert_eq!(month.carried("eth0"), [500, 50]);
        month.add("b", Some(TODAY), 1, &eth0(2_000, 7));
        assert_eq!(month.carried("eth0"), [2_500, 57], "of another boot all counts, even if it is more");
        month.add("b", Some(TODAY), 1, &eth0(10, 7));
        assert_eq!(month.carried("eth0"), [2_510, 57], "an interface that began anew");
    }

    #[test]
    fn a_new_month_begins_with_what_is_new() {
        let mut month = Month::default();
        month.add("a", Some(TODAY), 22, &eth0(0, 0));
        month.add("a", Some(TODAY), 22, &eth0(500, 50));
        month.add("a", Some(TODAY + 1), 22, &eth0(600, 60));
        assert_eq!(month.carried("eth0"), [100, 10]);
    }

    #[test]
    fn until_a_server_tells_the_day_no_month_ends_and_the_first_one_keeps_what_it_has() {
        let mut month = Month::default();
        month.add("a", None, 22, &eth0(0, 0));
        month.add("a", None, 22, &eth0(500, 50));
        month.add("a", Some(TODAY), 22, &eth0(600, 60));
        assert_eq!(month.carried("eth0"), [600, 60]);
        month.add("a", None, 22, &eth0(700, 70));
        assert_eq!((month.carried("eth0"), month.today), ([700, 70], Some(TODAY)));
    }

    #[test]
    fn a_month_that_a_wrong_clock_has_begun_gives_way_to_the_true_one() {
        // In 2080.
        let mut month = Month { began_day: 40_200, ..Month::default() };
        month.add("a", Some(TODAY), 22, &eth0(0, 0));
        month.add("a", Some(TODAY), 22, &eth0(600, 60));
        assert_eq!(month.carried("eth0"), [600, 60]);
        month.add("a", Some(TODAY + 1), 22, &eth0(610, 61));
        assert_eq!(month.carried("eth0"), [10, 1], "and the next one begins on its day");
    }

    #[test]
    fn an_interface_that_came_later_counts_whole_and_one_that_is_gone_is_kept_for_the_month() {
        let mut month = Month::default();
        month.add("a", Some(TODAY), 22, &[]);
        month.add("a", Some(TODAY), 22, &eth0(70, 7));
        assert_eq!(month.carried("eth0"), [70, 7]);
        month.add("a", Some(TODAY), 22, &[]);
        assert_eq!(month.carried("eth0"), [70, 7]);
        month.add("a", Some(TODAY + 1), 22, &[]);
        assert!(month.interfaces.is_empty());
    }

    #[test]
    fn what_an_interface_carried_while_it_was_left_out_is_nobodys() {
        let lo = [("lo".to_owned(), [5, 5])];
        let mut month = Month::default();
        month.add("a", Some(TODAY), 1, &lo);
        // As another collector finds it.
        let mut month = Month { is_watched: false, ..month };
        month.add("a", Some(TODAY), 1, &eth0(1_000, 100));
        month.add("a", Some(TODAY), 1, &eth0(1_001, 100));
        assert_eq!(month.carried("eth0"), [1, 0]);
    }

    #[test]
    fn of_interfaces_that_are_gone_those_that_carried_the_most_are_kept() {
        for (gone, kept) in [(GONE_MAX, GONE_MAX), (GONE_MAX + 1, GONE_MAX), (10 * GONE_MAX, GONE_MAX)] {
            let mut month = Month::default();
            month.add("a", Some(TODAY), 1, &eth0(0, 0));
            let many: Vec<_> = (1..=gone as u64).map(|n| (format!("tap{n}"), [n, n])).collect();
            month.add("a", Some(TODAY), 1, &many);
            month.add("a", Some(TODAY), 1, &eth0(0, 0));
            assert_eq!(month.interfaces.len(), kept + 1, "and the one that is there");
            assert!(month.interfaces.contains_key(&format!("tap{gone}")), "{gone}");
        }
    }
}
