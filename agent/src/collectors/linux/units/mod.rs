//! Units of systemd: which have failed, and whether those that are watched are active.

mod bus;
mod message;

use super::patient::{ASK_EVERY_MS, Answer, Patient};
use crate::{
    collectors::{CollectError, Collector, Reading},
    os_clock,
};
use bus::{Bus, BusError};
use message::UnitState;
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["systemd_unit_active", "systemd_unit_failed", "systemd_units_failed"];

/// Failed units that are named. Reason: if there are more, the number is what counts.
const NAMED_MAX: usize = 20;
/// How long systemd may take to answer. Reason: it walks through all its units.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the name of a unit ends with (`man 5 systemd.unit`).
const KINDS: [&str; 11] = [
    "automount",
    "device",
    "mount",
    "path",
    "scope",
    "service",
    "slice",
    "socket",
    "swap",
    "target",
    "timer",
];
/// Bytes of a unit's name: systemd's own limit.
const NAME_BYTES_MAX: usize = 255;

/// Reads units.
pub struct Units {
    /// Whether systemd runs this host (`man 3 sd_booted`).
    is_booted: bool,
    question: Question,
    /// What was to be watched, and is the name of no unit.
    misnamed: Option<String>,
    patient: Patient<Told, Question>,
    told: Option<(i64, Answer<Told>)>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
struct Question {
    socket: PathBuf,
    watched: Vec<String>,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what systemd says of its units")
    }
}

/// What is answered, and why that is not all.
type Told = (Vec<Reading>, Result<(), CollectError>);

impl Units {
    /// A collector that watches these units.
    pub fn new(watched: Vec<String>) -> Self {
        let mut names = Vec::new();
        let mut misnamed = None;
        for text in watched {
            match unit_name(&text) {
                Some(name) if names.contains(&name) => {}
                Some(name) => names.push(name),
                None => misnamed = Some(text),
            }
        }
        Self {
            is_booted: Path::new("/run/systemd/system").is_dir(),
            question: Question { socket: "/run/dbus/system_bus_socket".into(), watched: names },
            misnamed,
            patient: Patient::with_patience(ask, PATIENCE),
            told: None,
        }
    }

    fn is_recent(&self, now_ms: i64) -> bool {
        self.told.as_ref().is_some_and(|(asked_ms, _)| now_ms.saturating_sub(*asked_ms) < ASK_EVERY_MS)
    }

    fn answer(&mut self, now_ms: i64) -> Answer<Told> {
        match &self.told {
            Some((_, told)) if self.is_recent(now_ms) => told.clone(),
            _ => self.told.insert((now_ms, self.patient.ask_one(&self.question))).1.clone(),
        }
    }
}

impl Collector for Units {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let now_ms = os_clock::running_ms();
        let nobody_asks = self.question.watched.is_empty() && self.misnamed.is_none();
        let has_bus = || self.is_recent(now_ms) || self.question.socket.exists();
        // Another init, or a host without a bus, of which nobody asked for a unit.
        if !self.is_booted || (nobody_asks && !has_bus()) {
            return Ok(());
        }
        let (told, result) = self.answer(now_ms)?;
        readings.extend(told);
        result?;
        match &self.misnamed {
            Some(text) => Err(CollectError::unreadable(&format!("the unit {text}"), "no unit is named so")),
            None => Ok(()),
        }
    }
}

/// The name of the unit that is meant: `nginx` is `nginx.service`, as `systemctl` has it. `None` for what can be no name,
/// as a pattern or a template.
fn unit_name(text: &str) -> Option<String> {
    let has_kind = text.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind));
    let name = if has_kind { text.to_owned() } else { format!("{text}.service") };
    let (stem, _) = name.rsplit_once('.')?;
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let is_name = !stem.is_empty() && !stem.starts_with('@') && !stem.ends_with('@');
    (is_name && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_legal)).then_some(name)
}

/// Asks over a connection of its own.
fn ask(question: &Question) -> Answer<Told> {
    let unreadable = |error: BusError| CollectError::unreadable(&question.to_string(), error);
    let mut bus = Bus::connect(&question.socket).map_err(unreadable)?;
    let mut readings = failed_samples(&bus.units("ListUnitsFiltered", &["failed"]).map_err(unreadable)?);
    let watched = watched_units(&mut bus, &question.watched).map_err(unreadable);
    let result = watched.map(|units| readings.extend(watched_samples(&units)));
    Ok((readings, result))
}

