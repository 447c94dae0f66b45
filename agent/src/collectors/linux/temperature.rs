//! Temperature sensors.

use super::patient::{ASK_EVERY_MS, Answer, Patient};
use crate::{
    collectors::{CollectError, Collector, Reading},
    os_clock,
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["temperature_celsius"];

/// Sensors that are told of. Reason: a server has two dozen; a board with hundreds is not watched by these.
const SENSORS_MAX: usize = 64;
/// Chips that are drives: to read one is a command to it, which a broken one need not answer. The others answer at once.
const DRIVES: [&str; 2] = ["drivetemp", "nvme"];

/// What a chip's sensors tell, in thousandths of a degree. One that cannot be read, as that of a sleeping device, is
/// passed over.
type Values = Vec<Option<i64>>;

/// Reads sensors. Which there are is looked up now and then, and so is what drives tell.
pub struct Temperature {
    class: PathBuf,
    looked_ms: Option<i64>,
    chips: Vec<Chip>,
    drives: Vec<(Chip, Answer<Values>)>,
    patient: Patient<Values, Chip>,
}

impl Default for Temperature {
    fn default() -> Self {
        let patient = Patient::new(ask);
        Self { class: "/sys/class".into(), looked_ms: None, chips: Vec::new(), drives: Vec::new(), patient }
    }
}

impl Temperature {
    fn look_if_due(&mut self, now_ms: i64) {
        if self.looked_ms.is_some_and(|looked_ms| now_ms.saturating_sub(looked_ms) < ASK_EVERY_MS) {
            return;
        }
        self.looked_ms = Some(now_ms);
        let mut chips = hardware_monitors(&self.class.join("hwmon"));
        if chips.is_empty() {
            chips = thermal_zones(&self.class.join("thermal"));
        }
        tell_apart(&mut chips);
        let (drives, chips): (Vec<Chip>, _) = chips.into_iter().partition(|chip| chip.is_drive);
        let answers = self.patient.ask(&drives.iter().collect::<Vec<_>>());
        (self.chips, self.drives) = (chips, drives.into_iter().zip(answers).collect());
    }

    fn tell(&mut self, now_ms: i64, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        self.look_if_due(now_ms);
        for chip in &self.chips {
            readings.extend(chip.samples(&chip.read()));
        }
        let mut result = Ok(());
        for (chip, answer) in &self.drives {
            match answer {
                Ok(values) => readings.extend(chip.samples(values)),
                Err(error) => result = Err(error.clone()),
            }
        }
        result
    }
}

impl Collector for Temperature {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        self.tell(os_clock::running_ms(), readings)
    }
}

fn ask(chip: &Chip) -> Answer<Values> {
    Ok(chip.read())
}

/// A chip with sensors.
#[derive(Clone, Debug, PartialEq)]
struct Chip {
    name: String,
    /// What tells chips of one name apart.
    device: String,
    is_drive: bool,
    /// The sensors' labels or numbers, and where each is read.
    sensors: Vec<(String, PathBuf)>,
}

impl fmt::Display for Chip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the temperature of {} {}", self.name, self.device)
    }
}

impl Chip {
    fn read(&self) -> Values {
        self.sensors.iter().map(|(_, input)| text(input)?.parse().ok()).collect()
    }

    /// The samples of its sensors, to a tenth of a degree.
    fn samples(&self, values: &[Option<i64>]) -> Vec<Reading> {
        let sample = |((sensor, _), millidegrees): (&(String, _), &Option<i64>)| {
            // A sensor that is not connected tells the coldest or the hottest it knows.
            let real = millidegrees.filter(|told| (-100_000..200_000).contains(told))?;
            let degrees = (real as f64 / 100.0).round() / 10.0;
            let of_chip = Reading::labelled("temperature_celsius", "chip", &self.name, degrees);
            Some(of_chip.with("sensor", sensor))
        };
        self.sensors.iter().zip(values).filter_map(sample).collect()
    }
}

/// The kernel's `Documentation/hwmon/sysfs-interface.rst`.
fn hardware_monitors(class: &Path) -> Vec<Chip> {
    let chip = |dir: PathBuf| {
        let device = fs::canonicalize(dir.join("device")).ok();
        let device = device.as_deref().and_then(file_name).or_else(|| file_name(&dir))?.to_owned();
        // Drivers of the time of Linux 3.10 have their files one deeper.
        let dir = if dir.join("name").exists() { dir } else { dir.join("device") };
        let name = text(&dir.join("name"))?;
        let sensor = |input: PathBuf| {
            let number = file_name(&input)?.strip_prefix("temp")?.strip_suffix("_input")?;
            let label = text(&dir.join(format!("temp{number}_label")));
            Some((label.unwrap_or_else(|| format!("temp{number}")), input))
        };
        let sensors: Vec<_> = entries(&dir).into_iter().filter_map(sensor).collect();
        let is_drive = DRIVES.contains(&name.as_str());
        (!sensors.is_empty()).then_some(Chip { name, device, is_drive, sensors })
    };
    entries(class).into_iter().filter_map(chip).collect()
}

/// What small boards have instead.
fn thermal_zones(class: &Path) -> Vec<Chip> {
    let zone = |zone: PathBuf| {
        let device = file_name(&zone)?.strip_prefix("thermal_zone")?.to_owned();
        let sensors = vec![(format!("zone{device}"), zone.join("temp"))];
        Some(Chip { name: text(&zone.join("type"))?, device, is_drive: false, sensors })
    };
    entries(class).into_iter().filter_map(zone).collect()
}

