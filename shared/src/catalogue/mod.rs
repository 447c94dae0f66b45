//! The metric catalogue: every metric that the agent can emit and every name the native API accepts.
//!
//! Validation, the dashboard's units and `docs/metrics.md` all come from [`CATALOGUE`] and, for hosts that send
//! node_exporter's names, from [`NODE_EXPORTER`].

mod host;
mod node_exporter;

pub use host::CATALOGUE;
pub use node_exporter::NODE_EXPORTER;

/// How values of a metric behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up, except when what it counts starts anew.
    Counter,
}

/// One metric of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Stored name.
    pub name: &'static str,
    /// Gauge or counter.
    pub kind: Kind,
    /// Unit of the values, as people write it; empty for plain numbers.
    #[cfg(any(test, feature = "help"))]
    pub unit: &'static str,
    /// One sentence for people.
    #[cfg(any(test, feature = "help"))]
    pub help: &'static str,
    /// Labels that tell its series apart.
    pub label_keys: &'static [&'static str],
    /// What node_exporter calls it, where it has the same meaning and unit.
    pub node_exporter: Option<&'static str>,
}

/// Which series of a metric is kept ready for listings of hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headline {
    /// The one series without labels.
    Plain,
    /// The series with this label.
    Labelled(&'static str, &'static str),
    /// The largest value among its series.
    Largest,
}

/// The metrics whose newest values are kept ready for listings of hosts.
pub const HEADLINES: &[(&str, Headline)] = &[
    ("cpu_count", Headline::Plain),
    ("cpu_usage_pct", Headline::Labelled("core", "total")),
    ("disk_used_pct", Headline::Largest),
    ("load_1m", Headline::Plain),
    ("mem_total_bytes", Headline::Plain),
    ("mem_used_pct", Headline::Plain),
    ("uptime_seconds", Headline::Plain),
];

const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    // No program shows them.
    #[cfg(not(any(test, feature = "help")))]
    let _left_out = (unit, help);
    Metric {
        name,
        kind: Kind::Gauge,
        #[cfg(any(test, feature = "help"))]
        unit,
        #[cfg(any(test, feature = "help"))]
        help,
        label_keys: &[],
        node_exporter: None,
    }
}

const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Metric {
    Metric { kind: Kind::Counter, ..gauge(name, unit, help) }
}

impl Metric {
    const fn by(self, label_keys: &'static [&'static str]) -> Self {
        Self { label_keys, ..self }
    }

    const fn like(self, node_exporter: &'static str) -> Self {
        Self { node_exporter: Some(node_exporter), ..self }
    }
}

/// Prefixes under which a host may send names of its own.
pub const FREE_PREFIXES: &[&str] = &["app_", "custom_"];

/// Names that are answered as the difference of a counter since its last reading, beside what was stored under them:
/// MiniObserv's `net.*` are such differences, and our agent sends the counters.
pub const DIFFERENCES: &[(&str, &str)] =
    &[("net_bytes_in", "net_receive_bytes_total"), ("net_bytes_out", "net_transmit_bytes_total")];

/// The metric of a stored name, ours or node_exporter's.
pub fn find(name: &str) -> Option<&'static Metric> {
    let within = |metrics: &'static [Metric]| {
        let at = metrics.binary_search_by(|metric| metric.name.cmp(name)).ok()?;
        metrics.get(at)
    };
    within(CATALOGUE).or_else(|| within(NODE_EXPORTER))
}

/// Whether the native API takes a stored name: in the catalogue, or under a free prefix with something behind it.
pub fn is_accepted(name: &str) -> bool {
    let free = |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|rest| !rest.is_empty());
    find(name).is_some() || FREE_PREFIXES.iter().any(free)
}

/// The counter whose differences answer for `name`.
pub fn counter_behind(name: &str) -> Option<&'static str> {
    DIFFERENCES.iter().find(|(difference, _)| *difference == name).map(|(_, counter)| *counter)
}

