//! `edgewatch query`: samples of one metric of one host.

use crate::api::Api;
use anyhow::{Context, Result, bail};
use edgewatch_shared::wire::QueryReply;
use lexopt::{
    Arg::{Long, Value},
    Parser, ValueExt,
};

/// Prints a line a bucket, oldest first.
pub fn run(arguments: Parser) -> Result<()> {
    let parameters = read(arguments)?;
    let reply: QueryReply = Api::from_environment()?.get("/api/v1/metrics/query", &parameters)?;
    for warning in &reply.warnings {
        eprintln!("warning: {warning}");
    }
    for point in reply.points.iter().rev() {
        println!("{}  {}", point.time, point.value);
    }
    Ok(())
}

fn read(mut arguments: Parser) -> Result<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    let mut words = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(word) => words.push(word.string()?),
            Long(option @ ("from" | "to" | "bucket" | "agg")) => {
                let option = option.to_owned();
                parameters.push((option, arguments.value()?.string()?));
            }
            Long("partial") => parameters.push(("partial".to_owned(), "true".to_owned())),
            Long("label") => {
                let label = arguments.value()?.string()?;
                let (key, value) = label.split_once('=').context("--label is KEY=VALUE")?;
                parameters.push((format!("label.{key}"), value.to_owned()));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let [host, name] = words.as_slice() else { bail!("edgewatch query HOST NAME [options]") };
    parameters.extend([("host".to_owned(), host.clone()), ("name".to_owned(), name.clone())]);
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_options_become_parameters() {
        let arguments = ["web-01", "--agg", "max", "cpu.usage_pct", "--label", "core=total", "--partial"];
        let mut parameters = read(Parser::from_args(arguments)).unwrap();
        parameters.sort();
        let expected = [
            ("agg", "max"),
            ("host", "web-01"),
            ("label.core", "total"),
            ("name", "cpu.usage_pct"),
            ("partial", "true"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(parameters, expected);
        assert!(read(Parser::from_args(["web-01"])).is_err());
    }
}
