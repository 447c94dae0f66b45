//! What every interface has carried since the month's reset day, kept over restarts of agent and host.

mod month;

use super::{network, text_of};
use crate::{
    clock::Clock,
    collectors::{CollectError, Collector, Reading},
    platform,
    settings::{
        collection::{Collection, Excludes, Naming},
        patterns::Patterns,
    },
};
use edgewatch_shared::limits::MINUTE_MS;
use log::warn;
use month::Month;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &["net_month_receive_bytes", "net_month_transmit_bytes"];

/// Milliseconds between two writes to the disk, and from the start to the first. Reason: what an agent that is killed
/// forgets is read from the kernel's own counters, unless the host falls too; then it is these minutes.
const SAVE_EVERY_MS: i64 = 5 * MINUTE_MS;

const FILE: &str = "traffic.json";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Reads interfaces, and remembers the month.
pub struct Traffic {
    exclude: Patterns,
    reset_day: u8,
    clock: Arc<Clock>,
    dev: network::Dev,
    /// Of the kernel that runs, once it was read.
    boot_id: Option<String>,
    path: PathBuf,
    month: Option<Month>,
    saved_ms: Option<i64>,
    /// Whether the file does not have the last reading.
    has_news: bool,
}

impl Traffic {
    /// A collector that keeps the month in the state directory, and begins one by this clock.
    pub fn new(collection: &Collection, clock: Arc<Clock>) -> Self {
        Self {
            exclude: exclude(collection),
            reset_day: collection.traffic_reset_day,
            clock,
            dev: network::Dev::default(),
            boot_id: None,
            path: collection.state_dir.join(FILE),
            month: None,
            saved_ms: None,
            has_news: false,
        }
    }

    fn save_if_due(&mut self, month: &Month, now_ms: i64) -> Result<(), CollectError> {
        // Not at once: who merely looks at a collection leaves nothing behind.
        self.has_news = self.saved_ms.is_some();
        let saved_ms = *self.saved_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(saved_ms) < SAVE_EVERY_MS {
            return Ok(());
        }
        // A disk that cannot be written to is not tried at every round either.
        self.saved_ms = Some(now_ms);
        let path = self.path.display().to_string();
        save(&self.path, month).map_err(|error| CollectError::unreadable(&path, error))?;
        self.has_news = false;
        Ok(())
    }
}

impl Collector for Traffic {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        let columns = |interface: network::Interface| {
            let [received, _, _, _, _, _, _, _, sent, ..] = interface.columns;
            (interface.name, [received, sent])
        };
        let interfaces: Vec<(String, [u64; 2])> = self
            .dev
            .read()?
            .into_iter()
            .map(columns)
            .filter(|(name, _)| !self.exclude.matches(name))
            .collect();
        let boot_id = match self.boot_id.take() {
            Some(known) => known,
            None => text_of(BOOT_ID)?,
        };
        let mut month = self.month.take().unwrap_or_else(|| load(&self.path));
        // The host's own clock may be years off, and a month that has ended does not come back.
        let today = self.clock.is_confirmed().then(|| self.clock.now().day().0);
        month.add(boot_id.trim(), today, self.reset_day, &interfaces);
        readings.extend(samples(&month, &interfaces));
        let saved = self.save_if_due(&month, self.clock.running_ms());
        (self.month, self.boot_id) = (Some(month), Some(boot_id));
        saved
    }
}

/// The samples of the interfaces that are there.
fn samples(month: &Month, interfaces: &[(String, [u64; 2])]) -> Vec<Reading> {
    let mut samples = Vec::new();
    for (name, _) in interfaces {
        for (metric, bytes) in DESCRIBED.iter().zip(month.carried(name)) {
            samples.push(Reading::labelled(metric, "iface", name, bytes as f64));
        }
    }
    samples
}

impl Drop for Traffic {
    /// A host that is shut down would lose what was carried since the last write.
    fn drop(&mut self) {
        let Some(month) = self.month.as_ref().filter(|_| self.has_news) else { return };
        if let Err(error) = save(&self.path, month) {
            warn!("{} cannot be written: {error}", self.path.display());
        }
    }
}

