//! Rows and what is in them, by both sides of their limit, and when they are damaged.

use super::*;
use crate::{
    compression::{Deflater, Inflater},
    dictionaries::DictionaryCache,
    frame::{self, tests::batch},
    rusqlite_sql::TestSql,
};
use edgewatch_shared::limits::HOUR_MS;
use std::ops::ControlFlow;

/// 2026-09-21T14:00:00Z, the start of an hour.
const HOUR: TimestampMs = TimestampMs(1_790_000_000_000 - 1_790_000_000_000 % HOUR_MS);

fn host(n: u8) -> HostId {
    HostId::new(3, [n; 14])
}

fn keys(n: u8) -> PushKeys {
    let newest = Vec::new();
    PushKeys {
        host: host(n),
        received: HOUR,
        samples: 1,
        newest,
        identity: None,
        form: Form::Named,
        record: None,
    }
}

/// A push of one sample that lies so many seconds after the hour's start.
fn push(n: u8, second: i64) -> (PushKeys, Vec<u8>) {
    let batch = batch("load_1m", HOUR.plus_ms(second * 1_000), 1);
    (keys(n), frame::encode_series(batch.series(), &mut Deflater::default()).unwrap())
}

fn append(wal: &mut Wal, sql: &TestSql, pushes: &[(PushKeys, Vec<u8>)]) -> Result<Vec<i64>, WalError> {
    let places = wal.append(sql, HOUR.hour(), pushes, &Ledger::default())?;
    for ((keys, _), (place, _)) in pushes.iter().zip(&places) {
        wal.remember(keys.host, *place);
    }
    Ok(places.into_iter().map(|(place, _)| place.seq).collect())
}

/// Seconds of all samples of a host, and how many pushes did not decode.
fn read(wal: &Wal, sql: &TestSql, n: u8) -> (Vec<i64>, usize) {
    let mut decoding =
        Decoding { inflater: &mut Inflater::default(), dictionaries: &mut DictionaryCache::new(1 << 20) };
    let mut seconds = Vec::new();
    let unreadable = wal.for_each_of_host(sql, host(n), &mut decoding, &mut |samples| {
        let all = samples.into_iter().flat_map(|series| series.samples);
        seconds.extend(all.map(|sample| (sample.time.0 - HOUR.0) / 1_000));
        ControlFlow::Continue(())
    });
    (seconds, unreadable.unwrap().len())
}

#[test]
fn pushes_of_a_group_share_a_row_and_each_host_finds_its_own() {
    let sql = TestSql::new();
    let mut wal = Wal::open(&sql).unwrap();
    assert_eq!(append(&mut wal, &sql, &[push(1, 0), push(2, 1), push(1, 2)]), Ok(vec![1, 1, 1]));
    assert_eq!(append(&mut wal, &sql, &[push(2, 3)]), Ok(vec![2]));
    let mut again = Wal::open(&sql).unwrap();
    let mut recovered = 0;
    again.recover(&sql, &mut |_| recovered += 1).unwrap();
    assert_eq!(again.unreadable(), []);
    assert_eq!(recovered, 4);
    assert_eq!(again, wal);
    // A log that remembers no places looks for them.
    let mut forgetful = Wal::open(&sql).unwrap();
    forgetful.index = Index::new(0);
    forgetful.recover(&sql, &mut |_| ()).unwrap();
    for wal in [wal, again, forgetful] {
        assert_eq!(read(&wal, &sql, 1), (vec![0, 2], 0));
        assert_eq!(read(&wal, &sql, 2), (vec![1, 3], 0));
        assert_eq!(read(&wal, &sql, 3), (vec![], 0));
    }
}

