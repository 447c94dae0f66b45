//! The local server's secret, and the tokens that are minted from it.

use crate::hex;
use anyhow::{Context, Result, anyhow};
use edgewatch_shared::{
    keys::Keyring,
    token::{Claims, Scope, mint},
};
use serde::Serialize;
use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Bytes of randomness in a new secret: the strength of HMAC-SHA256.
const SECRET_BYTES: usize = 32;

/// Tokens of a local server live a month; it mints new ones whenever it starts.
const LIFETIME_S: i64 = 30 * 86_400;

/// What `DIR/tokens.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct Tokens {
    /// Where the server listens.
    pub url: String,
    /// May do everything.
    pub admin: String,
    /// May query.
    pub read: String,
    /// May push samples.
    pub push: String,
}

impl Tokens {
    /// Mints one of each kind from `secret`.
    pub(crate) fn mint(secret: &str, url: &str) -> Result<Self> {
        let keyring = Keyring::new(secret.as_bytes(), None).context("the server's secret cannot be used")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
        let now_s = i64::try_from(now.as_secs()).context("the clock stands too far in the future")?;
        let token = |scope: Scope| {
            let claims = Claims::for_static("xtask", &[scope], random_hex::<16>()?, now_s, LIFETIME_S);
            Ok::<_, anyhow::Error>(mint(&keyring, &claims))
        };
        Ok(Self {
            url: url.to_owned(),
            admin: token(Scope::Admin)?,
            read: token(Scope::Read)?,
            push: token(Scope::Push)?,
        })
    }

    /// Writes them for their owner alone, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let partial = path.with_extension("json.partial");
        let json = serde_json::to_string(self).context("writing tokens as JSON")?;
        write_private(&partial, &format!("{json}\n"))?;
        fs::rename(&partial, path).with_context(|| format!("writing {}", path.display()))
    }
}

/// The secret in the file `path`; made once.
pub(crate) fn secret(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Ok(secret) => Ok(secret.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let secret = random_hex::<SECRET_BYTES>()?;
            write_private(path, &secret)?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gave no randomness: {error}"))?;
    Ok(hex(&bytes))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::token::{Verified, verify};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_secret_is_made_once_and_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let first = secret(&path).unwrap();
        assert_eq!(first.len(), 2 * SECRET_BYTES);
        assert_eq!(secret(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_token_verifies_with_its_scope_and_no_other() {
        let secret = random_hex::<SECRET_BYTES>().unwrap();
        let tokens = Tokens::mint(&secret, "http://127.0.0.1:1").unwrap();
        let keyring = Keyring::new(secret.as_bytes(), None).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for (token, scope) in [(&tokens.read, "read"), (&tokens.push, "push"), (&tokens.admin, "admin")] {
            let Verified::Static(claims) = verify(&keyring, token, i64::try_from(now).unwrap()).unwrap()
            else {
                panic!("{scope} is not a static token");
            };
            assert_eq!(claims.scope, scope);
        }
    }
}
