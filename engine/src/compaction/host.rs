//! The work on one host: its chunks are decoded, merged, rolled up and written, some series at a time.

use super::{
    CompactionError,
    output::Output,
    sources::{Group, Role, Sources},
};
use crate::{
    compression::{Deflater, Inflater},
    head::HostHead,
    rollup::{Field, Resolution, Rollup, from_series, fuller, roll_up, to_series},
    series_limit::fingerprint,
};
use edgewatch_shared::{HostId, Sample, Series, TimestampMs, series::SeriesSamples};
use std::collections::{BTreeMap, VecDeque};

/// Samples that are decoded or written in a step.
const STEP_SAMPLES: usize = 50_000;
/// The smallest share: a series or two.
const PASSES_MAX: u64 = 1 << 20;

/// The series of which the fingerprint leaves `remainder` when divided by `shares`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pass {
    shares: u64,
    remainder: u64,
}

impl Pass {
    fn takes(self, series: &Series) -> bool {
        self.shares <= 1 || fingerprint(series).checked_rem(self.shares) == Some(self.remainder)
    }

    fn halves(self) -> [Self; 2] {
        let shares = self.shares.saturating_mul(2);
        [self.remainder, self.remainder.saturating_add(self.shares)]
            .map(|remainder| Self { shares, remainder })
    }
}

/// What was decoded in a pass.
#[derive(Default)]
struct Taken {
    raw: HostHead,
    /// Newest value of the day before, and when that was.
    before: BTreeMap<Series, (TimestampMs, f64)>,
    rolled_up: [Vec<SeriesSamples>; 2],
}

/// A series that is to be written.
struct Ready {
    series: Series,
    samples: Vec<Sample>,
    rollups: [Vec<Rollup>; 2],
}

/// A host on its way.
pub(super) struct HostWork {
    host: HostId,
    pass_bytes_max: usize,
    /// Passes that are still to be done, the current one last.
    passes: Vec<Pass>,
    /// The chunk that is read next.
    next_chunk: usize,
    taken: Taken,
    ready: Option<VecDeque<Ready>>,
}

const ROLLED_UP: [Resolution; 2] = [Resolution::FiveMinutes, Resolution::Hour];

impl HostWork {
    pub(super) fn new(host: HostId, pass_bytes_max: usize) -> Self {
        let passes = vec![Pass { shares: 1, remainder: 0 }];
        Self { host, pass_bytes_max, passes, next_chunk: 0, taken: Taken::default(), ready: None }
    }

    /// The batch that has to be loaded before the next step.
    pub(super) fn needs(&self, group: &Group) -> Option<usize> {
        if self.ready.is_some() {
            return None;
        }
        let chunk = group.chunk(self.host, self.next_chunk)?;
        if group.is_loaded(chunk.batch) { None } else { Some(chunk.batch) }
    }

    /// Decodes some chunks, or writes some series; `true` once the host is done.
    pub(super) fn step(
        &mut self,
        group: &Group,
        sources: &Sources,
        output: &mut Output,
        inflater: &mut Inflater,
        deflater: &mut Deflater,
    ) -> Result<bool, CompactionError> {
        if self.ready.is_some() {
            return self.write(output, deflater);
        }
        let mut samples: usize = 0;
        while let Some(chunk) = group.chunk(self.host, self.next_chunk) {
            if samples >= STEP_SAMPLES || !group.is_loaded(chunk.batch) {
                return Ok(false);
            }
            let (role, series) = sources.decode(chunk, group.bytes(chunk), inflater)?;
            samples = samples.saturating_add(usize::try_from(chunk.entry.samples).unwrap_or(usize::MAX));
            self.next_chunk = self.next_chunk.saturating_add(1);
            self.take(role, series);
            if self.taken.raw.bytes() > self.pass_bytes_max && self.split() {
                return Ok(false);
            }
        }
        self.merge();
        Ok(false)
    }

