//! The agent's weight beside its peers': its binary, its memory at readings every second, and its processor time at
//! readings every 10 s, all in one run.

mod contenders;
mod running;
mod tls;

pub use running::{RunningAgent, Way};

use crate::{
    figure::Figure,
    process::{Memory, cpu_seconds},
};
use anyhow::{Context, Result};
use contenders::{Collected, Contenders, Each, NAMES, Servers};
use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};
use xtask::setup::peers;

/// Seconds between readings while memory is weighed, and while processor time is.
const INTERVALS_S: [u64; 2] = [1, 10];
/// The share of the time that passes before anything counts.
const WARM_UP: f64 = 0.1;
/// Between two looks at memory.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// For what was read last to arrive: a push comes once a minute, and its slot half a minute later.
const ARRIVAL: Duration = Duration::from_secs(100);
/// Another agent of ours, with the names that node_exporter has: the same samples, by whom they are read.
const SAME_NAMES: &str = "same_names";
/// What a sample of node_exporter and vmagent is called beside ours.
const SCRAPED: &str = "node_exporter and vmagent";

/// Size of the agent as it is released.
pub fn binary_size() -> Result<Figure> {
    Ok(Figure::new("agent_binary_bytes", bytes_of(&xtask::bench::agent())?, "B"))
}

fn bytes_of(file: &Path) -> Result<f64> {
    Ok(fs::metadata(file).with_context(|| format!("reading {}", file.display()))?.len() as f64)
}

/// Runs all of them for so long and weighs them.
pub fn measure(minutes: u64) -> Result<Vec<Figure>> {
    let peers_bytes = bytes_of(&peers::NODE_EXPORTER.ensure()?)? + bytes_of(&peers::VMAGENT.ensure()?)?;
    let mut figures = vec![binary_size()?.beside(SCRAPED, peers_bytes)];
    let servers = Servers::start()?;
    let [mut each_second, mut each_ten] = {
        let [second, ten] = INTERVALS_S.map(|interval_s| Contenders::start(&servers, interval_s));
        [second?, ten?]
    };
    let mut same_names = servers.agent(SAME_NAMES, INTERVALS_S[1], "node_exporter")?;
    let total = Duration::from_secs(minutes * 60);
    let start = Instant::now();
    thread::sleep(total.mul_f64(WARM_UP));
    let used_before = each_ten.cpu_seconds()?;
    let same_before = cpu_seconds(same_names.running()?)?;
    let (from, counted) = (crate::fleet::now()?, Instant::now());
    let mut looks = Vec::new();
    while start.elapsed() < total {
        looks.push(each_second.memory()?);
        thread::sleep(LOOK_EVERY.min(total.saturating_sub(start.elapsed())));
    }
    looks.push(each_second.memory()?);
    figures.extend(memory_figures(&looks, &each_ten.memory()?)?);
    let used = each_ten.cpu_seconds()?;
    let same_used_s = cpu_seconds(same_names.running()?)? - same_before;
    let (to, wall_s) = (crate::fleet::now()?, counted.elapsed().as_secs_f64());
    thread::sleep(ARRIVAL);
    let collected = each_ten.collected(&servers, from, to)?;
    let mut used_s = used;
    used_s.iter_mut().zip(used_before).for_each(|(used, before)| *used -= before);
    let rounds = wall_s / INTERVALS_S[1] as f64;
    figures.extend(same_names_figures(
        same_used_s,
        servers.arrived(SAME_NAMES, from, to)?,
        rounds,
        &used_s,
        collected,
    ));
    figures.extend(cpu_figures(used_s, collected, rounds));
    Ok(figures)
}

/// Memory at readings every second, at the end and as it grew; of our agent at readings every 10 s, too.
fn memory_figures(looks: &[Each<Memory>], every_ten: &Each<Memory>) -> Result<Vec<Figure>> {
    let last = looks.last().context("nobody looked at memory")?;
    let scraped = |memory: &Each<Memory>| memory[1] + memory[2];
    let bytes = |name: &str, bytes: u64| Figure::new(name, bytes as f64, "B");
    let mut figures = vec![
        bytes("agent_rss_bytes", last[0].resident).beside(SCRAPED, scraped(last).resident as f64),
        bytes("agent_rss_anonymous_bytes", last[0].anonymous).beside(SCRAPED, scraped(last).anonymous as f64),
        bytes("agent_rss_10s_bytes", every_ten[0].resident)
            .beside(SCRAPED, scraped(every_ten).resident as f64),
    ];
    for (at, name) in NAMES.into_iter().enumerate() {
        if at > 0 {
            figures.push(bytes(&format!("{name}_rss_bytes"), last[at].resident));
            figures.push(bytes(&format!("{name}_rss_anonymous_bytes"), last[at].anonymous));
        }
        let resident: Vec<f64> = looks.iter().map(|look| look[at].resident as f64).collect();
        figures.push(Figure::new(format!("{name}_rss_growth"), growth(&resident), ""));
    }
    Ok(figures)
}

