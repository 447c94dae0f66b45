//! An import: lines of an export become batches, by the same rules as a push, but for the window of time.

use super::{Fault, FaultKind, check_labels, check_name, in_order};
use crate::{
    batch::Batch,
    host::{HostId, HostName},
    limits::{
        BATCH_SAMPLES_MAX, FAULTS_NAMED_MAX, IMPORT_AGE_MS_MAX, SAMPLE_AGE_MS_MAX, SAMPLE_AHEAD_MS_MAX,
    },
    series::{Sample, Series},
    time::TimestampMs,
    wire::export::{ExportLine, LineError},
};
use std::{collections::BTreeMap, ops::RangeInclusive};

/// How far back an import may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportWindow {
    /// As far as a push.
    AsPushed,
    /// As far as anything can be kept.
    AsKept,
}

/// A batch of one host.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Its id, if the lines say it.
    pub id: Option<HostId>,
    /// Its name.
    pub name: HostName,
    /// Whether its key was revoked, if the lines say it; if one of them does, it was.
    pub revoked: Option<bool>,
    /// At most [`BATCH_SAMPLES_MAX`] samples.
    pub batch: Batch,
}

/// Why an import is refused whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportFault {
    /// A line has no samples of a series of a host.
    #[error("line {at}: {why}")]
    Line {
        /// Which, from 0.
        at: usize,
        /// What is wrong with it.
        why: LineError,
    },
    /// A line is of a host that no host can be called.
    #[error("line {at}: {why}")]
    Host {
        /// Which, from 0.
        at: usize,
        /// What is wrong with the name.
        why: crate::host::HostNameError,
    },
    /// At least one series is at fault; the first [`FAULTS_NAMED_MAX`] are here, by their line.
    #[error("{total} lines are at fault, nothing was stored; the first: {}", first_fault(.faults))]
    Series {
        /// The first faults, by line.
        faults: Vec<Fault>,
        /// How many lines are at fault in all.
        total: usize,
    },
}

fn first_fault(faults: &[Fault]) -> String {
    faults.first().map_or_else(String::new, |fault| format!("line {}: {}", fault.index, fault.kind))
}

type Samples = BTreeMap<TimestampMs, f64>;

/// What lines have of a host.
#[derive(Default)]
struct OfHost {
    revoked: Option<bool>,
    series: BTreeMap<Series, Samples>,
}

/// Checks lines that arrived at `now`, all or nothing but for samples outside the window, and groups them into batches
/// of one host each. Returns the batches and how many samples were left behind. Of several samples of one series at
/// one instant the last one counts.
pub fn validate_import(
    lines: Vec<ExportLine>,
    window: ImportWindow,
    now: TimestampMs,
) -> Result<(Vec<Imported>, usize), ImportFault> {
    let window = window.around(now);
    let mut hosts: BTreeMap<(Option<HostId>, HostName), OfHost> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut total: usize = 0;
    let mut outside: usize = 0;
    for (at, line) in lines.into_iter().enumerate() {
        let revoked = line.revoked;
        let (id, host, series, samples) = line.into_parts().map_err(|why| ImportFault::Line { at, why })?;
        let host = host.parse().map_err(|why| ImportFault::Host { at, why })?;
        match checked(series, &samples, faults.len() < FAULTS_NAMED_MAX) {
            Ok(series) => {
                let of_host = hosts.entry((id, host)).or_default();
                of_host.revoked = of_host.revoked.max(revoked);
                let kept = of_host.series.entry(series).or_default();
                let inside = samples.iter().filter(|sample| window.contains(&sample.time));
                let before = samples.len();
                let inside: Vec<_> = inside.map(|sample| (sample.time, sample.value)).collect();
                outside = outside.saturating_add(before.saturating_sub(inside.len()));
                kept.extend(inside);
            }
            Err(kind) => {
                total = total.saturating_add(1);
                if faults.len() < FAULTS_NAMED_MAX {
                    faults.push(Fault { index: at, kind });
                }
            }
        }
    }
    if total > 0 {
        return Err(ImportFault::Series { faults, total });
    }
    Ok((hosts.into_iter().flat_map(|((id, name), of_host)| batches(id, &name, of_host)).collect(), outside))
}

impl ImportWindow {
    fn around(self, now: TimestampMs) -> RangeInclusive<TimestampMs> {
        let age_ms_max = match self {
            Self::AsPushed => SAMPLE_AGE_MS_MAX,
            Self::AsKept => IMPORT_AGE_MS_MAX,
        };
        now.plus_ms(age_ms_max.saturating_neg())..=now.plus_ms(SAMPLE_AHEAD_MS_MAX)
    }
}

