//! The arithmetic: a day of a fleet, its share of the quotas, its bill. What the plans include is `engine::quota`'s;
//! what more of it costs stands here.

use edgewatch_engine::{
    quota::{Plan, Store, bytes_included, gb_s_of_ms, quotas},
    retention::RetentionSettings,
    rollup::Resolution,
    usage::Resource,
};
use edgewatch_shared::limits::{DAY_MS, PUSH_INTERVAL_MS, SHARD_HOSTS_MAX};

/// The paid plan, a month.
pub const BASE_DOLLARS: f64 = 5.0;
/// Of every quota, what is left for people who look at pages, and for bad days.
const SPARE: f64 = 0.2;
const PUSHES_A_DAY: f64 = (DAY_MS / PUSH_INTERVAL_MS) as f64;
const DAYS_A_MONTH: f64 = 30.0;
/// The age of the fleet whose bytes are paid for: what is kept for ever has a year of it.
const DAYS_STORED_MAX: u32 = 365;
/// An object stays in memory for about so long after its last call; whether that is billed is disputed, so it is.
const OBJECT_IDLE_S: f64 = 10.0;
/// Within so many seconds of every minute the hosts of a shard arrive when they have been given a slot.
const SLOT_S: f64 = 4.0;

/// What a million costs beyond what the paid plan includes, in dollars; of object time, a million GB-s. The pricing pages
/// of Workers, Durable Objects, D1 and R2 at <https://developers.cloudflare.com>, as of November 2026.
fn dollars_per_million(resource: Resource) -> f64 {
    match resource {
        Resource::WorkerRequests => 0.30,
        Resource::ObjectRequests => 0.15,
        Resource::ObjectMs => 12.50,
        Resource::ObjectRowsWritten | Resource::CatalogueRowsWritten => 1.00,
        Resource::ObjectRowsRead | Resource::CatalogueRowsRead => 0.001,
        Resource::BlobWrites => 4.50,
        Resource::BlobReads => 0.36,
    }
}

/// A million milliseconds of the Worker's processor time, beyond the first 30 million.
const DOLLARS_PER_MILLION_CPU_MS: f64 = 0.02;
const CPU_MS_INCLUDED: f64 = 30e6;

/// A GB for a month.
const R2_DOLLARS_PER_GB: f64 = 0.015;

/// How much of a resource is used: with every push, and by every shard a day however many hosts it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Law {
    /// With every push.
    pub per_push: f64,
    /// With every day of a shard.
    pub per_shard_day: f64,
}

impl Law {
    /// Through two days of a shard, each `(pushes, used)`.
    pub fn through(few: (f64, f64), many: (f64, f64)) -> Self {
        let per_push = (many.1 - few.1) / (many.0 - few.0);
        Self { per_push, per_shard_day: (few.1 - per_push * few.0).max(0.0) }
    }

    fn a_day(self, fleet: Fleet) -> f64 {
        self.per_push * fleet.pushes_a_day() + self.per_shard_day * fleet.shards()
    }
}

/// Bytes of a host's day in blocks.
#[derive(Clone, Copy, Debug)]
pub struct HostBytes {
    /// All readings.
    pub raw_a_day: f64,
    /// Rollups of five minutes.
    pub five_minutes_a_day: f64,
    /// Rollups of an hour.
    pub hours_a_day: f64,
}

impl HostBytes {
    /// What is stored of a host once it is [`DAYS_STORED_MAX`] old, by the retention that holds if nobody says anything.
    fn kept(self) -> f64 {
        let retention = RetentionSettings::default();
        let days = |resolution| {
            f64::from(retention.days(resolution).unwrap_or(DAYS_STORED_MAX).min(DAYS_STORED_MAX))
        };
        self.raw_a_day * days(Resolution::Raw)
            + self.five_minutes_a_day * days(Resolution::FiveMinutes)
            + self.hours_a_day * days(Resolution::Hour)
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// By resource. Of the time objects are awake there is none: it follows from when pushes arrive.
    pub laws: Vec<(Resource, Law)>,
    /// At rest.
    pub bytes: HostBytes,
    /// Worker and shard together.
    pub cpu_ms_per_push: f64,
}

/// When a shard's hosts push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Whenever they happened to start.
    Spread,
    /// In the slot of their shard.
    Together,
}