/// The states of units, under the names by which they are watched: `sshd.service` is known to Debian as `ssh.service`.
fn watched_units(bus: &mut Bus, watched: &[String]) -> Result<Vec<UnitState>, BusError> {
    if watched.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = watched.iter().map(String::as_str).collect();
    let told = match bus.units("ListUnitsByNames", &names) {
        // Before its version 230 systemd does not know that, but all that are loaded; one that is not is not active.
        Err(BusError::Refused(_)) => bus.units("ListUnitsFiltered", &[])?,
        // As many as were asked for come in their order.
        Ok(told) if told.len() == names.len() => {
            let named = |(unit, name): (UnitState, &String)| UnitState { name: name.clone(), ..unit };
            return Ok(told.into_iter().zip(watched).map(named).collect());
        }
        told => told?,
    };
    let state = |name: &String| {
        let unit = told.iter().find(|unit| unit.name == *name);
        let active = unit.map_or("inactive", |unit| unit.active.as_str()).to_owned();
        UnitState { name: name.clone(), active }
    };
    Ok(watched.iter().map(state).collect())
}

/// The samples of the units that have failed.
fn failed_samples(failed: &[UnitState]) -> Vec<Reading> {
    let mut samples = vec![Reading::plain("systemd_units_failed", failed.len() as f64)];
    let named = failed.iter().take(NAMED_MAX);
    samples.extend(named.map(|unit| Reading::labelled("systemd_unit_failed", "unit", &unit.name, 1.0)));
    samples
}

