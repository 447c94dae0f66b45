//! `cargo xtask VERB`: reads the command line and hands over to the verb's module.

use anyhow::{Context, Result, bail};
use lexopt::{
    Arg::{Long, Value},
    Parser, ValueExt,
};
use std::{path::PathBuf, process::ExitCode, time::Duration};
use xtask::{
    bench,
    build::{Bundle, Program},
    demo, project, release, serve, server,
    setup::{self, Need},
    test, tidy,
};

const HELP: &str = "\
cargo xtask VERB

  setup [--test]     install what building and running need (with --test also what testing needs)
  build [--worker] [--agent] [--cli] [--test-hooks]
                     release builds; all three when none is named; --test-hooks: the Worker that the
                     end-to-end tests drive
  serve --port N --state DIR [--without-r2] [--test-hooks]
                     run the built Worker in workerd; tokens are in DIR/tokens.json
  demo [--port N] [--state DIR] [--for SECONDS]
                     set up, build, serve, enrol this machine and run the agent
  test [STEP…]       everything that decides whether a change may go in, or the named steps of it:
                     setup fmt tidy clippy cross deny unit build dry-run e2e
  tidy               the house rules
  release [--out DIR] [--key FILE]
                     static programs for Linux, Debian packages and an image, with checksums and a
                     signature, in build/release if not said
  release --generate-key [--key FILE]
                     make the pair of keys that releases are signed with
  bench SUITE [--json] [--minutes N] [--only NAME]… [--data FILE]
                     measure: main (the main job's figures; N minutes of the agent, 10 if not said),
                     compression, storage (all of it, or the figures that are named; FILE: the
                     node_exporter's recording), cost or agent
";

/// Where the demo listens and keeps its state.
const DEMO_PORT: u16 = 8787;
const DEMO_STATE_DIR: &str = ".edgewatch-demo";

fn main() -> ExitCode {
    match run(Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Parser) -> Result<()> {
    let verb = match arguments.next()? {
        Some(Value(verb)) => verb.string()?,
        None | Some(Long("help") | lexopt::Arg::Short('h')) => "help".to_owned(),
        Some(other) => return Err(other.unexpected()).context(HELP),
    };
    match verb.as_str() {
        "setup" => run_setup(arguments),
        "build" => run_build(arguments),
        "serve" => run_serve(arguments),
        "demo" => run_demo(arguments),
        "test" => run_test(arguments),
        "tidy" => match arguments.next()? {
            None => tidy::run(),
            Some(other) => Err(other.unexpected().into()),
        },
        "release" => run_release(arguments),
        "bench" => bench::run_bench(arguments.raw_args()?.collect()),
        "help" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => bail!("there is no verb {unknown:?}\n\n{HELP}"),
    }
}

fn run_setup(mut arguments: Parser) -> Result<()> {
    let mut need = Need::Build;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("test") => need = Need::Test,
            other => return Err(other.unexpected().into()),
        }
    }
    setup::run_for(need)
}

fn run_build(mut arguments: Parser) -> Result<()> {
    let (mut worker, mut agent, mut cli) = (false, false, false);
    let mut bundle = Bundle::Release;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("worker") => worker = true,
            Long("agent") => agent = true,
            Long("cli") => cli = true,
            Long("test-hooks") => (worker, bundle) = (true, Bundle::TestHooks),
            other => return Err(other.unexpected().into()),
        }
    }
    let all = !worker && !agent && !cli;
    if worker || all {
        bundle.build()?;
    }
    if agent || all {
        Program::Agent.build()?;
    }
    if cli || all {
        Program::Cli.build()?;
    }
    Ok(())
}

fn run_serve(mut arguments: Parser) -> Result<()> {
    let (mut port, mut state_dir) = (None, None);
    let (mut with_r2, mut bundle) = (true, Bundle::Release);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => port = Some(arguments.value()?.parse()?),
            Long("state") => state_dir = Some(PathBuf::from(arguments.value()?)),
            Long("without-r2") => with_r2 = false,
            Long("test-hooks") => bundle = Bundle::TestHooks,
            other => return Err(other.unexpected().into()),
        }
    }
    let mut options = server::Options::new(state_dir.context("serve needs --state DIR")?);
    options.port = port.context("serve needs --port N (0 takes a free one)")?;
    options.with_r2 = with_r2;
    options.bundle = bundle;
    options.echo = true;
    serve::run(&options)
}

fn run_demo(mut arguments: Parser) -> Result<()> {
    let mut options =
        demo::Options { port: DEMO_PORT, state_dir: project::root().join(DEMO_STATE_DIR), duration: None };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("port") => options.port = arguments.value()?.parse()?,
            Long("state") => options.state_dir = PathBuf::from(arguments.value()?),
            Long("for") => options.duration = Some(Duration::from_secs(arguments.value()?.parse()?)),
            other => return Err(other.unexpected().into()),
        }
    }
    demo::run_demo(&options)
}

fn run_test(mut arguments: Parser) -> Result<()> {
    let mut steps = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(step) => steps.push(step.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    test::run_steps(&steps)
}

fn run_release(mut arguments: Parser) -> Result<()> {
    let (mut out_dir, mut key, mut generates_key) = (None, None, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("out") => out_dir = Some(PathBuf::from(arguments.value()?)),
            Long("key") => key = Some(PathBuf::from(arguments.value()?)),
            Long("generate-key") => generates_key = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let key = key.map_or_else(release::key::default_path, Ok)?;
    if generates_key {
        return release::generate_key(&key);
    }
    let out_dir = out_dir.unwrap_or_else(|| project::bundles_dir().join("release"));
    release::run_release(&release::Options { out_dir, key })
}