#[test]
fn a_row_holds_so_many_bytes_and_one_more_goes_into_the_next() {
    let sql = TestSql::new();
    let mut wal = Wal::open(&sql).unwrap();
    let rows = |bytes| [(keys(1), vec![0; 1_000_000]), (keys(2), vec![0; bytes])];
    let fits = |bytes| {
        let row = &keys::rows(&rows(bytes), ROW_BYTES_MAX).unwrap()[0];
        row.extents.len() == 2
    };
    let largest = (800_000..900_000).rev().find(|bytes| fits(*bytes)).unwrap();
    let row = &keys::rows(&rows(largest), ROW_BYTES_MAX).unwrap()[0];
    assert!((ROW_BYTES_MAX - 20..=ROW_BYTES_MAX).contains(&(row.keys.len() + row.data.len())));
    let ledger_bytes = postcard::to_allocvec(&Ledger::default()).unwrap().len();
    assert_eq!(append(&mut wal, &sql, &rows(largest - ledger_bytes)), Ok(vec![1, 1]));
    assert_eq!(append(&mut wal, &sql, &rows(largest - ledger_bytes + 1)), Ok(vec![2, 3]));
    let longest = "SELECT max(length(keys) + length(ledger) + length(data)) FROM wal_".to_owned();
    let row = sql.exec(&format!("{longest}{}", HOUR.hour().0), &[]).unwrap().remove(0);
    assert!(row[0].clone().integer().unwrap() as usize <= ROW_BYTES_MAX);
    let alone = append(&mut wal, &sql, &[(keys(1), vec![0; ROW_BYTES_MAX])]);
    assert!(matches!(alone, Err(WalError::RowTooLarge(bytes)) if bytes > ROW_BYTES_MAX), "{alone:?}");
}

#[test]
fn a_damaged_push_is_set_aside_and_the_others_are_read() {
    let sql = TestSql::new();
    let mut wal = Wal::open(&sql).unwrap();
    append(&mut wal, &sql, &[push(1, 0), push(2, 1)]).unwrap();
    append(&mut wal, &sql, &[push(1, 2)]).unwrap();
    append(&mut wal, &sql, &[push(1, 3)]).unwrap();
    let table = format!("wal_{}", HOUR.hour().0);
    let update = |set: &str, seq: i64| {
        sql.exec(&format!("UPDATE {table} SET {set} WHERE seq = {seq}"), &[]).unwrap();
    };
    update("data = CAST(x'07' || substr(data, 2) AS BLOB)", 1);
    assert_eq!(read(&wal, &sql, 1), (vec![2, 3], 1));
    assert_eq!(read(&wal, &sql, 2), (vec![1], 0));
    update("data = substr(data, 1, 5)", 2);
    assert_eq!(read(&wal, &sql, 1), (vec![3], 2));
    update("keys = CAST(x'05' || substr(keys, 2) AS BLOB)", 3);
    update("ledger = x''", 3);
    let mut again = Wal::open(&sql).unwrap();
    again.recover(&sql, &mut |_| ()).unwrap();
    let unreadable = again.unreadable().to_vec();
    assert_eq!(unreadable.len(), 1);
    assert!(unreadable[0].to_string().contains("version 5"), "{}", unreadable[0]);
    assert_eq!(read(&again, &sql, 1), (vec![], 2));
    assert_eq!(again.newest_ledger(&sql), Ok(Some(Ledger::default())));
    let raw = Wal::raw(&sql, &unreadable[0]).unwrap();
    assert_eq!(raw[0], 5);
}

#[test]
fn a_row_of_an_older_release_is_refused_by_its_version() {
    // It began with the time of arrival.
    let old = postcard::to_allocvec(&(HOUR, 1u32, Vec::<(String, f64)>::new())).unwrap();
    let error = keys::decode(HOUR.hour(), 1, &old).unwrap_err();
    assert!(error.contains("this release reads"), "{error}");
}

#[test]
fn many_pushes_are_read_in_their_order() {
    let sql = TestSql::new();
    let mut wal = Wal::open(&sql).unwrap();
    for second in 0..450 {
        append(&mut wal, &sql, &[push(1, second), push(2, 500)]).unwrap();
    }
    assert_eq!(read(&wal, &sql, 1), ((0..450).collect(), 0));
}

#[test]
fn what_the_release_before_wrote_is_read() {
    let sql = TestSql::new();
    let mut wal = Wal::open(&sql).unwrap();
    append(&mut wal, &sql, &[push(1, 0), push(2, 1)]).unwrap();
    // Its rows had neither records nor a place for them.
    let list: Vec<(PushKeys, u32)> =
        [push(1, 0), push(2, 1)].map(|(keys, data)| (keys, data.len() as u32)).into();
    let keys = [vec![3], postcard::to_allocvec(&list).unwrap()].concat();
    let update = format!("UPDATE {PREFIX}{} SET keys = ?1", HOUR.hour().0);
    sql.exec(&update, &[Value::Blob(keys)]).unwrap();
    let mut again = Wal::open(&sql).unwrap();
    assert_eq!(again.recover(&sql, &mut |push| assert_eq!(push.record, None)), Ok(()));
    assert_eq!((read(&again, &sql, 1), read(&again, &sql, 2)), ((vec![0], 0), (vec![1], 0)));
}
