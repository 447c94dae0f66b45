//! Units of systemd: which have failed, and whether those that are watched are active.

mod bus;
mod message;

use crate::{
    collectors::{CollectError, Collector, Reading},
    os_clock,
};
use bus::{Bus, BusError};
use message::UnitState;
use std::path::{Path, PathBuf};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["systemd_unit_active", "systemd_unit_failed", "systemd_units_failed"];

/// Failed units that are named. Reason: if there are more, the number is what counts.
const NAMED_MAX: usize = 20;
/// Milliseconds between two questions. Reason: systemd walks through all its units to answer.
const ASK_EVERY_MS: i64 = 30_000;

/// Reads units. Asked less often than the rest, it repeats its last answer in between.
pub struct Units {
    watched: Vec<String>,
    booted: PathBuf,
    socket: PathBuf,
    bus: Option<Bus>,
    told: Option<(i64, Vec<Reading>)>,
}

impl Units {
    /// A collector that watches these units.
    pub fn new(watched: Vec<String>) -> Self {
        Self {
            watched,
            booted: "/run/systemd/system".into(),
            socket: "/run/dbus/system_bus_socket".into(),
            bus: None,
            told: None,
        }
    }

    /// Asks over the connection that there is, or a new one. After a fault the next round begins anew.
    fn ask(&mut self) -> Result<Vec<Reading>, BusError> {
        let mut bus = match self.bus.take() {
            Some(bus) => bus,
            None => Bus::connect(&self.socket)?,
        };
        let failed = bus.units("ListUnitsFiltered", &["failed"])?;
        let names: Vec<&str> = self.watched.iter().map(String::as_str).collect();
        let watched = if names.is_empty() { Vec::new() } else { bus.units("ListUnitsByNames", &names)? };
        self.bus = Some(bus);
        Ok(samples(&failed, &watched))
    }

    fn answer(&mut self, now_ms: i64) -> Result<Vec<Reading>, CollectError> {
        match &self.told {
            Some((asked_ms, samples)) if now_ms.saturating_sub(*asked_ms) < ASK_EVERY_MS => {
                Ok(samples.clone())
            }
            _ => {
                let samples =
                    self.ask().map_err(|error| CollectError::unreadable("the units of systemd", error))?;
                self.told = Some((now_ms, samples.clone()));
                Ok(samples)
            }
        }
    }
}

impl Collector for Units {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        // Another init, or a host without a bus, of which nobody asked for a unit.
        if !is_there(&self.booted) || (!is_there(&self.socket) && self.watched.is_empty()) {
            return Ok(());
        }
        let answer = self.answer(os_clock::running_ms());
        if answer.is_err() {
            self.told = None;
        }
        readings.extend(answer?);
        Ok(())
    }
}

fn is_there(path: &Path) -> bool {
    path.exists()
}

/// The samples of the units that have failed and of those that are watched.
fn samples(failed: &[UnitState], watched: &[UnitState]) -> Vec<Reading> {
    let mut samples = vec![Reading::plain("systemd_units_failed", failed.len() as f64)];
    let of = |name, unit: &UnitState, value| Reading::labelled(name, "unit", &unit.name, value);
    samples.extend(failed.iter().take(NAMED_MAX).map(|unit| of("systemd_unit_failed", unit, 1.0)));
    samples.extend(watched.iter().map(|unit| {
        // A service that reloads its configuration is at work meanwhile.
        let is_active = matches!(unit.active.as_str(), "active" | "reloading");
        of("systemd_unit_active", unit, f64::from(u8::from(is_active)))
    }));
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use message::tests::fake_bus;

    fn unit(name: &str, active: &str) -> UnitState {
        UnitState { name: name.into(), active: active.into() }
    }

    #[test]
    fn failed_units_are_counted_and_named_and_watched_ones_told() {
        let failed = [unit("a.service", "failed")];
        let watched = [unit("b.service", "active"), unit("c.service", "inactive"), unit("d", "reloading")];
        let of = |name, unit, value| Reading::labelled(name, "unit", unit, value);
        assert_eq!(
            samples(&failed, &watched),
            [
                Reading::plain("systemd_units_failed", 1.0),
                of("systemd_unit_failed", "a.service", 1.0),
                of("systemd_unit_active", "b.service", 1.0),
                of("systemd_unit_active", "c.service", 0.0),
                of("systemd_unit_active", "d", 1.0),
            ]
        );
    }

    #[test]
    fn at_most_twenty_failed_units_are_named_and_all_are_counted() {
        for (failed, named) in [(NAMED_MAX, NAMED_MAX), (NAMED_MAX + 1, NAMED_MAX)] {
            let units: Vec<UnitState> = (0..failed).map(|n| unit(&n.to_string(), "failed")).collect();
            let samples = samples(&units, &[]);
            assert_eq!((samples[0].value, samples.len()), (failed as f64, 1 + named));
        }
    }

    #[test]
    fn a_bus_is_asked_once_and_its_answer_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("bus");
        let asked = fake_bus(&socket);
        let mut units =
            Units { booted: dir.path().into(), socket, ..Units::new(vec!["web.service".to_owned()]) };
        let of = |name, unit, value| Reading::labelled(name, "unit", unit, value);
        let expected = [
            Reading::plain("systemd_units_failed", 1.0),
            of("systemd_unit_failed", "broken.service", 1.0),
            of("systemd_unit_active", "web.service", 1.0),
        ];
        assert_eq!(units.answer(0).unwrap(), expected);
        assert_eq!(units.answer(ASK_EVERY_MS - 1).unwrap(), expected);
        assert_eq!(units.answer(ASK_EVERY_MS).unwrap(), expected);
        drop(units);
        let once = ["ListUnitsFiltered", "ListUnitsByNames"];
        assert_eq!(asked.join().unwrap(), [&["Hello"][..], &once, &once].concat());
    }

    #[test]
    fn a_bus_that_is_not_there_is_a_failure_only_if_units_are_watched() {
        let dir = tempfile::tempdir().unwrap();
        let collect = |booted: &Path, watched: &[&str]| {
            let watched = watched.iter().map(|name| (*name).to_owned()).collect();
            let socket = dir.path().join("nowhere");
            let mut units = Units { booted: booted.into(), socket, ..Units::new(watched) };
            units.collect(&mut Vec::new()).is_ok()
        };
        assert!(collect(dir.path(), &[]));
        assert!(!collect(dir.path(), &["web.service"]));
        assert!(collect(&dir.path().join("no-systemd"), &["web.service"]));
    }
}