/// Where two chips have one name, each gets its device's beside it; what is still the same is there once.
fn tell_apart(chips: &mut [Chip]) {
    let is_shared =
        |chip: &Chip| chips.iter().any(|other| other.name == chip.name && other.device != chip.device);
    let are_shared: Vec<bool> = chips.iter().map(is_shared).collect();
    let mut seen = Vec::new();
    for (chip, is_shared) in chips.iter_mut().zip(are_shared) {
        if is_shared {
            chip.name = format!("{} {}", chip.name, chip.device);
        }
        chip.sensors.retain(|(sensor, _)| {
            let series = (chip.name.clone(), sensor.clone());
            let is_told = seen.len() < SENSORS_MAX && !seen.contains(&series);
            seen.extend(is_told.then_some(series));
            is_told
        });
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collectors::linux::patient::tests::LONG;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::{os::unix::fs::symlink, time::Duration};

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// A tree of files of this name and text.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), files);
        root
    }

    fn of(root: &Path) -> Temperature {
        let patient = Patient::with_patience(ask, LONG);
        Temperature { class: root.into(), patient, ..Temperature::default() }
    }

    /// What is told at an instant, and whether that is all.
    fn told_at(temperature: &mut Temperature, now_ms: i64) -> (Vec<(String, String, f64)>, Option<String>) {
        let mut readings = Vec::new();
        let result = temperature.tell(now_ms, &mut readings);
        let label = |reading: &Reading, at: usize| reading.labels[at].1.clone();
        let rows =
            readings.iter().map(|reading| (label(reading, 0), label(reading, 1), reading.value)).collect();
        (rows, result.err().map(|error| error.to_string()))
    }

    fn told(files: &[(&str, &str)]) -> Vec<(String, String, f64)> {
        let root = tree(files);
        let (rows, error) = told_at(&mut of(root.path()), 0);
        assert_eq!(error, None);
        rows
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
            ("hwmon/hwmon3/name", "a fan\n"),
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
    fn an_old_kernels_chips_have_their_files_one_deeper() {
        // As Linux 3.10 of CentOS 7 has the sensors of a processor.
        let root = tree(&[
            ("coretemp.0/name", "coretemp\n"),
            ("coretemp.0/temp2_input", "41000\n"),
            ("coretemp.0/temp2_label", "Core 0\n"),
            ("hwmon/hwmon0/power/control", "auto\n"),
        ]);
        symlink(root.path().join("coretemp.0"), root.path().join("hwmon/hwmon0/device")).unwrap();
        assert_eq!(told_at(&mut of(root.path()), 0).0, [row("coretemp", "Core 0", 41.0)]);
    }

    #[test]
    fn drives_are_asked_now_and_then_and_the_others_each_time() {
        let root = tree(&[("hwmon/hwmon0/name", "k10temp\n"), ("hwmon/hwmon1/name", "drivetemp\n")]);
        let mut temperature = of(root.path());
        for (now_ms, now, [chip, drive]) in [
            (0, "1000", [1.0, 1.0]),
            (ASK_EVERY_MS - 1, "2000", [2.0, 1.0]),
            (ASK_EVERY_MS, "3000", [3.0, 3.0]),
        ] {
            write(root.path(), &[("hwmon/hwmon0/temp1_input", now), ("hwmon/hwmon1/temp1_input", now)]);
            let expected = vec![row("k10temp", "temp1", chip), row("drivetemp", "temp1", drive)];
            assert_eq!(told_at(&mut temperature, now_ms), (expected, None), "{now_ms}");
        }
    }

    #[test]
    fn a_drive_that_never_answers_is_waited_for_once_and_the_others_are_told() {
        let files = [
            ("hwmon/hwmon0/name", "k10temp\n"),
            ("hwmon/hwmon0/temp1_input", "45250\n"),
            ("hwmon/hwmon1/name", "drivetemp\n"),
        ];
        let root = tree(&files);
        // To open it takes until somebody writes to it, which nobody does.
        let dead = root.path().join("hwmon/hwmon1/temp1_input");
        mknodat(CWD, &dead, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let patient = Patient::with_patience(ask, Duration::from_millis(1));
        let mut temperature = Temperature { patient, ..of(root.path()) };
        for (now_ms, why) in [
            (0, "it does not answer"),
            (ASK_EVERY_MS - 1, "it does not answer"),
            (ASK_EVERY_MS, "an earlier question has not been answered yet"),
        ] {
            let (rows, error) = told_at(&mut temperature, now_ms);
            assert_eq!(rows, [row("k10temp", "temp1", 45.3)]);
            assert_eq!(error.unwrap(), format!("the temperature of drivetemp hwmon1 cannot be read: {why}"));
        }
    }

    #[test]
    fn sensors_have_an_end() {
        for (sensors, expected) in [(SENSORS_MAX, SENSORS_MAX), (SENSORS_MAX + 1, SENSORS_MAX)] {
            let root = tree(&[("hwmon/hwmon0/name", "c")]);
            for number in 0..sensors {
                write(root.path(), &[(&format!("hwmon/hwmon0/temp{number}_input"), "1000")]);
            }
            assert_eq!(told_at(&mut of(root.path()), 0).0.len(), expected);
        }
    }
}