/// The samples of those that are watched. A service that reloads its configuration is at work meanwhile.
fn watched_samples(watched: &[UnitState]) -> impl Iterator<Item = Reading> {
    watched.iter().map(|unit| {
        let is_active = matches!(unit.active.as_str(), "active" | "reloading");
        Reading::labelled("systemd_unit_active", "unit", &unit.name, f64::from(u8::from(is_active)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::linux::patient::tests::{LONG, stuck_socket};
    use message::tests::fake_bus;

    fn unit(name: &str, active: &str) -> UnitState {
        UnitState { name: name.into(), active: active.into() }
    }

    fn of(name: &'static str, unit: &str, value: f64) -> Reading {
        Reading::labelled(name, "unit", unit, value)
    }

    /// A collector on a booted systemd whose bus is at `bus` in `dir`.
    fn units(dir: &Path, watched: &[&str]) -> Units {
        let mut units = Units::new(watched.iter().map(|name| (*name).to_owned()).collect());
        units.is_booted = true;
        units.question.socket = dir.join("bus");
        units.patient = Patient::with_patience(ask, LONG);
        units
    }

    #[test]
    fn failed_units_are_counted_and_named_and_watched_ones_told() {
        let failed = failed_samples(&[unit("a.service", "failed")]);
        let expected =
            [Reading::plain("systemd_units_failed", 1.0), of("systemd_unit_failed", "a.service", 1.0)];
        assert_eq!(failed, expected);
        for (state, value) in [("active", 1.0), ("inactive", 0.0), ("reloading", 1.0), ("failed", 0.0)] {
            let told: Vec<Reading> = watched_samples(&[unit("b.timer", state)]).collect();
            assert_eq!(told, [of("systemd_unit_active", "b.timer", value)], "{state}");
        }
    }

    #[test]
    fn at_most_twenty_failed_units_are_named_and_all_are_counted() {
        for (failed, named) in [(NAMED_MAX, NAMED_MAX), (NAMED_MAX + 1, NAMED_MAX)] {
            let units: Vec<UnitState> = (0..failed).map(|n| unit(&n.to_string(), "failed")).collect();
            let samples = failed_samples(&units);
            assert_eq!((samples[0].value, samples.len()), (failed as f64, 1 + named));
        }
    }

    #[test]
    fn a_name_is_completed_as_systemctl_does_and_what_is_none_is_refused() {
        for (text, name) in [
            ("nginx", "nginx.service"),
            ("nginx.service", "nginx.service"),
            ("my.app", "my.app.service"),
            ("backup.timer", "backup.timer"),
            ("getty@tty1", "getty@tty1.service"),
            ("dev-disk-by\\x2dlabel-a.swap", "dev-disk-by\\x2dlabel-a.swap"),
        ] {
            assert_eq!(unit_name(text).as_deref(), Some(name), "{text}");
        }
        for text in ["", ".service", "ngin*", "a b", "getty@", "getty@.service", "@a.service", "ünit"] {
            assert_eq!(unit_name(text), None, "{text}");
        }
        let longest = "a".repeat(NAME_BYTES_MAX - ".service".len());
        assert!(unit_name(&longest).is_some() && unit_name(&format!("{longest}a")).is_none());
    }

    #[test]
    fn a_bus_is_asked_now_and_then_and_its_answer_repeated() {
        let dir = tempfile::tempdir().unwrap();
        // As Debian's systemd answers: with a unit's own name, in the order of the question.
        let asked = fake_bus(&dir.path().join("bus"), 2, |member, _| match member {
            "ListUnitsFiltered" => Some(vec![("broken.service", "failed")]),
            "ListUnitsByNames" => Some(vec![("ssh.service", "active"), ("web.service", "inactive")]),
            _ => Some(Vec::new()),
        });
        let mut units = units(dir.path(), &["sshd.service", "web", "web.service"]);
        let expected = [
            Reading::plain("systemd_units_failed", 1.0),
            of("systemd_unit_failed", "broken.service", 1.0),
            of("systemd_unit_active", "sshd.service", 1.0),
            of("systemd_unit_active", "web.service", 0.0),
        ];
        for now_ms in [0, ASK_EVERY_MS - 1, ASK_EVERY_MS] {
            let (told, result) = units.answer(now_ms).unwrap();
            assert_eq!((told.as_slice(), result.is_ok()), (&expected[..], true), "{now_ms}");
        }
        let once = ["Hello", "ListUnitsFiltered", "ListUnitsByNames"];
        assert_eq!(asked.join().unwrap(), [once, once].concat());
    }

    #[test]
    fn a_systemd_that_is_not_asked_by_name_is_asked_for_all() {
        let dir = tempfile::tempdir().unwrap();
        // As systemd 219 of CentOS 7 does.
        let asked = fake_bus(&dir.path().join("bus"), 1, |member, list_bytes| match (member, list_bytes) {
            ("ListUnitsByNames", _) => None,
            ("ListUnitsFiltered", 0) => Some(vec![("-.mount", "active"), ("web.service", "active")]),
            _ => Some(Vec::new()),
        });
        let (told, result) = units(dir.path(), &["db", "web"]).answer(0).unwrap();
        let (db, web) =
            (of("systemd_unit_active", "db.service", 0.0), of("systemd_unit_active", "web.service", 1.0));
        assert_eq!(told, [Reading::plain("systemd_units_failed", 0.0), db, web]);
        assert!(result.is_ok());
        assert_eq!(asked.join().unwrap().len(), 4);
    }

    #[test]
    fn failed_units_are_told_even_if_the_watched_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let asked = fake_bus(&dir.path().join("bus"), 1, |member, list_bytes| {
            (member == "Hello" || list_bytes > 0 && member == "ListUnitsFiltered").then(Vec::new)
        });
        let (told, result) = units(dir.path(), &["web"]).answer(0).unwrap();
        assert_eq!(told, [Reading::plain("systemd_units_failed", 0.0)]);
        assert!(result.unwrap_err().to_string().contains("refuses"));
        asked.join().unwrap();
    }

    #[test]
    fn a_name_that_is_none_costs_itself_only() {
        let dir = tempfile::tempdir().unwrap();
        let asked = fake_bus(&dir.path().join("bus"), 1, |member, _| match member {
            "ListUnitsByNames" => Some(vec![("web.service", "active")]),
            _ => Some(Vec::new()),
        });
        let mut readings = Vec::new();
        let error = units(dir.path(), &["web", "ngin*"]).collect(&mut readings).unwrap_err().to_string();
        assert!(error.contains("ngin*"), "{error}");
        assert_eq!(readings.last(), Some(&of("systemd_unit_active", "web.service", 1.0)));
        asked.join().unwrap();
    }

    #[test]
    fn a_bus_that_accepts_nobody_costs_a_moment_and_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let mut units = units(dir.path(), &["web"]);
        units.patient = Patient::with_patience(ask, Duration::from_millis(1));
        let _stuck = stuck_socket(&units.question.socket);
        let mut error = |now_ms| units.answer(now_ms).unwrap_err().to_string();
        for now_ms in [0, ASK_EVERY_MS - 1] {
            assert!(error(now_ms).contains("does not answer"), "{now_ms}");
        }
        assert!(error(ASK_EVERY_MS).contains("not been answered yet"));
    }

    #[test]
    fn a_bus_that_is_not_there_is_a_failure_only_if_units_are_watched() {
        let dir = tempfile::tempdir().unwrap();
        let collect = |is_booted, watched: &[&str]| {
            let mut units = units(dir.path(), watched);
            units.is_booted = is_booted;
            units.collect(&mut Vec::new()).is_ok()
        };
        assert!(collect(true, &[]));
        assert!(!collect(true, &["web.service"]));
        assert!(collect(false, &["web.service"]));
    }
}
