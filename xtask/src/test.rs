//! `cargo xtask test`: everything that decides whether a change may go in, in the
//! order in which it fails soonest. `.ci/run` calls exactly this.

use crate::{
    build::{Bundle, Program, WASM_TARGET, wasm_environment},
    command::{cargo, run, run_seeing, say},
    cross,
    setup::{self, Need, tools},
    tidy, wrangler,
};
use anyhow::{Result, bail};
use std::{
    process::Command,
    time::{Duration, Instant},
};

const VERB: &str = "test";

/// One part of the whole, with a name to call it by.
struct Step {
    name: &'static str,
    headline: &'static str,
    run: fn(&mut Count) -> Result<()>,
}

/// In this order; the first that fails ends the run.
const STEPS: &[Step] = &[
    Step { name: "setup", headline: "tools and packages", run: |_| setup::run_for(Need::Test) },
    Step { name: "fmt", headline: "formatting", run: |_| run(cargo().args(["fmt", "--all", "--check"])) },
    Step { name: "tidy", headline: "house rules", run: |_| tidy::run() },
    Step { name: "clippy", headline: "clippy, warnings denied", run: |_| clippy() },
    Step { name: "cross", headline: "the agent for macOS and Windows", run: |_| cross::check() },
    Step { name: "deny", headline: "licences, sources and advisories of dependencies", run: |_| deny() },
    Step { name: "unit", headline: "unit tests of every crate", run: unit_tests },
    Step { name: "build", headline: "release builds: both bundles, agent, command line", run: |_| build() },
    Step { name: "dry-run", headline: "wrangler deploy --dry-run", run: |_| wrangler::dry_run() },
    Step { name: "e2e", headline: "end-to-end tests in workerd", run: end_to_end_tests },
];

/// The steps' names, for the help text.
pub fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs the named steps, or all of them when none is named; always in the order of the list.
///
/// The last line on standard output is `N passed, N failed`: tests count one each, and so does every step
/// that is not made of tests.
pub fn run_steps(names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        bail!("there is no step {unknown:?}: the steps are {}", step_names().join(", "));
    }
    let mut count = Count::default();
    let mut timings = Vec::new();
    let mut failure = None;
    for step in STEPS.iter().filter(|step| names.is_empty() || names.iter().any(|name| name == step.name)) {
        say(VERB, format!("━━ {}: {}", step.name, step.headline));
        let start = Instant::now();
        let before = count.clone();
        let result = (step.run)(&mut count);
        timings.push((step.name, start.elapsed()));
        count.finish_step(&before, result.is_ok());
        if let Err(error) = result {
            failure = Some(error.context(format!("the step `{}` failed", step.name)));
            break;
        }
    }
    summarize(&timings);
    println!("{} passed, {} failed", count.passed, count.failed);
    failure.map_or(Ok(()), Err)
}

/// Tests that ran, and steps without tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    /// Adds cargo's `test result: ok. 3 passed; 1 failed; …`; other lines say nothing.
    fn see(&mut self, line: &str) {
        let Some((_, result)) = line.split_once("test result: ") else { return };
        for part in result.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    /// A step that counted nothing counts itself; so does one that failed without a failed test.
    fn finish_step(&mut self, before: &Self, succeeded: bool) {
        if succeeded && self == before {
            self.passed += 1;
        }
        if !succeeded && self.failed == before.failed {
            self.failed += 1;
        }
    }
}

fn clippy() -> Result<()> {
    let deny = ["--", "--deny", "warnings"];
    let native = ["clippy", "--workspace", "--exclude", "edgewatch-worker", "--all-targets"];
    run(cargo().args(native).args(deny))?;
    for features in [&[][..], &["--features", "test-hooks"]] {
        let worker = ["clippy", "--package", "edgewatch-worker", "--target", WASM_TARGET];
        run(wasm_environment(cargo().args(worker).args(features).args(deny)))?;
    }
    Ok(())
}

/// The advisory database is a git repository, which not every network reaches: then, loudly, only the rest is checked.
fn deny() -> Result<()> {
    let tool = tools::CARGO_DENY.path()?;
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&tool);
        command.current_dir(crate::project::root()).args(arguments);
        command
    };
    run(&mut deny(&["--log-level", "error", "check", "licenses", "bans", "sources"]))?;
    if let Err(error) = crate::command::output(&mut deny(&["fetch", "db"])) {
        say(VERB, "!!! NOT CHECKED: known vulnerabilities. The advisory database could not be fetched:");
        say(VERB, format!("!!! {error:#}"));
        return Ok(());
    }
    run(&mut deny(&["--log-level", "error", "check", "--disable-fetch", "advisories"]))
}

fn unit_tests(count: &mut Count) -> Result<()> {
    cargo_test(&["--workspace", "--exclude", "edgewatch-e2e"], count)
}

fn end_to_end_tests(count: &mut Count) -> Result<()> {
    cargo_test(&["--package", "edgewatch-e2e"], count)
}

/// Goes on after a failure, so that one run shows all of them.
fn cargo_test(arguments: &[&str], count: &mut Count) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--no-fail-fast"]).args(arguments);
    if !run_seeing(&mut command, |line| count.see(line))? {
        bail!("tests failed");
    }
    Ok(())
}

fn build() -> Result<()> {
    // Both share cargo's one place for the module: what comes next, the dry run, wants the release.
    Bundle::TestHooks.build()?;
    Bundle::Release.build()?;
    Program::Agent.build()?;
    Program::Cli.build()
}

fn summarize(timings: &[(&str, Duration)]) {
    for (name, elapsed) in timings {
        say(VERB, format!("{:>7.1} s  {name}", elapsed.as_secs_f64()));
    }
    let total: Duration = timings.iter().map(|(_, elapsed)| elapsed).sum();
    say(VERB, format!("{:>7.1} s  in all", total.as_secs_f64()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_results_are_added_up() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            count.see(line);
        }
        assert_eq!(count, Count { passed: 4, failed: 2 });
    }

    #[test]
    fn a_step_without_tests_counts_itself() {
        for (succeeded, expected) in
            [(true, Count { passed: 1, failed: 0 }), (false, Count { passed: 0, failed: 1 })]
        {
            let mut count = Count::default();
            count.finish_step(&Count::default(), succeeded);
            assert_eq!(count, expected);
        }
    }

    #[test]
    fn a_step_with_tests_does_not_count_itself() {
        let mut count = Count { passed: 5, failed: 1 };
        count.finish_step(&Count::default(), false);
        assert_eq!(count, Count { passed: 5, failed: 1 });
    }

    #[test]
    fn an_unknown_step_is_named() {
        let error = run_steps(&["nonsense".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}
