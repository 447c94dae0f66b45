//! What `/sys` tells of processors under node_exporter's names: how fast they run, and how often heat slowed them down.

use crate::collectors::Reading;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the kernel has its processors.
pub const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Files of a processor's `cpufreq` (the kernel's `Documentation/admin-guide/pm/cpufreq.rst`), in kilohertz. The first may
/// be read by root only.
const FREQUENCIES: &[(&str, &str)] = &[
    ("cpuinfo_cur_freq", "node_cpu_frequency_hertz"),
    ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz"),
    ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz"),
    ("scaling_cur_freq", "node_cpu_scaling_frequency_hertz"),
    ("scaling_min_freq", "node_cpu_scaling_frequency_min_hertz"),
    ("scaling_max_freq", "node_cpu_scaling_frequency_max_hertz"),
];

/// node_exporter's `cpufreq` collector, and the throttles of its `cpu`. What a machine does not tell is absent.
pub fn node_samples(processors: &Path) -> Vec<Reading> {
    let mut samples = Vec::new();
    let mut throttles: Vec<Reading> = Vec::new();
    for (number, dir) in numbered(processors) {
        for (file, name) in FREQUENCIES {
            let kilohertz = number_in(&dir.join("cpufreq").join(file));
            samples.extend(kilohertz.map(|count| Reading::labelled(name, "cpu", &number, count * 1_000.0)));
        }
        let told = |file: &str| number_in(&dir.join("topology").join(file)).map(|number| number.to_string());
        let (Some(package), Some(core)) = (told("physical_package_id"), told("core_id")) else { continue };
        let of = |name| Reading::labelled(name, "package", &package, 0.0);
        for (file, reading) in [
            ("core_throttle_count", of("node_cpu_core_throttles_total").with("core", &core)),
            ("package_throttle_count", of("node_cpu_package_throttles_total")),
        ] {
            // Processors of one core count the same throttles, and so do the cores of a package.
            if throttles.iter().all(|known| known.labels != reading.labels) {
                let count = number_in(&dir.join("thermal_throttle").join(file));
                throttles.extend(count.map(|value| Reading { value, ..reading }));
            }
        }
    }
    samples.append(&mut throttles);
    samples
}

/// The processors' numbers and folders.
fn numbered(processors: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    fs::read_dir(processors).into_iter().flatten().filter_map(|entry| {
        let path = entry.ok()?.path();
        let number = path.file_name()?.to_str()?.strip_prefix("cpu")?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| (number.to_owned(), path.clone()))
    })
}

fn number_in(path: &Path) -> Option<f64> {
    let number: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    Some(number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_processor_has_its_frequencies_and_every_core_and_package_its_throttles_once() {
        let root = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        // A server with two threads a core, as Linux 6.1 has it.
        for (cpu, core) in [("cpu0", "0"), ("cpu1", "1"), ("cpu2", "0")] {
            write(&format!("{cpu}/cpufreq/scaling_cur_freq"), "1699981\n");
            write(&format!("{cpu}/cpufreq/scaling_max_freq"), "<unknown>\n");
            write(&format!("{cpu}/cpufreq/cpuinfo_max_freq"), "3700000\n");
            write(&format!("{cpu}/topology/physical_package_id"), "0\n");
            write(&format!("{cpu}/topology/core_id"), &format!("{core}\n"));
            write(&format!("{cpu}/thermal_throttle/core_throttle_count"), "5\n");
            write(&format!("{cpu}/thermal_throttle/package_throttle_count"), "30\n");
        }
        write("cpu3/online", "0\n");
        write("cpufreq/boost", "1\n");
        let mut told: Vec<(String, f64)> =
            node_samples(root.path()).iter().map(|sample| (sample.series(), sample.value)).collect();
        told.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            ("node_cpu_core_throttles_total{package=0,core=0}", 5.0),
            ("node_cpu_core_throttles_total{package=0,core=1}", 5.0),
            ("node_cpu_frequency_max_hertz{cpu=0}", 3_700_000_000.0),
            ("node_cpu_frequency_max_hertz{cpu=1}", 3_700_000_000.0),
            ("node_cpu_frequency_max_hertz{cpu=2}", 3_700_000_000.0),
            ("node_cpu_package_throttles_total{package=0}", 30.0),
            ("node_cpu_scaling_frequency_hertz{cpu=0}", 1_699_981_000.0),
            ("node_cpu_scaling_frequency_hertz{cpu=1}", 1_699_981_000.0),
            ("node_cpu_scaling_frequency_hertz{cpu=2}", 1_699_981_000.0),
        ];
        assert_eq!(told, expected.map(|(series, value)| (series.to_owned(), value)));
    }

    #[test]
    fn a_machine_without_any_of_it_tells_nothing() {
        assert_eq!(node_samples(Path::new("/nowhere")), []);
    }
}