fn checked(series: Series, samples: &[Sample], is_named: bool) -> Result<Series, FaultKind> {
    let name = check_name(series.name, is_named)?;
    check_labels(&series.labels)?;
    if samples.iter().any(|sample| !sample.value.is_finite()) {
        return Err(FaultKind::Value);
    }
    Ok(Series { name, labels: series.labels })
}

fn batches(id: Option<HostId>, name: &HostName, of_host: OfHost) -> Vec<Imported> {
    let OfHost { revoked, series } = of_host;
    let imported = |series| Imported { id, name: name.clone(), revoked, batch: Batch { series } };
    let mut batches = Vec::new();
    let mut open = Vec::new();
    let mut count: usize = 0;
    for (series, samples) in series {
        let mut rest = in_order((series, samples));
        while !rest.samples.is_empty() {
            let room = BATCH_SAMPLES_MAX.saturating_sub(count).min(rest.samples.len());
            let later = rest.samples.split_off(room);
            count = count.saturating_add(room);
            let series = rest.series.clone();
            open.push(std::mem::replace(&mut rest, crate::series::SeriesSamples { series, samples: later }));
            if count == BATCH_SAMPLES_MAX {
                batches.push(imported(std::mem::take(&mut open)));
                count = 0;
            }
        }
    }
    if !open.is_empty() {
        batches.push(imported(open));
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Labels;

    const NOW: TimestampMs = TimestampMs(1_790_000_000_000);

    fn line(host: &str, name: &str, samples: &[(i64, f64)]) -> ExportLine {
        let series = Series { name: name.into(), labels: Labels::new() };
        let samples: Vec<_> =
            samples.iter().map(|(ms, value)| Sample { time: NOW.plus_ms(*ms), value: *value }).collect();
        ExportLine::new(HostId::new(0, [1; 14]), host, &series, &samples)
    }

    #[test]
    fn old_samples_are_left_behind_unless_the_window_allows_them() {
        let lines = || {
            let at = |ms: i64| (-ms, 1.0);
            let edge = [at(SAMPLE_AGE_MS_MAX), at(SAMPLE_AGE_MS_MAX + 1), at(IMPORT_AGE_MS_MAX)];
            vec![line("a", "load_1m", &edge), line("a", "load_1m", &[at(IMPORT_AGE_MS_MAX + 1)])]
        };
        let count = |window| {
            let (batches, outside) = validate_import(lines(), window, NOW).unwrap();
            (batches.iter().map(|batch| batch.batch.sample_count()).sum::<usize>(), outside)
        };
        assert_eq!(count(ImportWindow::AsPushed), (1, 3));
        assert_eq!(count(ImportWindow::AsKept), (3, 1));
    }

    #[test]
    fn a_host_was_revoked_if_one_of_its_lines_says_so() {
        let revoked = |said: &[Option<bool>]| {
            let line = |revoked| ExportLine { revoked, ..line("a", "load_1m", &[(0, 1.0)]) };
            let lines = said.iter().copied().map(line).collect();
            validate_import(lines, ImportWindow::AsKept, NOW).unwrap().0[0].revoked
        };
        assert_eq!(revoked(&[None, None]), None);
        assert_eq!(revoked(&[Some(false), None]), Some(false));
        assert_eq!(revoked(&[Some(false), Some(true), Some(false)]), Some(true));
    }

    #[test]
    fn a_batch_holds_as_many_samples_as_it_may_and_no_more() {
        let many: Vec<_> = (0..BATCH_SAMPLES_MAX as i64 + 1).map(|n| (-n, n as f64)).collect();
        let lines = vec![
            line("a", "load_1m", &many),
            line("a", "load_5m", &[(0, 1.0)]),
            line("b", "load_1m", &[(0, 1.0)]),
        ];
        let (batches, _) = validate_import(lines, ImportWindow::AsPushed, NOW).unwrap();
        let found: Vec<_> = batches.iter().map(|one| (one.name.as_str(), one.batch.sample_count())).collect();
        assert_eq!(found, [("a", BATCH_SAMPLES_MAX), ("a", 2), ("b", 1)]);
    }

    #[test]
    fn faults_are_named_by_line_and_nothing_is_taken() {
        let lines = vec![line("a", "load_1m", &[(0, 1.0)]), line("a", "lod", &[(0, 1.0)])];
        let Err(ImportFault::Series { faults, total: 1 }) =
            validate_import(lines, ImportWindow::AsPushed, NOW)
        else {
            panic!()
        };
        assert_eq!((faults[0].index, faults[0].kind.reason()), (1, "unknown_name"));
        let bad_host = vec![line(" ", "load_1m", &[])];
        assert!(matches!(
            validate_import(bad_host, ImportWindow::AsPushed, NOW),
            Err(ImportFault::Host { at: 0, .. })
        ));
    }
}