/// By what share the mean of the last third is above that of the first.
fn growth(looks: &[f64]) -> f64 {
    let third = looks.len() / 3;
    let mean = |looks: &[f64]| looks.iter().sum::<f64>() / looks.len() as f64;
    mean(&looks[looks.len() - third..]) / mean(&looks[..third]) - 1.0
}

/// Processor time of so many rounds: by sample, and by round.
fn cpu_figures(used_s: Each<f64>, collected: Collected, rounds: f64) -> Vec<Figure> {
    let [agent_s, exporter_s, scraper_s, collectd_s] = used_s;
    let scraped_s = exporter_s + scraper_s;
    let by_sample = |seconds: f64, samples: f64| seconds * 1e6 / samples;
    let ours = by_sample(agent_s, collected.agent);
    let theirs = by_sample(scraped_s, collected.scraped);
    let mut figures = vec![
        Figure::new("agent_cpu_ratio", ours / theirs, ""),
        Figure::new("agent_cpu_us_per_sample", ours, "µs").beside(SCRAPED, theirs),
        Figure::new("collectd_cpu_us_per_sample", by_sample(collectd_s, collected.collectd), "µs"),
        Figure::new("agent_samples_per_round", collected.agent / rounds, "")
            .beside(SCRAPED, collected.scraped / rounds),
        Figure::new("collectd_samples_per_round", collected.collectd / rounds, ""),
    ];
    figures.extend(NAMES.iter().zip(used_s).map(|(name, seconds)| {
        Figure::new(format!("{name}_cpu_ms_per_round"), seconds * 1e3 / rounds, "ms")
    }));
    figures
}

/// Processor time of our agent with node_exporter's names, by sample beside those who read the same.
fn same_names_figures(
    used_s: f64,
    samples: f64,
    rounds: f64,
    others_s: &Each<f64>,
    collected: Collected,
) -> [Figure; 3] {
    let theirs = (others_s[1] + others_s[2]) / collected.scraped;
    let name = |what: &str| format!("agent_{what}_{SAME_NAMES}");
    [
        Figure::new(name("cpu_ratio"), used_s / samples / theirs, ""),
        Figure::new(name("samples_per_round"), samples / rounds, "")
            .beside(SCRAPED, collected.scraped / rounds),
        Figure::new(name("cpu_ms_per_round"), used_s * 1e3 / rounds, "ms"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_of_the_last_third_over_the_first() {
        assert!((growth(&[2.0, 2.0, 9.0, 9.0, 2.0, 3.0]) - 0.25).abs() < 1e-9);
        assert!((growth(&[4.0, 1.0, 2.0]) + 0.5).abs() < 1e-9);
    }

    #[test]
    fn processor_time_is_told_by_sample() {
        let collected = Collected { agent: 1_000.0, scraped: 5_000.0, collectd: 500.0 };
        let figures = cpu_figures([0.01, 0.2, 0.05, 0.02], collected, 10.0);
        let told: Vec<(&str, f64)> = figures.iter().map(|figure| (figure.name(), figure.value())).collect();
        let same = same_names_figures(0.02, 4_000.0, 10.0, &[0.01, 0.2, 0.05, 0.02], collected);
        assert!((same[0].value() - 0.1).abs() < 1e-9, "{}", same[0].value());
        for (name, expected) in [
            ("agent_cpu_us_per_sample", 10.0),
            ("agent_cpu_ratio", 0.2),
            ("collectd_cpu_us_per_sample", 40.0),
            ("agent_samples_per_round", 100.0),
            ("vmagent_cpu_ms_per_round", 5.0),
        ] {
            let value = told.iter().find(|(told, _)| *told == name).unwrap().1;
            assert!((value - expected).abs() < 1e-9, "{name}: {value}");
        }
    }
}
