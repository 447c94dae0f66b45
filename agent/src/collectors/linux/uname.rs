//! What the kernel calls itself and its host.

use crate::collectors::Reading;
use rustix::system::uname;

/// node_exporter's `uname` collector: what dashboards find their hosts by.
pub fn info() -> Reading {
    let told = uname();
    let mut info = Reading { name: "node_uname_info", labels: Vec::new(), value: 1.0 };
    for (key, text) in [
        ("domainname", told.domainname()),
        ("machine", told.machine()),
        ("nodename", told.nodename()),
        ("release", told.release()),
        ("sysname", told.sysname()),
        ("version", told.version()),
    ] {
        // An empty label is an absent one.
        if !text.is_empty() {
            info = info.with(key, &text.to_string_lossy());
        }
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_a_kernel() {
        let info = info();
        let of = |key: &str| info.labels.iter().find(|label| label.0 == key).map(|label| label.1.as_str());
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        assert_eq!((of("sysname"), of("release")), (Some("Linux"), Some(release.trim())));
        assert!(of("nodename").is_some() && of("machine").is_some());
    }
}