    fn take(&mut self, role: Role, mut series: Vec<SeriesSamples>) {
        let Some(pass) = self.passes.last().copied() else { return };
        let of = |stored: &Series| match role {
            Role::Raw => Some(stored.clone()),
            _ => Field::of_series(stored.clone()).map(|(series, _)| series),
        };
        if pass.shares > 1 {
            series.retain(|entry| of(&entry.series).is_some_and(|series| pass.takes(&series)));
        }
        match role {
            Role::Raw => self.taken.raw.insert(series),
            Role::RolledUp(Resolution::Hour) => self.taken.rolled_up[1].extend(series),
            Role::RolledUp(_) => self.taken.rolled_up[0].extend(series),
            Role::Before => {
                for entry in series {
                    let Some((series, Field::Last)) = Field::of_series(entry.series) else { continue };
                    let Some(last) = entry.samples.last() else { continue };
                    let known = self.taken.before.entry(series).or_insert((last.time, last.value));
                    if last.time >= known.0 {
                        *known = (last.time, last.value);
                    }
                }
            }
        }
    }

    /// Begins this pass again with half of its series; `false` if there is but one left to halve.
    fn split(&mut self) -> bool {
        let is_many = self.taken.raw.series().nth(1).is_some();
        let Some(pass) = self.passes.last().copied().filter(|pass| is_many && pass.shares < PASSES_MAX)
        else {
            return false;
        };
        self.passes.pop();
        self.passes.extend(pass.halves());
        self.next_chunk = 0;
        self.taken = Taken::default();
        true
    }

    /// Everything of the pass is decoded: what is to be written of each series.
    fn merge(&mut self) {
        let Taken { raw, before, rolled_up } = std::mem::take(&mut self.taken);
        let mut stored = rolled_up.map(from_series);
        let mut samples: BTreeMap<Series, Vec<Sample>> = BTreeMap::new();
        samples.extend(raw.into_series().map(|entry| (entry.series, entry.samples)));
        // What was rolled up stays where its samples are gone by now.
        for series in stored.iter().flat_map(BTreeMap::keys) {
            if !samples.contains_key(series) {
                samples.insert(series.clone(), Vec::new());
            }
        }
        let ready = samples.into_iter().map(|(series, samples)| {
            let before = before.get(&series).map(|(_, value)| *value);
            let mut rollups = [Vec::new(), Vec::new()];
            for ((rollups, resolution), stored) in rollups.iter_mut().zip(ROLLED_UP).zip(&mut stored) {
                let fresh = resolution.step_ms().map(|step_ms| roll_up(&samples, before, step_ms));
                *rollups = fuller(fresh.unwrap_or_default(), &stored.remove(&series).unwrap_or_default());
            }
            Ready { series, samples, rollups }
        });
        self.ready = Some(ready.collect());
    }

    /// Writes some series; at the end of the last pass the host is done.
    fn write(&mut self, output: &mut Output, deflater: &mut Deflater) -> Result<bool, CompactionError> {
        let mut written: usize = 0;
        while written < STEP_SAMPLES {
            let Some(ready) = self.ready.as_mut().and_then(VecDeque::pop_front) else {
                output.flush(self.host, deflater).map_err(CompactionError::Write)?;
                self.passes.pop();
                self.next_chunk = 0;
                self.ready = None;
                return Ok(self.passes.is_empty());
            };
            written = written.saturating_add(ready.samples.len().max(1));
            let Ready { series, samples, rollups } = ready;
            for (resolution, rollups) in ROLLED_UP.into_iter().zip(rollups) {
                let stored = to_series(&series, &rollups);
                output.push(self.host, resolution, stored, deflater).map_err(CompactionError::Write)?;
            }
            let raw = vec![SeriesSamples { series, samples }];
            output.push(self.host, Resolution::Raw, raw, deflater).map_err(CompactionError::Write)?;
        }
        Ok(false)
    }
}
