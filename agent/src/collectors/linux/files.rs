//! File descriptors of the whole host.

use super::kept::Kept;
use crate::{
    collectors::{CollectError, Collector, Reading},
    settings::collection::Naming,
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["file_descriptors_limit", "file_descriptors_open"];

/// From here on a limit is none: today's kernels say the largest number they know. node_exporter tells that number.
const NO_LIMIT: u64 = 1 << 53;

/// Reads file descriptors.
pub struct Files {
    naming: Naming,
    file_nr: Kept,
}

impl Files {
    /// A collector.
    pub const fn new(naming: Naming) -> Self {
        Self { naming, file_nr: Kept::new("/proc/sys/fs/file-nr") }
    }
}

impl Collector for Files {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let told = samples(self.file_nr.text()?, self.naming)
            .ok_or(CollectError::Absurd("/proc/sys/fs/file-nr does not have three numbers"))?;
        readings.extend(told);
        Ok(())
    }
}

/// The samples of `/proc/sys/fs/file-nr`: open, unused (always 0), limit.
pub fn samples(file_nr: &str, naming: Naming) -> Option<Vec<Reading>> {
    let mut numbers = file_nr.split_whitespace().map(|word| word.parse::<u64>().ok());
    let (open, _, limit) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let mut samples = vec![Reading::plain("file_descriptors_open", open as f64)];
    if limit < NO_LIMIT || naming == Naming::NodeExporter {
        samples.push(Reading::plain("file_descriptors_limit", limit as f64));
    }
    Some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_none_is_not_told() {
        let open = Reading::plain("file_descriptors_open", 1_285.0);
        let limit = Reading::plain("file_descriptors_limit", 2_466_183.0);
        // Linux 6.1, 2026-11-21, and the same with systemd's limit.
        let own = |file_nr| samples(file_nr, Naming::Edgewatch);
        assert_eq!(own("1285\t0\t2466183\n"), Some(vec![open.clone(), limit]));
        assert_eq!(own("1285\t0\t9223372036854775807\n"), Some(vec![open]));
        assert_eq!(own("1285\t0\n"), None);
        let nodes = samples("1285\t0\t9223372036854775807\n", Naming::NodeExporter).unwrap();
        assert_eq!(nodes[1].value, 9_223_372_036_854_775_807_f64);
    }
}
