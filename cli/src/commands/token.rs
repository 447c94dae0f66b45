//! `edgewatch token`: mints a token from the secret, on this machine alone.

use crate::duration;
use anyhow::{Context, Result, bail, ensure};
use edgewatch_shared::{
    keys::Keyring,
    limits::{ENROLL_USES_MAX, STATIC_TOKEN_LIFETIME_S_MAX, TAG_BYTES_MAX, TAGS_MAX},
    token::{Claims, Scope, mint},
};
use lexopt::{Arg::Long, Parser, ValueExt};
use std::time::{SystemTime, UNIX_EPOCH};

struct Wish {
    scopes: Vec<Scope>,
    lifetime_s: i64,
    name: String,
    uses: Option<u32>,
    tags: Vec<String>,
}

/// Prints a token.
pub fn run(arguments: Parser) -> Result<()> {
    let wish = read(arguments)?;
    let secret = std::env::var("EDGEWATCH_SECRET").context(
        "set EDGEWATCH_SECRET to the Worker's secret (never as an argument: others can see those)",
    )?;
    let keyring = Keyring::new(secret.as_bytes(), None).context("EDGEWATCH_SECRET")?;
    let now_s = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
    println!("{}", mint(&keyring, &claims(wish, token_id()?, now_s)));
    Ok(())
}

fn read(mut arguments: Parser) -> Result<Wish> {
    let mut wish = Wish {
        scopes: Vec::new(),
        lifetime_s: 30 * 86_400,
        name: "edgewatch".into(),
        uses: None,
        tags: Vec::new(),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("scope") => wish.scopes.push(scope(&arguments.value()?.string()?)?),
            Long("ttl") => {
                wish.lifetime_s = duration::seconds(&arguments.value()?.string()?).context("--ttl")?
            }
            Long("name") => wish.name = arguments.value()?.string()?,
            Long("uses") => wish.uses = Some(arguments.value()?.parse().context("--uses")?),
            Long("tag") => wish.tags.push(arguments.value()?.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if wish.scopes.is_empty() {
        bail!("say what the token may do: --scope read, push, enroll or admin (several are possible)");
    }
    let days_max = STATIC_TOKEN_LIFETIME_S_MAX / 86_400;
    ensure!(wish.lifetime_s <= STATIC_TOKEN_LIFETIME_S_MAX, "--ttl: a token lives at most {days_max}d");
    let uses_fit = wish.uses.is_none_or(|uses| (1..=ENROLL_USES_MAX).contains(&uses));
    ensure!(uses_fit, "--uses: from 1 to {ENROLL_USES_MAX}");
    let tags_fit = wish.tags.iter().all(|tag| (1..=TAG_BYTES_MAX).contains(&tag.len()));
    ensure!(
        wish.tags.len() <= TAGS_MAX && tags_fit,
        "--tag: at most {TAGS_MAX} tags of 1 to {TAG_BYTES_MAX} bytes"
    );
    let is_for_enrolment = wish.scopes.contains(&Scope::Enroll);
    let has_enrolment = wish.uses.is_some() || !wish.tags.is_empty();
    ensure!(is_for_enrolment || !has_enrolment, "--uses and --tag belong to --scope enroll");
    Ok(wish)
}

fn scope(text: &str) -> Result<Scope> {
    let found = Scope::ALL.iter().copied().find(|scope| scope.as_str() == text);
    found.with_context(|| format!("--scope: {text:?} is none of read, push, enroll, admin"))
}

fn claims(wish: Wish, token_id: String, now_s: i64) -> Claims {
    let claims = Claims::for_static(&wish.name, &wish.scopes, token_id, now_s, wish.lifetime_s);
    Claims { uses: wish.uses, tags: wish.tags, ..claims }
}

/// 16 random bytes as hexadecimal digits.
fn token_id() -> Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("reading random bytes")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(arguments: &[&str]) -> Result<Wish> {
        read(Parser::from_args(arguments))
    }

    #[test]
    fn a_token_has_what_was_asked_for() {
        let wish = wish(&["--scope", "enroll", "--uses", "5", "--ttl", "1h", "--tag", "eu"]).unwrap();
        let claims = claims(wish, "id".into(), 1_000);
        assert!(claims.allows(Scope::Enroll) && !claims.allows(Scope::Read));
        assert_eq!((claims.exp, claims.uses, claims.tags), (4_600, Some(5), vec!["eu".to_owned()]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let cases: &[&[&str]] = &[
            &[],
            &["--scope", "root"],
            &["--scope", "read", "--ttl", "401d"],
            &["--scope", "read", "--uses", "1"],
            &["--scope", "enroll", "--uses", "0"],
            &["--scope", "enroll", "--uses", "10001"],
            &["--scope", "enroll", "--tag", ""],
            &["--scope", "read", "--nonsense"],
        ];
        for case in cases {
            assert!(wish(case).is_err(), "{case:?}");
        }
        assert!(wish(&["--scope", "read", "--ttl", "400d"]).is_ok());
    }
}