/// So many hosts, each with a push a minute.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// How many.
    pub hosts: u32,
    /// When they push.
    pub arrivals: Arrivals,
}

impl Fleet {
    fn pushes_a_day(self) -> f64 {
        f64::from(self.hosts) * PUSHES_A_DAY
    }

    /// Shards are filled one after the other.
    fn shards(self) -> f64 {
        (f64::from(self.hosts) / SHARD_HOSTS_MAX as f64).ceil()
    }

    /// The share of time that a shard is awake.
    fn awake(self) -> f64 {
        let interval_s = PUSH_INTERVAL_MS as f64 / 1_000.0;
        match self.arrivals {
            Arrivals::Together => (SLOT_S + OBJECT_IDLE_S) / interval_s,
            // Asleep when none of its hosts has pushed lately.
            Arrivals::Spread => {
                1.0 - (1.0 - OBJECT_IDLE_S / interval_s).powf(f64::from(self.hosts) / self.shards())
            }
        }
    }

    /// GB-s that its objects are awake for in a day.
    fn gb_s_a_day(self) -> f64 {
        let day_ms = DAY_MS.unsigned_abs();
        gb_s_of_ms(day_ms) as f64 * self.awake() * self.shards()
    }
}

/// What a fleet uses in a day.
fn a_day(measured: &Measured, fleet: Fleet) -> Vec<(Resource, f64)> {
    let counted = measured.laws.iter().map(|(resource, law)| (*resource, law.a_day(fleet)));
    counted.chain([(Resource::ObjectMs, fleet.gb_s_a_day())]).collect()
}

/// The largest fleet whose every day leaves [`SPARE`] of every quota of the free plan, and the quota that stops it
/// from growing. Bytes are R2's; the free plan includes 10 GB.
pub fn hosts_on_free_plan(measured: &Measured, arrivals: Arrivals) -> (u32, &'static str) {
    let share = |resource: Resource, used: f64| {
        let quota = quotas(Plan::Free).iter().find(|quota| quota.resource == resource);
        quota.map_or(0.0, |quota| used / in_its_unit(resource, quota.a_day_of_it()))
    };
    for hosts in 1.. {
        let fleet = Fleet { hosts, arrivals };
        let counted = a_day(measured, fleet).into_iter();
        let bytes = f64::from(hosts) * measured.bytes.kept();
        let shares = counted
            .map(|(resource, used)| (resource.as_str(), share(resource, used)))
            .chain([("r2_bytes", bytes / bytes_included(Plan::Free, Store::R2) as f64)]);
        let fullest = shares.max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((limit, _)) = fullest.filter(|(_, share)| *share > 1.0 - SPARE) {
            return (hosts - 1, limit);
        }
    }
    (u32::MAX, "nothing")
}

/// An amount as quotas have it: of object time, the GB-s.
fn in_its_unit(resource: Resource, amount: u64) -> f64 {
    (if resource == Resource::ObjectMs { gb_s_of_ms(amount) } else { amount }) as f64
}

