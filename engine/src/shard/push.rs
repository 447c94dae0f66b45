//! How pushes get into the log: each is checked, then all that arrived together are committed in one transaction.

use super::{Instance, Shard, in_transaction};
use crate::{
    call::{Listed, Named, Payload, Push, Pushed, Sender, ShardError, Way},
    counters::Counter,
    dictionaries::{Dictionaries, Dictionary, DictionaryError},
    frame,
    pace::Pace,
    records::Record,
    registry::{HostRecord, HostState, Registry},
    series_limit::{Fingerprint, Growth, SeriesLimit, fingerprint},
    sql::Sql,
    streams::{Arrival, Identity},
    wal::{Form, PushKeys, named},
};
use edgewatch_shared::{
    HostId, HostName, RefusalReason, TimestampMs,
    limits::{
        BATCH_SAMPLES_MAX, HOST_DICTIONARIES_MAX, HOST_SERIES_MAX, ROW_BYTES_MAX, SHARD_HOSTS_MAX,
        SHARD_STORAGE_BYTES_MAX,
    },
    series::SeriesSamples,
    time::Hour,
    wire::{
        Facts,
        push::{DictionaryId, decode_columns},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What a row may have beside the samples of one push: its keys and the ledger.
const ROW_KEYS_BYTES: usize = 64 << 10;

/// What pushes that are committed together change. Memory has it already: a commit that fails leaves the shard to be
/// opened again.
#[derive(Default)]
struct Group {
    storage_is_full: bool,
    pace: Pace,
    hosts: BTreeMap<HostId, HostRecord>,
    series: BTreeMap<HostId, BTreeSet<Fingerprint>>,
    dictionaries: Vec<(HostId, DictionaryId, Rc<Dictionary>)>,
    pushes: Vec<(PushKeys, Vec<u8>)>,
}

impl Group {
    fn is_empty(&self) -> bool {
        let Self { hosts, series, dictionaries, pushes, storage_is_full: _, pace: _ } = self;
        hosts.is_empty() && series.is_empty() && dictionaries.is_empty() && pushes.is_empty()
    }
}

/// Samples that are to be stored.
struct Kept {
    samples: u32,
    newest: Vec<(String, f64)>,
    identity: Option<Identity>,
    form: Form,
    data: Vec<u8>,
    /// Samples left out because there is no room for their series.
    refused: u32,
}

impl<S: Sql> Shard<S> {
    /// Stores pushes that arrived together, in one transaction, and answers each. A push that is refused does not hold
    /// up the others. A storage that fails is the outer error, and everybody's; the shard then has to be opened again. A
    /// repeat of a push of the same group is one.
    pub fn push_all(
        &mut self,
        pushes: Vec<Push>,
        now: TimestampMs,
        instance: &mut Instance,
    ) -> Result<Vec<Result<Pushed, ShardError>>, ShardError> {
        let storage_is_full = self.sql.size_bytes() > SHARD_STORAGE_BYTES_MAX;
        let mut group = Group { storage_is_full, pace: self.pace(now), ..Group::default() };
        let mut answers = Vec::with_capacity(pushes.len());
        for push in pushes {
            match self.accept(push, now, &mut group, instance) {
                Err(error @ ShardError::Storage(_)) => return Err(error),
                answer => answers.push(answer),
            }
        }
        self.commit(group, now, instance)?;
        Ok(answers)
    }

    /// Checks one push and adds it to the group.
    fn accept(
        &mut self,
        push: Push,
        now: TimestampMs,
        group: &mut Group,
        instance: &mut Instance,
    ) -> Result<Pushed, ShardError> {
        let elsewhere =
            if push.way == Way::Part { None } else { self.check_is_here(push.sender.host()).err() };
        if let Some(ShardError::Moved(to)) = elsewhere {
            return Err(ShardError::Moved(to));
        }
        let admitted = self.admit(&push.sender, push.way, push.facts, now)?;
        if let Some(split) = elsewhere {
            // It is listed here too: whoever may not push is refused before anything is sent on.
            self.note(admitted, group);
            return Err(split);
        }
        let host = admitted.record.id;
        let next_push_ms = self.next_push_ms(group.pace, host, now)?;
        let mut answer = Pushed { refused: push.outside_window, next_push_ms, ..Pushed::default() };
        let kept = match push.payload {
            None => None,
            Some(_) if group.storage_is_full => return Err(ShardError::StorageFull),
            Some(Payload::Named(named)) => Some(self.keep_named(host, named, group)?),
            Some(Payload::Listed(listed)) => match self.streams.judge(host, &listed.identity) {
                Arrival::Conflict => {
                    let readings = listed.identity.readings;
                    return Err(ShardError::IdentityConflict { first: readings.first, last: readings.last });
                }
                Arrival::Repeat => {
                    answer.repeated = listed.samples;
                    None
                }
                // Where nothing is left to be stored, nobody needs the list either.
                Arrival::New if listed.samples == 0 => None,
                Arrival::New => Some(self.keep_listed(host, listed, group, instance)?),
            },
        };
        self.note(admitted, group);
        let counters = &mut self.ledger.counters;
        counters.add(Counter::Refused(RefusalReason::OutsideWindow), push.outside_window.into());
        counters.add(Counter::SamplesRepeated, answer.repeated.into());
        if let Some(kept) = kept {
            counters.add(Counter::Refused(RefusalReason::Cardinality), kept.refused.into());
            answer.refused = answer.refused.saturating_add(kept.refused);
            answer.ingested = kept.samples;
            if kept.samples > 0 {
                self.log(host, kept, push.record, now, group);
            }
        }
        Ok(answer)
    }

    fn note(&mut self, admitted: Admitted, group: &mut Group) {
        if admitted.is_changed {
            self.registry.remember(admitted.record.clone());
            group.hosts.insert(admitted.record.id, admitted.record);
        }
    }

    /// Checks that a sender may push, and says what is to be noted of it.
    fn admit(
        &self,
        sender: &Sender,
        way: Way,
        facts: Option<Facts>,
        now: TimestampMs,
    ) -> Result<Admitted, ShardError> {
        let id = sender.host();
        let known = self.registry.get(id).filter(|host| host.state != HostState::Deleted);
        let record = match (sender, known) {
            (Sender::Imported { .. }, Some(host)) => host.clone(),
            (Sender::Imported { .. }, None) if self.registry.get(id).is_some() => {
                return Err(ShardError::UnknownHost);
            }
            (_, Some(host)) if host.state == HostState::Revoked => return Err(ShardError::RevokedHost),
            (Sender::Host { claimed: Some(claimed), .. }, Some(host))
                if *claimed != host.name.as_str() && *claimed != host.id.to_string() =>
            {
                let registered = host.name.to_string();
                return Err(ShardError::HostMismatch { claimed: claimed.clone(), registered });
            }
            (_, Some(host)) => host.clone(),
            (Sender::Host { .. }, None) => return Err(ShardError::UnknownHost),
            // It was moved here, and has not arrived.
            (_, None) if way != Way::Direct && self.registry.get(id).is_none() => {
                return Err(ShardError::UnknownHost);
            }
            (Sender::Named(_) | Sender::Imported { .. }, None)
                if self.registry.active_count() >= SHARD_HOSTS_MAX =>
            {
                return Err(ShardError::Full);
            }
            (Sender::Named(name), None) => {
                return Ok(Admitted::added(id, name, HostState::Active, facts, now));
            }
            (Sender::Imported { name, state, .. }, None) => {
                return Ok(Admitted::added(id, name, *state, facts, now));
            }
        };
        Ok(match facts {
            Some(facts) if facts != record.facts => {
                Admitted { record: HostRecord { facts, catalogued: false, ..record }, is_changed: true }
            }
            _ => Admitted { record, is_changed: false },
        })
    }

    /// All or nothing: a batch with a series too many is refused whole.
    fn keep_named(&mut self, host: HostId, batch: Named, group: &mut Group) -> Result<Kept, ShardError> {
        let Named { samples, series, newest, frame: data } = batch;
        check_size(&data)?;
        let Growth { grown, refused } = self.series_limit.growth(&self.sql, host, &series)?;
        if !refused.is_empty() {
            return Err(ShardError::TooManySeries);
        }
        self.grow(host, grown, group);
        Ok(Kept { samples, newest, identity: None, form: Form::Named, data, refused: 0 })
    }

    fn keep_listed(
        &mut self,
        host: HostId,
        push: Listed,
        group: &mut Group,
        instance: &mut Instance,
    ) -> Result<Kept, ShardError> {
        let Listed { samples, identity, dictionary: id, series, newest, columns } = push;
        check_size(&columns)?;
        let has_place = self.dictionaries.has(host, id);
        let stored = if has_place { Some(instance.dictionaries.get(&self.sql, host, id)) } else { None };
        let (list, is_known) = match stored {
            Some(Ok(list)) => (list, true),
            Some(Err(DictionaryError::Sql(error))) => return Err(error.into()),
            stored => {
                // One that is damaged is asked for again, and overwritten.
                self.complaints.extend(stored.and_then(Result::err).map(|error| error.to_string()));
                (Rc::new(Dictionary::new(series.ok_or(ShardError::UnknownDictionary)?)), false)
            }
        };
        if list.series().len() != newest.len() {
            let (columns, series) = (newest.len() as u64, list.series().len() as u64);
            return Err(ShardError::Shape { columns, series });
        }
        let headlines = list.headlines().values(|at| newest.get(at).copied().flatten());
        let kept = |form, data, samples, refused| Kept {
            samples,
            newest: headlines,
            identity: Some(identity),
            form,
            data,
            refused,
        };
        if is_known {
            return Ok(kept(Form::Listed(id), columns, samples, 0));
        }
        let series: Vec<Fingerprint> = list.series().iter().map(fingerprint).collect();
        let Growth { grown, refused } = self.series_limit.growth(&self.sql, host, &series)?;
        self.grow(host, grown, group);
        let has_place = has_place || self.dictionaries.count(host) < HOST_DICTIONARIES_MAX;
        if refused.is_empty() && has_place {
            self.dictionaries.note(host, id);
            instance.dictionaries.keep(id, &list);
            group.dictionaries.push((host, id, list));
            return Ok(kept(Form::Listed(id), columns, samples, 0));
        }
        // A list that is not kept: what there is room for is stored with its names.
        let (data, stored) = with_names(&list, &columns, &refused, instance)?;
        Ok(kept(Form::Named, data, stored, samples.saturating_sub(stored)))
    }

    fn grow(&mut self, host: HostId, grown: Option<BTreeSet<Fingerprint>>, group: &mut Group) {
        if let Some(grown) = grown {
            self.series_limit.remember(host, grown.clone());
            group.series.insert(host, grown);
        }
    }

    /// Adds samples to what the group writes to the log.
    fn log(
        &mut self,
        host: HostId,
        kept: Kept,
        record: Option<Record>,
        received: TimestampMs,
        group: &mut Group,
    ) {
        let Kept { samples, newest, identity, form, data, .. } = kept;
        if let Some(identity) = &identity {
            self.streams.record(host, identity, form.list(), received);
        }
        if let Some(id) = form.list() {
            self.dictionaries.note_use(host, id, self.wal.partition_at(received));
        }
        self.ledger.counters.add(Counter::SamplesIngested, samples.into());
        self.ledger.counters.add(Counter::BatchesIngested, 1);
        self.ledger.pushes_since_summary = self.ledger.pushes_since_summary.saturating_add(1);
        group.pushes.push((PushKeys { host, received, samples, newest, identity, form, record }, data));
    }

    /// Writes a group in one transaction; then readers see it.
    fn commit(&mut self, group: Group, now: TimestampMs, instance: &mut Instance) -> Result<(), ShardError> {
        if group.is_empty() {
            return Ok(());
        }
        if !group.pushes.is_empty() {
            self.ledger.version = self.ledger.version.saturating_add(1);
        }
        self.count_rows();
        let hour: Hour = self.wal.partition_at(now);
        let (sql, wal, ledger) = (&self.sql, &mut self.wal, &self.ledger);
        let mut places = Vec::new();
        in_transaction(sql, || {
            group.hosts.values().try_for_each(|host| Registry::store(sql, host))?;
            group.series.iter().try_for_each(|(host, known)| SeriesLimit::store(sql, *host, known))?;
            for (host, id, list) in &group.dictionaries {
                Dictionaries::store(sql, *host, *id, list)?;
            }
            if !group.pushes.is_empty() {
                places = wal.append(sql, hour, &group.pushes, ledger)?;
            }
            Ok(())
        })?;

        if !group.pushes.is_empty() {
            self.durable = self.ledger.counters.clone();
        }
        for ((keys, data), (place, record)) in group.pushes.iter().zip(places) {
            self.wal.remember(keys.host, place);
            record.into_iter().for_each(|record| self.records.note(keys.host, record));
            self.show(keys, data, instance);
        }
        Ok(())
    }

    /// Brings what readers see up to date with a push that is durable now.
    fn show(&mut self, keys: &PushKeys, data: &[u8], instance: &mut Instance) {
        let host = keys.host;
        let (inflater, dictionaries) = (&mut instance.inflater, &mut instance.dictionaries);
        let sql = &self.sql;
        instance.heads.update(self.number, host, || match keys.form {
            Form::Named => frame::decode(data, inflater).ok(),
            Form::Listed(id) => {
                let list = dictionaries.get(sql, host, id).ok()?;
                Some(named(&list, decode_columns(data, HOST_SERIES_MAX, BATCH_SAMPLES_MAX).ok()?))
            }
        });
        if let Some(newest) = &mut self.newest {
            newest.entry(host).or_default().update(keys.received, &keys.newest);
        }
    }
}

struct Admitted {
    record: HostRecord,
    is_changed: bool,
}

impl Admitted {
    /// A host that was not known.
    fn added(id: HostId, name: &HostName, state: HostState, facts: Option<Facts>, now: TimestampMs) -> Self {
        let record = HostRecord::new(id, name.clone(), facts.unwrap_or_default(), Vec::new(), now);
        Self { record: HostRecord { state, ..record }, is_changed: true }
    }
}

fn check_size(data: &[u8]) -> Result<(), ShardError> {
    if data.len() > ROW_BYTES_MAX.saturating_sub(ROW_KEYS_BYTES) {
        return Err(ShardError::RowTooLarge(format!("{} bytes", data.len())));
    }
    Ok(())
}

/// Samples with their names, but for those of some series; and how many.
fn with_names(
    list: &Dictionary,
    columns: &[u8],
    refused: &BTreeSet<Fingerprint>,
    instance: &mut Instance,
) -> Result<(Vec<u8>, u32), ShardError> {
    let unreadable = |error: &dyn std::fmt::Display| ShardError::Corrupt(error.to_string());
    let columns =
        decode_columns(columns, HOST_SERIES_MAX, BATCH_SAMPLES_MAX).map_err(|error| unreadable(&error))?;
    let mut series: Vec<SeriesSamples> = named(list, columns);
    series.retain(|entry| !refused.contains(&fingerprint(&entry.series)));
    let samples = series.iter().map(|entry| entry.samples.len()).fold(0, usize::saturating_add);
    let data = frame::encode_series(&series, &mut instance.deflater).map_err(|error| unreadable(&error))?;
    check_size(&data)?;
    Ok((data, u32::try_from(samples).unwrap_or(u32::MAX)))
}
