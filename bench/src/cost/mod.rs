//! What a fleet costs: the counts that were measured, times the fleet, against what Cloudflare's plans include and ask.

mod bytes;
mod counts;
mod plan;

use crate::figure::Figure;
use anyhow::Result;
use plan::{Fleet, Measured, bill, hosts_on_free_plan};

/// What a push takes of processor time, Worker and shard together, when it was not measured in the same run: of
/// `docs/benchmarks.md`.
const CPU_MS_PER_PUSH: f64 = 0.64;

/// The hosts on the free plan, and dollars a month on the paid one.
pub fn measure(cpu_ms_per_push: Option<f64>) -> Result<Vec<Figure>> {
    let laws = counts::measure()?;
    let bytes = bytes::measure()?;
    let measured = Measured { laws, bytes, cpu_ms_per_push: cpu_ms_per_push.unwrap_or(CPU_MS_PER_PUSH) };
    let mut figures = Vec::new();
    for (resource, law) in &measured.laws {
        let name = resource.as_str();
        figures.push(Figure::new(format!("cost_{name}_per_push"), law.per_push, ""));
        figures.push(Figure::new(format!("cost_{name}_per_shard_day"), law.per_shard_day, ""));
    }
    figures.extend([
        Figure::new("cost_raw_bytes_per_host_day", measured.bytes.raw_a_day, "B"),
        Figure::new("cost_five_minute_bytes_per_host_day", measured.bytes.five_minutes_a_day, "B"),
        Figure::new("cost_hour_bytes_per_host_day", measured.bytes.hours_a_day, "B"),
    ]);
    let (hosts, limit) = hosts_on_free_plan(&measured, plan::Arrivals::Together);
    figures.push(Figure::new("hosts_on_free_plan", hosts as f64, "hosts").noting(limit));
    let (hosts, limit) = hosts_on_free_plan(&measured, plan::Arrivals::Spread);
    figures.push(Figure::new("hosts_on_free_plan_without_slots", hosts as f64, "hosts").noting(limit));
    for hosts in [100, 1_000, 10_000] {
        for (suffix, arrivals) in [("", plan::Arrivals::Together), ("_without_slots", plan::Arrivals::Spread)]
        {
            let bill = bill(&measured, Fleet { hosts, arrivals });
            let most = bill.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("nothing", |most| most.0);
            let total = plan::BASE_DOLLARS + bill.iter().map(|item| item.1).sum::<f64>();
            let name = format!("dollars_per_month_{hosts}_hosts{suffix}");
            figures.push(Figure::new(name, total, "$").noting(most));
        }
    }
    Ok(figures)
}