/// What a month costs beyond [`BASE_DOLLARS`], by what it is for.
pub fn bill(measured: &Measured, fleet: Fleet) -> Vec<(&'static str, f64)> {
    let used = a_day(measured, fleet);
    let included = |resource: Resource| {
        let quota = quotas(Plan::Paid).iter().find(|quota| quota.resource == resource);
        in_its_unit(resource, quota.map_or(0, |quota| quota.amount))
    };
    let over = |amount: f64, included: f64| (amount - included).max(0.0);
    let counted = used.into_iter().map(|(resource, a_day)| {
        let over = over(a_day * DAYS_A_MONTH, included(resource));
        (resource.as_str(), over / 1e6 * dollars_per_million(resource))
    });
    let cpu_ms = fleet.pushes_a_day() * DAYS_A_MONTH * measured.cpu_ms_per_push;
    let cpu = over(cpu_ms, CPU_MS_INCLUDED) / 1e6 * DOLLARS_PER_MILLION_CPU_MS;
    let bytes = f64::from(fleet.hosts) * measured.bytes.kept();
    let stored = over(bytes, bytes_included(Plan::Paid, Store::R2) as f64) / 1e9 * R2_DOLLARS_PER_GB;
    counted.chain([("cpu_ms", cpu), ("r2_bytes", stored)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let law = |per_push, per_shard_day| Law { per_push, per_shard_day };
        Measured {
            laws: vec![
                (Resource::WorkerRequests, law(1.0, 0.0)),
                (Resource::ObjectRequests, law(1.0, 100.0)),
                (Resource::ObjectRowsWritten, law(1.0, 200.0)),
                (Resource::BlobWrites, law(0.0, 30.0)),
            ],
            bytes: HostBytes { raw_a_day: 300_000.0, five_minutes_a_day: 40_000.0, hours_a_day: 4_000.0 },
            cpu_ms_per_push: 0.5,
        }
    }

    fn fleet(hosts: u32, arrivals: Arrivals) -> Fleet {
        Fleet { hosts, arrivals }
    }

    #[test]
    fn a_law_goes_through_both_days() {
        assert_eq!(
            Law::through((100.0, 120.0), (1_100.0, 1_120.0)),
            Law { per_push: 1.0, per_shard_day: 20.0 }
        );
        assert_eq!(Law::through((100.0, 5.0), (200.0, 5.0)), Law { per_push: 0.0, per_shard_day: 5.0 });
    }

    #[test]
    fn the_free_plan_is_full_when_one_quota_has_a_fifth_left() {
        // Of 80,000 rows a day 200 are the shard's: 55 hosts push 79,200 times, 56 would 80,640 times.
        assert_eq!(hosts_on_free_plan(&measured(), Arrivals::Together), (55, "object_rows_written"));
        // 300 kB × 30 days + 44 kB × 365: 25.06 MB a host, of 8 GB.
        let nothing_counts = Measured { laws: Vec::new(), ..measured() };
        assert_eq!(hosts_on_free_plan(&nothing_counts, Arrivals::Together), (319, "r2_bytes"));
        // 10,400 of 11,060 GB-s: 94.03 % awake; with 15 hosts 93.51 %, with 16 it would be 94.59 %.
        assert_eq!(hosts_on_free_plan(&measured(), Arrivals::Spread), (15, "object_gb_s"));
    }

    #[test]
    fn hosts_in_slots_let_their_shard_sleep() {
        assert!((fleet(10, Arrivals::Together).awake() - 14.0 / 60.0).abs() < 1e-9);
        assert!((fleet(1, Arrivals::Spread).awake() - 1.0 / 6.0).abs() < 1e-9);
        assert!(fleet(256, Arrivals::Spread).awake() > 0.999_999);
        assert_eq!(fleet(257, Arrivals::Together).shards(), 2.0);
    }

    #[test]
    fn a_bill_asks_only_for_what_is_beyond_the_plan() {
        let items = |hosts| bill(&measured(), fleet(hosts, Arrivals::Together));
        assert!(items(20).iter().all(|(_, dollars)| *dollars == 0.0), "{:?}", items(20));
        let of = |hosts, name: &str| items(hosts).into_iter().find(|item| item.0 == name).unwrap().1;
        // 1,000 hosts: 43.2 M pushes a month; 4 shards.
        assert!((of(1_000, "worker_requests") - 33.2 * 0.30).abs() < 1e-9);
        assert!((of(1_000, "object_requests") - (43.2 + 0.012 - 1.0) * 0.15).abs() < 1e-9);
        assert_eq!(of(1_000, "object_rows_written"), 0.0);
        assert_eq!(of(1_000, "cpu_ms"), 0.0);
        // 4 shards awake for 14 s of every minute: 309,680 GB-s of 400,000.
        assert_eq!(of(1_000, "object_gb_s"), 0.0);
        // 25.06 GB, 10 of them included.
        assert!((of(1_000, "r2_bytes") - 15.06 * 0.015).abs() < 1e-9);
    }
}
