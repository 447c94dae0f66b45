//! What a listing of hosts shows: where in a list of series its headline metrics are.

use edgewatch_shared::{
    Series,
    catalogue::{HEADLINES, Headline},
};

/// Headline metrics of a list of series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headlines(Vec<Place>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    name: &'static str,
    /// Of several values the largest counts, else the first.
    is_largest: bool,
    series: Vec<usize>,
}

impl Headlines {
    /// Finds them.
    pub fn of<'a>(series: impl Iterator<Item = &'a Series>) -> Self {
        let mut places: Vec<Place> = Vec::new();
        for (at, series) in series.enumerate() {
            let Some((name, which)) = HEADLINES.iter().find(|(name, _)| *name == series.name) else {
                continue;
            };
            let is_shown = match which {
                Headline::Plain => series.labels.is_empty(),
                Headline::Labelled(key, value) => series.labels.get(*key).is_some_and(|found| found == value),
                Headline::Largest => true,
            };
            if !is_shown {
                continue;
            }
            match places.iter_mut().find(|place| place.name == *name) {
                Some(place) => place.series.push(at),
                None => {
                    places.push(Place { name, is_largest: *which == Headline::Largest, series: vec![at] });
                }
            }
        }
        Self(places)
    }

    /// Their values by stored name; `last` gives the newest value of the series at a place, if it has one.
    pub fn values(&self, last: impl Fn(usize) -> Option<f64>) -> Vec<(String, f64)> {
        let value = |place: &Place| {
            let mut values = place.series.iter().filter_map(|at| last(*at));
            let value = if place.is_largest { values.max_by(f64::total_cmp) } else { values.next() };
            Some((place.name.to_owned(), value?))
        };
        self.0.iter().filter_map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::Labels;

    #[test]
    fn headlines_pick_the_right_series() {
        let series = |name: &str, labels: &[(&str, &str)]| {
            let labels: Labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Series { name: name.into(), labels }
        };
        let list = [
            (series("cpu_usage_pct", &[("core", "0")]), Some(90.0)),
            (series("cpu_usage_pct", &[("core", "total")]), Some(51.0)),
            (series("disk_used_pct", &[("mount", "/")]), Some(10.0)),
            (series("disk_used_pct", &[("mount", "/data")]), Some(70.0)),
            (series("disk_used_pct", &[("mount", "/none")]), None),
            (series("load_1m", &[]), Some(0.5)),
            (series("mem_used_bytes", &[]), Some(5.0)),
            (series("uptime_seconds", &[]), None),
        ];
        let headlines = Headlines::of(list.iter().map(|(series, _)| series));
        let expected = [("cpu_usage_pct", 51.0), ("disk_used_pct", 70.0), ("load_1m", 0.5)];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(headlines.values(|at| list[at].1), expected);
    }
}
