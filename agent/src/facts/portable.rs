//! As sysinfo has it, on macOS and Windows.

use edgewatch_shared::wire::Facts;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, System};

/// Gathers the facts. What the operating system does not tell stays empty.
pub fn gather() -> Facts {
    let mut facts = Facts {
        os: operating_system(System::name().ok(), System::os_version().ok()),
        kernel: System::kernel_version().unwrap_or_default(),
        arch: System::cpu_arch(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Facts::default()
    };
    if let Ok(mut system) = System::new() {
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        system.refresh_cpu_list(CpuRefreshKind::nothing());
        facts.cpus = u32::try_from(system.cpus().len()).unwrap_or(u32::MAX);
        facts.memory_bytes = system.total_memory();
        let model = system.cpus().first().map(|core| core.brand().trim().to_owned());
        facts.cpu_model = model.unwrap_or_default();
    }
    facts
}

/// Name and version, as the system gives them.
fn operating_system(name: Option<String>, version: Option<String>) -> String {
    [name, version].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// What the host calls itself.
pub fn own_name() -> String {
    System::host_name().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_a_version_is_its_name() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(operating_system(text("Debian GNU/Linux"), text("12")), "Debian GNU/Linux 12");
        assert_eq!(operating_system(text("Arch Linux"), None), "Arch Linux");
        assert_eq!(operating_system(None, None), "");
    }
}
