//! Out of `/proc` and `/etc/os-release`.

use edgewatch_shared::wire::Facts;
use std::fs;

/// Gathers the facts. What the operating system does not tell stays empty.
pub fn gather() -> Facts {
    let cpuinfo = text("/proc/cpuinfo");
    Facts {
        os: operating_system(&text("/etc/os-release")),
        kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cpus: processors(&cpuinfo),
        cpu_model: model(&cpuinfo).unwrap_or_else(board),
        memory_bytes: memory_bytes(&text("/proc/meminfo")),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// What the host calls itself.
pub fn own_name() -> String {
    text("/proc/sys/kernel/hostname").trim().to_owned()
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Name and version of `/etc/os-release` (`man 5 os-release`), whose values may be quoted.
fn operating_system(os_release: &str) -> String {
    let value = |key: &str| {
        let line = os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches(['"', '\'']).to_owned()).filter(|text| !text.is_empty())
    };
    [value("NAME"), value("VERSION_ID")].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn processors(cpuinfo: &str) -> u32 {
    let count = cpuinfo.lines().filter(|line| value_of(line, "processor").is_some()).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// x86 has a name for every processor, a small board one for all of it.
fn model(cpuinfo: &str) -> Option<String> {
    let first = |key: &str| cpuinfo.lines().find_map(|line| value_of(line, key));
    first("model name").or_else(|| first("Model")).map(str::to_owned)
}

/// What the firmware calls the machine, where processors have no names.
fn board() -> String {
    text("/proc/device-tree/model").trim_end_matches('\0').trim().to_owned()
}

fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    (found.trim() == key).then(|| value.trim())
}

fn memory_bytes(meminfo: &str) -> u64 {
    let kilobytes = meminfo.lines().find_map(|line| value_of(line, "MemTotal")?.strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.and_then(|number| number.parse().ok()).unwrap_or_default();
    kilobytes.saturating_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_a_version_is_its_name() {
        // Debian 12 and Arch Linux, 2026-11-21, shortened.
        let debian =
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n";
        assert_eq!(operating_system(debian), "Debian GNU/Linux 12");
        assert_eq!(operating_system("NAME=Arch\nVERSION_ID=\n"), "Arch");
        assert_eq!(operating_system(""), "");
    }

    #[test]
    fn processors_are_counted_and_the_first_ones_name_is_the_model() {
        // A virtual machine and a Raspberry Pi 4, 2026-11-21, shortened.
        let x86 = "processor\t: 0\nmodel\t\t: 106\nmodel name\t: Intel(R) Xeon(R)\n\nprocessor\t: 1\n";
        assert_eq!((processors(x86), model(x86).as_deref()), (2, Some("Intel(R) Xeon(R)")));
        let arm = "processor\t: 0\nCPU part\t: 0xd08\n\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n";
        assert_eq!((processors(arm), model(arm).as_deref()), (1, Some("Raspberry Pi 4 Model B Rev 1.4")));
        assert_eq!((processors(""), model("")), (0, None));
    }

    #[test]
    fn memory_is_told_in_kilobytes() {
        assert_eq!(memory_bytes("MemTotal:       24684096 kB\nMemFree: 1 kB\n"), 24_684_096 * 1_024);
        assert_eq!(memory_bytes("MemTotal: much\n"), 0);
    }
}
