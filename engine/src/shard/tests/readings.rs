//! What a query reads of the log: damaged pieces, and hosts too large for a head.

use super::*;
use crate::sql::Value;

#[test]
fn a_damaged_push_fails_every_query_of_its_host_that_is_not_content_with_the_rest() {
    let mut world = World::new();
    world.enroll(2).unwrap();
    world.push_from(1, at(0), 3, at(5_000));
    world.push_from(1, at(10_000), 3, at(15_000));
    world.push_from(2, at(0), 3, at(16_000));
    let table = format!("wal_{}", HOUR.hour().0);
    world.sql.exec(&format!("UPDATE {table} SET data = ?1 WHERE seq = 2"), &[Value::Blob(vec![1])]).unwrap();
    world.reopen();
    let read = |n, is_partial| Read {
        hosts: vec![host(n)],
        names: vec!["load_1m".into()],
        labels: Labels::new(),
        from: TimestampMs(i64::MIN),
        to: TimestampMs(i64::MAX),
        evaluation: None,
        is_partial,
    };
    // The second and third time out of the head.
    for _ in 0..3 {
        let refused = world.ask(Request::Read(read(1, false)), HOUR);
        assert!(matches!(&refused, Err(ShardError::Corrupt(why)) if why.contains("row 2")), "{refused:?}");
        let Ok(Reply::Read(reply)) = world.ask(Request::Read(read(1, true)), HOUR) else { panic!() };
        assert_eq!((reply.warnings.len(), reply.parts[0].series[0].samples.len()), (1, 3));
    }
    assert!(matches!(world.ask(Request::Series(read(1, false)), HOUR), Err(ShardError::Corrupt(_))));
    let Ok(Reply::Read(of_other)) = world.ask(Request::Read(read(2, false)), HOUR) else { panic!() };
    assert_eq!((of_other.warnings.len(), of_other.parts.len()), (0, 1));

    // Of a row without keys nobody can say whose it is.
    world.sql.exec(&format!("UPDATE {table} SET keys = ?1 WHERE seq = 2"), &[Value::Blob(vec![1])]).unwrap();
    world.reopen();
    for n in [1, 2] {
        assert!(matches!(world.ask(Request::Read(read(n, false)), HOUR), Err(ShardError::Corrupt(_))));
        let Ok(Reply::Read(reply)) = world.ask(Request::Read(read(n, true)), HOUR) else { panic!() };
        assert_eq!(reply.warnings.len(), 1);
    }
    // Sealed, it is set aside, and what is left is whole.
    world.seal(at(2 * HOUR_MS));
    assert_eq!(world.read_all().len(), 3);
}

#[test]
fn a_host_too_large_for_a_head_leaves_no_other_head_beside_it() {
    let mut world = World::new();
    world.enroll(2).unwrap();
    world.instance.heads = HeadRegistry::new(10_000);
    world.push_from(1, at(0), 300, at(600_000));
    for part in 0..3 {
        world.push_from(2, at(part * 300_000), 300, at(600_000));
    }
    assert_eq!(world.read_all().len(), 300);
    assert!(world.instance.heads.bytes() > 0);
    let read = Read {
        hosts: vec![host(2)],
        names: vec!["load_1m".into()],
        labels: Labels::new(),
        from: at(0),
        to: at(299_999),
        evaluation: None,
        is_partial: false,
    };
    let Ok(Reply::Read(reply)) = world.ask(Request::Read(read), HOUR) else { panic!() };
    assert_eq!(reply.parts[0].series[0].samples.len(), 300);
    assert_eq!(world.instance.heads.bytes(), 0);
}
