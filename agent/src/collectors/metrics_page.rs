//! `docs/metrics.md`, out of the catalogue and what each noun says it emits.

use super::{NOUNS, portable};
use crate::generated::assert_current;
use edgewatch_shared::catalogue::{DIFFERENCES, FREE_PREFIXES, Kind, Metric, NODE_EXPORTER, find};
use std::fmt::Write;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

const INTRODUCTION: &str = "# Metrics

What the agent sends, collector by collector. This page is made out of the catalogue (`shared/src/catalogue`); a test
fails when it is out of date, and `EDGEWATCH_BLESS=1 cargo test -p edgewatch-agent metrics_page` writes it anew.

A collector that has nothing to read on a host sends nothing: no swap, no share of it. On macOS and Windows there is only
what is marked \"all\". Percentages and loads have two decimals, times three at most, and what counts is a whole number;
memory of a Linux host is rounded to a ten-thousandth of it, at most 1 MiB: digits beyond what a reading can tell would be
most of what it costs to store.
";

fn row(page: &mut String, metric: &Metric, cells: &[&str]) {
    let kind = match metric.kind {
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
    };
    let labels: Vec<String> = metric.label_keys.iter().map(|key| format!("`{key}`")).collect();
    write!(page, "| `{}` | {kind} | {} | {} |", metric.name, metric.unit, labels.join(", ")).unwrap();
    for cell in cells {
        write!(page, " {cell} |").unwrap();
    }
    writeln!(page, " {} |", metric.help).unwrap();
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let everywhere: Vec<&str> = portable::NOUNS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    for (noun, names) in NOUNS {
        write!(page, "\n## `{noun}`\n\n").unwrap();
        page.push_str("| Name | Kind | Unit | Labels | Systems | node_exporter's name | Meaning |\n");
        page.push_str("|---|---|---|---|---|---|---|\n");
        for name in names {
            let metric = find(name).unwrap();
            let systems = if everywhere.contains(name) { "all" } else { "Linux" };
            let alias = metric.node_exporter.map_or_else(String::new, |alias| format!("`{alias}`"));
            row(&mut page, metric, &[systems, &alias]);
        }
    }
    page.push_str("\n## Names of others\n\n");
    for (difference, counter) in DIFFERENCES {
        writeln!(
            page,
            "- `{difference}` is answered as the difference of `{counter}` since its last reading."
        )
        .unwrap();
    }
    let free: Vec<String> = FREE_PREFIXES.iter().map(|prefix| format!("`{prefix}`")).collect();
    writeln!(page, "- Under the prefixes {} a host may send names of its own.", free.join(" and ")).unwrap();
    page.push_str(
        "\n## Under `names = \"node_exporter\"`\n\nThese go out in place of ours. Of ours stay those that listings of hosts \
         show, and those of collectors that send none of these.\nAn empty label of node_exporter's is an absent one.\n\n\
         | Name | Kind | Unit | Labels | Meaning |\n|---|---|---|---|---|\n",
    );
    for metric in NODE_EXPORTER {
        row(&mut page, metric, &[]);
    }
    page
}

#[test]
fn the_metrics_page_is_what_the_catalogue_says() {
    assert_current(PATH, &page(), "metrics_page");
}
