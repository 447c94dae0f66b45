//! `edgewatch`: the operator's command line. Each command is a module of [`commands`].

mod api;
mod commands;
mod duration;

use anyhow::{Result, bail};
use lexopt::{Arg::Value, Parser, ValueExt};
use std::process::ExitCode;

const HELP: &str = "\
edgewatch COMMAND

  token [--scope read|push|enroll|admin]… [--ttl 30d] [--name WHO] [--uses N] [--tag TAG]…
                             mint a token from EDGEWATCH_SECRET; nothing is sent anywhere
  hosts                      list hosts with status and newest values
  hosts revoke HOST          refuse a host's pushes from now on
  hosts delete HOST          forget a host
  hosts move HOST SHARD      send a host's pushes to another shard
  hosts split HOST SHARD SHARD…
                             spread a host's series over several shards
  query HOST NAME [--from TIME] [--to TIME] [--bucket 1m] [--agg avg] [--label KEY=VALUE]… [--partial]
                             samples of a metric in buckets, oldest first; --partial: also if something is missing
  retention [--raw 30d] [--five-minutes 365d] [--hours forever]
                             show or set how long samples and rollups are kept
  inspect FILE [--json]      what a sealed block holds, and whether it is whole
  inspect FILE --host ID     its samples of one host, as lines of JSON
  export [FILE] --from TIME --to TIME [--host HOST] [--name NAME] [--label KEY=VALUE]…
                             samples as lines of JSON, compressed with zstd
  import [FILE]              send lines that an export wrote
  rebuild-catalogue          tell a D1 that was lost everything that shards and R2 know, and shards that lost
                             their storage what D1 and R2 know

Environment:
  EDGEWATCH_URL     where the Worker is (all but token and inspect)
  EDGEWATCH_TOKEN   a token with the scope that is needed (all but token and inspect)
  EDGEWATCH_SECRET  the Worker's secret (token)
";

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
    let command = match arguments.next()? {
        Some(Value(command)) => command.string()?,
        Some(lexopt::Arg::Long("version") | lexopt::Arg::Short('V')) => "version".to_owned(),
        _ => "help".to_owned(),
    };
    match command.as_str() {
        "token" => commands::token::run(arguments),
        "hosts" => commands::hosts::run(arguments),
        "rebuild-catalogue" => commands::rebuild_catalogue::run(arguments),
        "retention" => commands::retention::run(arguments),
        "export" => commands::export::run(arguments),
        "import" => commands::import::run(arguments),
        "query" => commands::query::run(arguments),
        "inspect" => commands::inspect::run(arguments),
        "version" => {
            println!("edgewatch {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        "help" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => bail!("there is no command {unknown:?}\n\n{HELP}"),
    }
}
