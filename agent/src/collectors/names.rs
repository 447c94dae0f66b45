//! Readings under node_exporter's names: what a collector emits in them itself, what merely has another name there, and
//! what our own pages need.

use super::Reading;
use edgewatch_shared::catalogue::{HEADLINES, Headline, find};

/// What is sent of the readings of a collector. One that emits node_exporter's series says in them all that it reads, so
/// that of our own names only those stay that listings of hosts show. Of any other all stay, but a series without labels
/// that has a name there goes under it.
pub fn as_node_exporter(readings: Vec<Reading>) -> Vec<Reading> {
    let is_doubled = readings.iter().any(|reading| reading.name.starts_with("node_"));
    let has = |name: &str| readings.iter().any(|reading| reading.name == name);
    let renamed = |reading: &Reading| {
        if reading.name.starts_with("node_") || is_headline(reading) {
            return Some(reading.name);
        }
        let alias = find(reading.name)?.node_exporter;
        match alias.filter(|name| name.starts_with("node_") && reading.labels.is_empty()) {
            Some(name) if !has(name) => Some(find(name)?.name),
            _ => (!is_doubled).then_some(reading.name),
        }
    };
    let names: Vec<Option<&'static str>> = readings.iter().map(renamed).collect();
    let named = readings.into_iter().zip(names);
    named.filter_map(|(reading, name)| Some(Reading { name: name?, ..reading })).collect()
}

fn is_headline(reading: &Reading) -> bool {
    let which = HEADLINES.iter().find(|(name, _)| *name == reading.name).map(|(_, which)| which);
    which.is_some_and(|which| match which {
        Headline::Plain | Headline::Largest => true,
        Headline::Labelled(key, text) => {
            reading.labels.iter().any(|label| label.0 == *key && label.1 == *text)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(readings: Vec<Reading>) -> Vec<&'static str> {
        as_node_exporter(readings).into_iter().map(|reading| reading.name).collect()
    }

    #[test]
    fn headlines_stay_and_doubles_go() {
        let readings = vec![
            Reading::plain("cpu_count", 2.0),
            Reading::labelled("cpu_usage_pct", "core", "total", 1.0),
            Reading::labelled("cpu_usage_pct", "core", "0", 1.0),
            Reading::labelled("cpu_mode_seconds_total", "mode", "idle", 1.0),
            Reading::plain("cpu_forks_total", 7.0),
            Reading::labelled("node_cpu_seconds_total", "cpu", "0", 1.0).with("mode", "idle"),
        ];
        let expected = ["cpu_count", "cpu_usage_pct", "node_forks_total", "node_cpu_seconds_total"];
        assert_eq!(names(readings), expected);
    }

    #[test]
    fn what_a_collector_emits_under_both_names_is_there_once() {
        let readings = vec![Reading::plain("load_5m", 1.0), Reading::plain("node_load5", 1.0)];
        assert_eq!(names(readings), ["node_load5"]);
    }

    #[test]
    fn what_node_exporter_does_not_have_keeps_our_name() {
        let readings =
            vec![Reading::plain("process_count", 9.0), Reading::plain("agent_resident_bytes", 9.0)];
        assert_eq!(names(readings), ["process_count", "agent_resident_bytes"]);
        let boot = vec![Reading::plain("boot_time_seconds", 9.0), Reading::plain("uptime_seconds", 9.0)];
        assert_eq!(names(boot), ["node_boot_time_seconds", "uptime_seconds"]);
    }
}
