//! Sockets in use, and how often TCP had to repeat itself.

use super::kept::Kept;
use crate::collectors::{CollectError, Collector, Reading};

/// The names this collector emits.
pub const DESCRIBED: &[&str] = &[
    "socket_tcp_in_use",
    "socket_tcp_orphaned",
    "socket_tcp_retransmits_total",
    "socket_tcp_time_wait",
    "socket_udp_in_use",
    "socket_used",
];

/// Reads sockets.
pub struct Sockets {
    four: Kept,
    six: Kept,
    snmp: Kept,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            four: Kept::new("/proc/net/sockstat"),
            six: Kept::new("/proc/net/sockstat6"),
            snmp: Kept::new("/proc/net/snmp"),
        }
    }
}

impl Collector for Sockets {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        // A kernel without IPv6 has no such file.
        readings.extend(samples(self.four.text()?, self.six.text().unwrap_or_default()));
        readings.extend(retransmits(self.snmp.text()?));
        Ok(())
    }
}

/// The samples of `/proc/net/sockstat` and `sockstat6`.
pub fn samples(four: &str, six: &str) -> Vec<Reading> {
    let both =
        |key4, key6| Some(field(four, key4, "inuse")?.saturating_add(field(six, key6, "inuse").unwrap_or(0)));
    [
        ("socket_used", field(four, "sockets", "used")),
        ("socket_tcp_in_use", both("TCP", "TCP6")),
        ("socket_tcp_orphaned", field(four, "TCP", "orphan")),
        ("socket_tcp_time_wait", field(four, "TCP", "tw")),
        ("socket_udp_in_use", both("UDP", "UDP6")),
    ]
    .into_iter()
    .filter_map(|(name, count)| Some(Reading::plain(name, count? as f64)))
    .collect()
}

/// The number behind `key` on the line of `protocol`: `TCP: inuse 4 orphan 0 …`.
fn field(text: &str, protocol: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == key)?;
    words.next()?.parse().ok()
}

/// `RetransSegs` of `/proc/net/snmp`, where a line of names precedes every line of numbers.
pub fn retransmits(snmp: &str) -> Option<Reading> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let at = lines.next()?.split_whitespace().position(|name| name == "RetransSegs")?;
    let count: u64 = lines.next()?.split_whitespace().nth(at)?.parse().ok()?;
    Some(Reading::plain("socket_tcp_retransmits_total", count as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux 6.1, 2026-11-21.
    const FOUR: &str = "sockets: used 29\nTCP: inuse 4 orphan 2 tw 1 alloc 16 mem 354\nUDP: inuse 3 mem 0\n\
        UDPLITE: inuse 0\n";
    const SIX: &str = "TCP6: inuse 7\nUDP6: inuse 5\n";

    #[test]
    fn both_address_families_count() {
        let all = |tcp, udp| {
            [
                ("socket_used", 29.0),
                ("socket_tcp_in_use", tcp),
                ("socket_tcp_orphaned", 2.0),
                ("socket_tcp_time_wait", 1.0),
                ("socket_udp_in_use", udp),
            ]
            .map(|(name, count)| Reading::plain(name, count))
        };
        assert_eq!(samples(FOUR, SIX), all(11.0, 8.0));
        assert_eq!(samples(FOUR, ""), all(4.0, 3.0));
        assert_eq!(samples("", SIX), []);
    }

    #[test]
    fn retransmits_stand_where_their_name_stands() {
        let snmp = "Ip: Forwarding\nIp: 1\nTcp: InSegs OutSegs RetransSegs InErrs\nTcp: 9 8 7 6\n";
        assert_eq!(retransmits(snmp), Some(Reading::plain("socket_tcp_retransmits_total", 7.0)));
        assert_eq!(retransmits("Tcp: InSegs\nTcp: 9\n"), None);
        assert_eq!(retransmits("Tcp: RetransSegs\n"), None);
    }
}
