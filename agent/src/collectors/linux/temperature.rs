//! Temperature sensors.

use crate::collectors::{CollectError, Collector, Reading};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["temperature_celsius"];

/// Sensors that are told of. Reason: a server has two dozen; a board with hundreds is not watched by these.
const SENSORS_MAX: usize = 64;

/// Reads sensors.
pub struct Temperature {
    class: PathBuf,
}

impl Default for Temperature {
    fn default() -> Self {
        Self { class: "/sys/class".into() }
    }
}

impl Collector for Temperature {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let mut sensors = hardware_monitors(&self.class.join("hwmon"));
        if sensors.is_empty() {
            sensors = thermal_zones(&self.class.join("thermal"));
        }
        readings.extend(samples(sensors));
        Ok(())
    }
}

/// A sensor and what it tells, in thousandths of a degree.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensor {
    /// The chip's name.
    pub chip: String,
    /// What tells chips of one name apart.
    pub device: String,
    /// The sensor's label, or its number.
    pub name: String,
    /// Its reading.
    pub millidegrees: i64,
}

/// The kernel's `Documentation/hwmon/sysfs-interface.rst`. A sensor that cannot be read, as one of a sleeping device, is
/// passed over.
fn hardware_monitors(class: &Path) -> Vec<Sensor> {
    let mut sensors = Vec::new();
    for chip in entries(class) {
        let Some(name) = text(&chip.join("name")) else { continue };
        let device = fs::canonicalize(chip.join("device")).ok();
        let device = device.as_deref().unwrap_or(&chip).file_name();
        let device = device.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for input in entries(&chip) {
            let Some(number) = file_name(&input)
                .and_then(|name| Some(name.strip_prefix("temp")?.strip_suffix("_input")?.to_owned()))
            else {
                continue;
            };
            let Some(millidegrees) = text(&input).and_then(|text| text.parse().ok()) else { continue };
            let label = text(&chip.join(format!("temp{number}_label")));
            sensors.push(Sensor {
                chip: name.clone(),
                device: device.clone(),
                name: label.unwrap_or_else(|| format!("temp{number}")),
                millidegrees,
            });
        }
    }
    sensors
}

/// What small boards have instead.
fn thermal_zones(class: &Path) -> Vec<Sensor> {
    let zone = |zone: PathBuf| {
        let number = file_name(&zone)?.strip_prefix("thermal_zone")?.to_owned();
        Some(Sensor {
            chip: text(&zone.join("type"))?,
            device: number.clone(),
            name: format!("zone{number}"),
            millidegrees: text(&zone.join("temp"))?.parse().ok()?,
        })
    };
    entries(class).into_iter().filter_map(zone).collect()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    entries
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The samples of sensors, to a tenth of a degree. Where two chips have one name, each has its device's beside it; what is
/// still the same is there once.
pub fn samples(sensors: Vec<Sensor>) -> Vec<Reading> {
    let devices_of = |chip: &str| {
        let of_chip = sensors.iter().filter(|sensor| sensor.chip == chip);
        of_chip.map(|sensor| sensor.device.as_str()).collect::<BTreeSet<_>>().len()
    };
    let mut seen = BTreeSet::new();
    let mut samples = Vec::new();
    for sensor in &sensors {
        let chip = match devices_of(&sensor.chip) {
            0 | 1 => sensor.chip.clone(),
            _ => format!("{} {}", sensor.chip, sensor.device),
        };
        // A sensor that is not connected tells the coldest or the hottest it knows.
        let is_real = (-100_000..200_000).contains(&sensor.millidegrees);
        if is_real && samples.len() < SENSORS_MAX && seen.insert((chip.clone(), sensor.name.clone())) {
            let degrees = (sensor.millidegrees as f64 / 100.0).round() / 10.0;
            samples.push(
                Reading::labelled("temperature_celsius", "chip", &chip, degrees).with("sensor", &sensor.name),
            );
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree of files of this name and text.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn told(files: &[(&str, &str)]) -> Vec<(String, String, f64)> {
        let root = tree(files);
        let mut readings = Vec::new();
        Temperature { class: root.path().into() }.collect(&mut readings).unwrap();
        let label = |reading: &Reading, at: usize| reading.labels[at].1.clone();
        readings.iter().map(|reading| (label(reading, 0), label(reading, 1), reading.value)).collect()
    }

    fn row(chip: &str, sensor: &str, degrees: f64) -> (String, String, f64) {
        (chip.to_owned(), sensor.to_owned(), degrees)
    }

    #[test]
    fn chips_have_names_and_sensors_labels_or_numbers() {
        // As a desktop with Linux 6.1 has them.
        let files = [
            ("hwmon/hwmon0/name", "k10temp\n"),
            ("hwmon/hwmon0/temp1_input", "45250\n"),
            ("hwmon/hwmon0/temp1_label", "Tctl\n"),
            ("hwmon/hwmon0/temp1_crit", "95000\n"),
            ("hwmon/hwmon1/name", "nvme\n"),
            ("hwmon/hwmon1/temp1_input", "38850\n"),
            ("hwmon/hwmon2/name", "nvme\n"),
            ("hwmon/hwmon2/temp1_input", "41000\n"),
            ("hwmon/hwmon2/temp2_input", "-273150\n"),
            ("hwmon/hwmon2/temp3_input", "\n"),
            ("thermal/thermal_zone0/type", "acpitz\n"),
            ("thermal/thermal_zone0/temp", "27800\n"),
        ];
        let expected = [
            row("k10temp", "Tctl", 45.3),
            row("nvme hwmon1", "temp1", 38.9),
            row("nvme hwmon2", "temp1", 41.0),
        ];
        assert_eq!(told(&files), expected);
        assert_eq!(told(&files[10..]), [row("acpitz", "zone0", 27.8)]);
        assert_eq!(told(&[]), []);
    }

    #[test]
    fn sensors_have_an_end() {
        let sensor = |number: usize| Sensor {
            chip: "c".into(),
            device: "d".into(),
            name: number.to_string(),
            millidegrees: 1_000,
        };
        for (sensors, told) in [(SENSORS_MAX, SENSORS_MAX), (SENSORS_MAX + 1, SENSORS_MAX)] {
            assert_eq!(samples((0..sensors).map(sensor).collect()).len(), told);
        }
    }
}