/// The known name nearest to `name` by edit distance: what a typo probably meant.
pub fn nearest(name: &str) -> &'static str {
    nearest_of(name, CATALOGUE.iter().chain(NODE_EXPORTER).map(|metric| metric.name))
}

/// The one of the `known` names nearest to `name`; empty if none is known.
pub fn nearest_of<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    known.min_by_key(|candidate| edit_distance(name, candidate)).unwrap_or_default()
}

/// Levenshtein's distance in bytes, over the first 64 of each: names are ASCII and short.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let (a, b) = (a.get(..64).unwrap_or(a), b.get(..64).unwrap_or(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (above, to) in row.iter().skip(1).zip(b) {
            let change = diagonal.saturating_add(usize::from(from != to));
            left = change.min(left.saturating_add(1)).min(above.saturating_add(1));
            next.push(left);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_legal_and_told() {
        for metrics in [CATALOGUE, NODE_EXPORTER] {
            assert!(metrics.is_sorted_by(|a, b| a.name < b.name));
            for metric in metrics {
                assert_eq!(crate::name::stored_name(metric.name).as_deref(), Ok(metric.name));
                assert!(metric.help.ends_with('.'), "{}", metric.name);
                // The kernel's own names, as of `node_vmstat_pgfault`, say nothing of it.
                let is_kernels =
                    metric.name.starts_with("node_vmstat_") || metric.name.starts_with("node_netstat_");
                let is_total = metric.name.ends_with("_total");
                assert!(is_kernels || (metric.kind == Kind::Counter) == is_total, "{}", metric.name);
                assert!(metric.label_keys.is_sorted(), "{}", metric.name);
            }
        }
    }

    #[test]
    fn every_alias_is_a_name_that_a_host_may_send() {
        let aliases = CATALOGUE.iter().filter_map(|metric| Some((metric, metric.node_exporter?)));
        for (metric, alias) in aliases.filter(|(_, alias)| alias.starts_with("node_")) {
            assert_eq!(find(alias).map(|known| known.kind), Some(metric.kind), "{alias}");
        }
    }

    #[test]
    fn every_headline_is_ours_and_can_be_told_from_its_siblings() {
        for (name, which) in HEADLINES {
            let keys = CATALOGUE.iter().find(|metric| metric.name == *name).unwrap().label_keys;
            match which {
                Headline::Plain => assert_eq!(keys, [""; 0], "{name}"),
                Headline::Labelled(key, _) => assert_eq!(keys, [*key], "{name}"),
                Headline::Largest => assert!(!keys.is_empty(), "{name}"),
            }
        }
    }

    #[test]
    fn the_nine_names_of_miniobserv_are_known() {
        let nine = "cpu.usage_pct mem.used_pct mem.used_bytes mem.total_bytes disk.used_pct \
                    disk.used_bytes disk.total_bytes net.bytes_in net.bytes_out";
        for name in nine.split_whitespace() {
            assert!(is_accepted(&crate::name::stored_name(name).unwrap()), "{name}");
        }
    }

    #[test]
    fn a_typo_is_told_its_nearest_name() {
        assert_eq!(nearest("cpu_usage_pc"), "cpu_usage_pct");
        assert_eq!(nearest("memory_used_pct"), "mem_used_pct");
        assert_eq!(nearest("net_bytes_inn"), "net_bytes_in");
    }

    #[test]
    fn edit_distances_are_levenshteins() {
        for (a, b, distance) in [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2)] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
    }

    #[test]
    fn a_free_prefix_alone_is_no_name() {
        assert!(is_accepted("app_requests"));
        assert!(!is_accepted("app_"));
        assert!(!is_accepted("application"));
    }

    #[test]
    fn differences_stand_for_known_counters() {
        for (difference, counter) in DIFFERENCES {
            assert_eq!(find(difference).unwrap().kind, Kind::Gauge);
            assert_eq!(find(counter).unwrap().kind, Kind::Counter);
            assert_eq!(counter_behind(difference), Some(*counter));
        }
    }
}
