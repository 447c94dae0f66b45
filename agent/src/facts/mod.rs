//! What is known of the host beside its samples.

pub mod untold;

#[cfg(target_os = "linux")]
mod linux;
// On Linux its pure parts are tested all the same.
#[cfg(any(test, not(target_os = "linux")))]
mod portable;

#[cfg(target_os = "linux")]
pub use linux::{gather, own_name};
#[cfg(not(target_os = "linux"))]
pub use portable::{gather, own_name};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_processors_and_memory() {
        for facts in [gather(), portable::gather()] {
            assert!(facts.cpus > 0 && facts.memory_bytes > 0, "{facts:?}");
            assert!(!facts.kernel.is_empty() && !facts.arch.is_empty(), "{facts:?}");
            assert!(
                serde_json::to_string(&facts).unwrap().len() <= edgewatch_shared::limits::FACTS_BYTES_MAX
            );
        }
        assert_eq!(own_name(), portable::own_name());
    }
}
