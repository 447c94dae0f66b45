//! `edgewatch retention`: how long samples are kept, shown or set.

use crate::{api::Api, duration};
use anyhow::{Context, Result, ensure};
use edgewatch_shared::wire::Retention;
use lexopt::{Arg::Long, Parser, ValueExt};

const PATH: &str = "/api/v1/settings/retention";
const DAY_S: i64 = 86_400;
const FOREVER: &str = "forever";

/// What is to be set; what is left out stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    raw: Option<Option<u32>>,
    five_minutes: Option<Option<u32>>,
    hours: Option<Option<u32>>,
}

/// Prints the retention, after changing what is to be changed.
pub fn run(arguments: Parser) -> Result<()> {
    let wish = read(arguments)?;
    let api = Api::from_environment()?;
    let mut retention: Retention = api.get(PATH, &[])?;
    if wish != Wish::default() {
        let Retention { raw_days, five_minute_days, hour_days } = retention;
        let wanted = Retention {
            raw_days: wish.raw.unwrap_or(raw_days),
            five_minute_days: wish.five_minutes.unwrap_or(five_minute_days),
            hour_days: wish.hours.unwrap_or(hour_days),
        };
        retention = api.put(PATH, &wanted)?;
    }
    println!("samples                  {}", shown(retention.raw_days));
    println!("rollups of five minutes  {}", shown(retention.five_minute_days));
    println!("rollups of an hour       {}", shown(retention.hour_days));
    Ok(())
}

fn read(mut arguments: Parser) -> Result<Wish> {
    let mut wish = Wish::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("raw") => wish.raw = Some(days(&arguments.value()?.string()?).context("--raw")?),
            Long("five-minutes") => {
                wish.five_minutes = Some(days(&arguments.value()?.string()?).context("--five-minutes")?);
            }
            Long("hours") => wish.hours = Some(days(&arguments.value()?.string()?).context("--hours")?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(wish)
}

/// `30d`, or `forever`.
fn days(text: &str) -> Result<Option<u32>> {
    if text == FOREVER {
        return Ok(None);
    }
    let seconds = duration::seconds(text)?;
    ensure!(seconds % DAY_S == 0, "{text:?} is not a number of whole days, such as 30d, nor {FOREVER}");
    Ok(Some(u32::try_from(seconds / DAY_S)?))
}

fn shown(days: Option<u32>) -> String {
    days.map_or_else(|| FOREVER.to_owned(), |days| format!("{days}d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_changed() {
        let wish = |arguments: &[&str]| read(Parser::from_args(arguments)).unwrap();
        assert_eq!(wish(&[]), Wish::default());
        let both = wish(&["--raw", "7d", "--hours", FOREVER]);
        assert_eq!(both, Wish { raw: Some(Some(7)), hours: Some(None), ..Wish::default() });
    }

    #[test]
    fn a_retention_is_in_whole_days() {
        assert_eq!(days("48h").unwrap(), Some(2));
        for bad in ["1h", "30", "ever", "400000000000d"] {
            assert!(days(bad).is_err(), "{bad}");
        }
    }
}