/// What is left out: what somebody said, else under any naming what our own leaves out. node_exporter knows no months, and
/// what its defaults let in comes and goes with containers.
fn exclude(collection: &Collection) -> Patterns {
    let usual = |naming| Excludes::default().or_defaults(naming).interfaces;
    let said = &collection.exclude.interfaces;
    if *said == usual(collection.naming) { usual(Naming::Edgewatch) } else { said.clone() }
}

/// What was kept; a file that is not there or is damaged is a month that begins now.
fn load(path: &Path) -> Month {
    let text = fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Written beside, through to the disk and renamed, so that what has the name is whole even after a power cut.
fn save(path: &Path, month: &Month) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    if let Some(dir) = path.parent() {
        platform::create_private_dir(dir)?;
    }
    let mut file = platform::create_private_file(&temporary)?;
    file.write_all(&serde_json::to_vec(month)?)?;
    file.sync_data()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Exchange;
    use edgewatch_shared::{TimestampMs, time::Day};

    /// 2026-11-21.
    const TODAY: i64 = 20_778;

    fn eth0(received: u64, sent: u64) -> [(String, [u64; 2]); 1] {
        [("eth0".to_owned(), [received, sent])]
    }

    #[test]
    fn what_is_there_is_told_both_ways() {
        let mut month = Month::default();
        month.add("a", None, 1, &eth0(500, 50));
        month.add("a", None, 1, &eth0(600, 60));
        let expected = [("net_month_receive_bytes", 100.0), ("net_month_transmit_bytes", 10.0)]
            .map(|(name, bytes)| Reading::labelled(name, "iface", "eth0", bytes));
        assert_eq!(samples(&month, &eth0(600, 60)), expected);
        assert_eq!(samples(&month, &[]), []);
    }

    #[test]
    fn containers_interfaces_have_no_month_under_any_names_unless_somebody_says_so() {
        let of = |naming, said: Option<&str>| {
            let said = Excludes { interfaces: said.map(str::to_owned), ..Excludes::default() };
            let usual = Collection::usual(naming, "/nowhere".into());
            let exclude = exclude(&Collection { exclude: said.or_defaults(naming), ..usual });
            ["eth0", "veth1", "lo"].map(|name| !exclude.matches(name))
        };
        for naming in [Naming::Edgewatch, Naming::NodeExporter] {
            assert_eq!(of(naming, None), [true, false, false], "{naming:?}");
            assert_eq!(of(naming, Some("eth*")), [false, true, true], "{naming:?}");
        }
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_damage_is_a_new_month() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state").join(FILE);
        let mut month = Month::default();
        month.add("a", Some(TODAY), 1, &eth0(1_000, 100));
        month.add("a", Some(TODAY), 1, &eth0(1_500, 150));
        save(&path, &month).unwrap();
        let kept = load(&path);
        assert_eq!((kept.carried("eth0"), kept.today()), ([500, 50], None));
        fs::write(&path, "{").unwrap();
        assert_eq!(load(&path), Month::default());
    }

    #[test]
    fn the_day_is_the_servers_once_it_has_said_so_twice() {
        let dir = tempfile::tempdir().unwrap();
        let collection = Collection::usual(Naming::Edgewatch, dir.path().into());
        let clock = Arc::new(Clock::new(|| 0, TimestampMs(i64::MAX)));
        let mut traffic = Traffic::new(&collection, Arc::clone(&clock));
        traffic.collect(&mut Vec::new()).unwrap();
        assert_eq!(traffic.month.as_ref().unwrap().today(), None);
        // One reply alone may be wrong.
        for today in [None, Some(TODAY)] {
            clock.correct(Exchange { sent_ms: 0, received_ms: 0, server: Day(TODAY).start() });
            traffic.collect(&mut Vec::new()).unwrap();
            assert_eq!(traffic.month.as_ref().unwrap().today(), today);
        }
    }

    #[test]
    fn who_stops_writes_what_was_read_and_who_merely_looks_does_not() {
        for (rounds, is_written) in [(1, false), (2, true)] {
            let dir = tempfile::tempdir().unwrap();
            let collection = Collection::usual(Naming::Edgewatch, dir.path().into());
            let clock = Arc::new(Clock::new(|| 0, TimestampMs(0)));
            let mut traffic = Traffic::new(&collection, clock);
            for _ in 0..rounds {
                traffic.collect(&mut Vec::new()).unwrap();
            }
            drop(traffic);
            assert_eq!(dir.path().join(FILE).exists(), is_written, "{rounds}");
        }
    }
}
