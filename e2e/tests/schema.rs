//! A catalogue of an earlier version comes to the current one, and keeps what it knows.

use edgewatch_e2e::{edgewatch::Edgewatch, samples::sample};
use edgewatch_shared::wire::RebuildReply;
use rusqlite::Connection;

/// The first version, as it was.
const FIRST: &str = include_str!("../fixtures/schema-1.sql");

/// Every column of every table of ours: table, name, type, whether it may be NULL.
fn columns(database: &Connection) -> Vec<(String, String, String, bool)> {
    let select = "SELECT m.name, c.name, c.type, c.\"notnull\" FROM sqlite_master m, pragma_table_info(m.name) c \
                  WHERE m.type = 'table' AND m.name NOT LIKE '\\_cf%' ESCAPE '\\' ORDER BY m.name, c.cid";
    let mut select = database.prepare(select).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    select.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// Puts the tables of the first version in the place of today's, with what they could have held.
fn turn_back(database: &Connection) {
    let keep = "CREATE TEMP TABLE kept_hosts AS SELECT * FROM hosts; \
                CREATE TEMP TABLE kept_placements AS SELECT * FROM placements; \
                DROP TABLE meta; DROP TABLE hosts; DROP TABLE placements; DROP TABLE summaries; DROP TABLE blocks; \
                DROP TABLE settings; DROP TABLE enrollments;";
    let fill = "INSERT INTO hosts SELECT * FROM kept_hosts; INSERT INTO placements SELECT * FROM kept_placements; \
                INSERT INTO summaries (shard, at_ms, data) VALUES (0, 0, '{}');";
    [keep, FIRST, fill].into_iter().for_each(|statements| database.execute_batch(statements).unwrap());
}

fn version(database: &Connection) -> String {
    database.query_row("SELECT value FROM meta WHERE key = 'schema_version'", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_catalogue_of_an_earlier_version_is_brought_up_to_date_and_one_of_a_later_version_is_let_be() {
    let mut server = Edgewatch::start("schema");
    let api = server.client().clone();
    let host = api.enroll("enrolled");
    server.stop();
    let database = server.catalogue();
    let (today, current) = (columns(&database), version(&database));
    drop(database);
    // Some of the second version have today's columns.
    for (name, expected) in [("1", current.as_str()), ("2", &current), ("99", "99")] {
        let database = server.catalogue();
        if name == "1" {
            turn_back(&database);
        } else {
            database.execute("UPDATE meta SET value = ?1", [name]).unwrap();
        }
        drop(database);
        server.resume();
        let api = server.client().clone();
        assert_eq!(api.host_names(), ["enrolled"], "{name}");
        api.push_as(&host, &[sample("load_1m", api.now(), 1.0)]);
        assert!(api.has_samples("enrolled", "load_1m"), "{name}");
        // Whatever it says of itself, what is missing is made, and the shard tells it how it is doing.
        api.send(api.admin_request("POST", "/api/v1/catalogue/rebuild")).expect(200);
        let told = api.send(api.admin_request("POST", "/api/v1/catalogue/rebuild?shard=0&step=hosts"));
        assert_eq!(told.expect(200).json::<RebuildReply>().hosts_told, 1, "{name}");
        server.stop();
        let database = server.catalogue();
        assert_eq!((columns(&database), version(&database).as_str()), (today.clone(), expected), "{name}");
        let summaries: i64 =
            database.query_row("SELECT count(*) FROM summaries WHERE day > 0", [], |row| row.get(0)).unwrap();
        assert_eq!(summaries, 1, "{name}");
    }
}
