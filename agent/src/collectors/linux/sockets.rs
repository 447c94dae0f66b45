//! Sockets in use, and how often TCP had to repeat itself.

use super::kept::Kept;
use crate::{
    collectors::{CollectError, Collector, Reading},
    settings::collection::Naming,
};
use edgewatch_shared::catalogue::find;

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
    naming: Naming,
    four: Kept,
    six: Kept,
    snmp: Kept,
    /// Read under node_exporter's names only, as is the next.
    netstat: Kept,
    snmp_six: Kept,
}

impl Sockets {
    /// A collector.
    pub const fn new(naming: Naming) -> Self {
        Self {
            naming,
            four: Kept::new("/proc/net/sockstat"),
            six: Kept::new("/proc/net/sockstat6"),
            snmp: Kept::new("/proc/net/snmp"),
            netstat: Kept::new("/proc/net/netstat"),
            snmp_six: Kept::new("/proc/net/snmp6"),
        }
    }
}

impl Collector for Sockets {
    fn collect(&mut self, readings: &mut Vec<Reading>) -> Result<(), CollectError> {
        // A kernel without IPv6 has no such file.
        let (four, six) = (self.four.text()?, self.six.text().unwrap_or_default());
        let snmp = self.snmp.text()?;
        readings.extend(samples(four, six));
        readings.extend(retransmits(snmp));
        if self.naming == Naming::NodeExporter {
            let page_bytes = rustix::param::page_size() as u64;
            readings.extend(node_sockets(four, page_bytes));
            readings.extend(node_sockets(six, page_bytes));
            readings.extend(node_protocols(snmp));
            readings.extend(node_protocols(self.netstat.text()?));
            readings.extend(node_protocols_of_six(self.snmp_six.text().unwrap_or_default()));
        }
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

/// node_exporter's `sockstat` collector, out of lines `TCP: inuse 4 orphan 0 …`; pages of memory are told in bytes too.
pub fn node_sockets(sockstat: &str, page_bytes: u64) -> Vec<Reading> {
    let mut samples = Vec::new();
    for (protocol, rest) in sockstat.lines().filter_map(|line| line.split_once(": ")) {
        let mut words = rest.split_ascii_whitespace();
        while let (Some(key), Some(number)) = (words.next(), words.next()) {
            samples.extend(named_by_kernel("sockstat", protocol, key, number));
            if let ("mem", Ok(pages)) = (key, number.parse::<u64>()) {
                let bytes = pages.saturating_mul(page_bytes).to_string();
                samples.extend(named_by_kernel("sockstat", protocol, "mem_bytes", &bytes));
            }
        }
    }
    samples
}

/// node_exporter's `netstat` collector, out of `/proc/net/snmp` or `netstat`.
pub fn node_protocols(text: &str) -> Vec<Reading> {
    let mut samples = Vec::new();
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    while let (Some((protocol, names)), Some((_, numbers))) = (lines.next(), lines.next()) {
        let told = names.split(' ').zip(numbers.split(' '));
        samples.extend(told.filter_map(|(name, number)| named_by_kernel("netstat", protocol, name, number)));
    }
    samples
}

/// The same out of `/proc/net/snmp6`, in lines `Ip6InOctets 460`.
pub fn node_protocols_of_six(text: &str) -> Vec<Reading> {
    let sample = |line: &str| {
        let (key, number) = line.split_once([' ', '\t'])?;
        let (protocol, name) = key.split_at_checked(key.find('6')?.checked_add(1)?)?;
        named_by_kernel("netstat", protocol, name, number.trim())
    };
    text.lines().filter_map(sample).collect()
}

/// A reading under the name that node_exporter makes out of the kernel's own, if it is one of those that it sends.
fn named_by_kernel(family: &str, protocol: &str, name: &str, number: &str) -> Option<Reading> {
    let metric = find(&format!("node_{family}_{protocol}_{name}"))?;
    Some(Reading::plain(metric.name, number.parse().ok()?))
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
    fn node_exporters_sockets_are_the_kernels_lines() {
        let told: Vec<(&str, f64)> =
            node_sockets(FOUR, 4_096).iter().map(|reading| (reading.name, reading.value)).collect();
        let expected = [
            ("node_sockstat_sockets_used", 29.0),
            ("node_sockstat_TCP_inuse", 4.0),
            ("node_sockstat_TCP_orphan", 2.0),
            ("node_sockstat_TCP_tw", 1.0),
            ("node_sockstat_TCP_alloc", 16.0),
            ("node_sockstat_TCP_mem", 354.0),
            ("node_sockstat_TCP_mem_bytes", 1_449_984.0),
            ("node_sockstat_UDP_inuse", 3.0),
            ("node_sockstat_UDP_mem", 0.0),
            ("node_sockstat_UDP_mem_bytes", 0.0),
            ("node_sockstat_UDPLITE_inuse", 0.0),
        ];
        assert_eq!(told, expected);
        let six = [("node_sockstat_TCP6_inuse", 7.0), ("node_sockstat_UDP6_inuse", 5.0)];
        assert_eq!(node_sockets(SIX, 4_096), six.map(|(name, count)| Reading::plain(name, count)));
    }

    #[test]
    fn node_exporters_protocols_are_its_default_choice_of_the_kernels() {
        let snmp = "Tcp: RtoMin CurrEstab RetransSegs\nTcp: 200 3 4\nMPTcpExt: X\nMPTcpExt: 1\n";
        let expected = [("node_netstat_Tcp_CurrEstab", 3.0), ("node_netstat_Tcp_RetransSegs", 4.0)];
        assert_eq!(node_protocols(snmp), expected.map(|(name, count)| Reading::plain(name, count)));
        assert_eq!(node_protocols("Tcp: CurrEstab\n"), []);
        let six = "Ip6InReceives \t3\nIp6InOctets                     \t460\nUdpLite6InErrors \t1\nNone 3\n";
        let expected = [("node_netstat_Ip6_InOctets", 460.0), ("node_netstat_UdpLite6_InErrors", 1.0)];
        assert_eq!(node_protocols_of_six(six), expected.map(|(name, count)| Reading::plain(name, count)));
    }

    #[test]
    fn retransmits_stand_where_their_name_stands() {
        let snmp = "Ip: Forwarding\nIp: 1\nTcp: InSegs OutSegs RetransSegs InErrs\nTcp: 9 8 7 6\n";
        assert_eq!(retransmits(snmp), Some(Reading::plain("socket_tcp_retransmits_total", 7.0)));
        assert_eq!(retransmits("Tcp: InSegs\nTcp: 9\n"), None);
        assert_eq!(retransmits("Tcp: RetransSegs\n"), None);
    }
}
