//! The key that releases are signed with, in minisign's format.
//!
//! Its public half is `agent/packaging/release.pub`: agents and the installer carry it. The secret half is
//! the maintainer's and lies outside of the repository.

use crate::project;
use anyhow::{Context, Result, bail};
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox, SignatureBox};
use std::{
    env, fs,
    io::{Cursor, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The variable that may hold the secret key itself, for machines that keep secrets in their environment.
pub const SECRET_VARIABLE: &str = "EDGEWATCH_SIGNING_KEY";
/// The variable that goes before the public key of the repository, for who releases on their own.
pub const PUBLIC_VARIABLE: &str = "EDGEWATCH_RELEASE_KEY";

/// The public key that is built into agents, in base64.
pub fn public() -> Result<PublicKey> {
    let text = match env::var(PUBLIC_VARIABLE) {
        Ok(text) if !text.is_empty() => text,
        _ => {
            let path = project::root().join("agent/packaging/release.pub");
            let file = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            file.lines().nth(1).with_context(|| format!("{} has no second line", path.display()))?.to_owned()
        }
    };
    PublicKey::from_base64(text.trim()).with_context(|| format!("{text:?} is no public key of minisign"))
}

/// Where the secret key lies if nobody says otherwise.
pub fn default_path() -> Result<PathBuf> {
    let config = match env::var_os("XDG_CONFIG_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => env::home_dir().context("there is no home folder: say --key FILE")?.join(".config"),
    };
    Ok(config.join("edgewatch/release.key"))
}

/// Makes a pair: the secret half goes into a new file that only its owner can read, the public half is returned.
pub fn generate(path: &Path) -> Result<PublicKey> {
    // Tests keep theirs where nothing is ever committed.
    if path.starts_with(project::root()) && !path.starts_with(project::target_dir()) {
        bail!("{} is in the repository: a secret key has no place there", path.display());
    }
    let pair = KeyPair::generate_unencrypted_keypair().context("making a pair of keys")?;
    let text = pair.sk.to_box(Some("edgewatch release key: secret"))?.into_string();
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("creating {} (one that is there is never replaced)", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))?;
    Ok(pair.pk)
}

/// The secret key out of its variable, or out of a file.
pub fn secret(path: &Path) -> Result<SecretKey> {
    let text = match env::var(SECRET_VARIABLE) {
        Ok(text) if !text.is_empty() => text,
        _ => fs::read_to_string(path).with_context(|| {
            format!(
                "reading the key {} (releases are signed: put the key there, say --key FILE, set \
                 {SECRET_VARIABLE}, or make one with `cargo xtask release --generate-key`)",
                path.display()
            )
        })?,
    };
    let boxed = SecretKeyBox::from_string(&text).context("the signing key is not in minisign's format")?;
    boxed.into_unencrypted_secret_key().context("the signing key must have no password")
}

/// Signs `content`; an error unless `public` is the other half of `secret`.
pub fn sign(content: &[u8], secret: &SecretKey, public: &PublicKey, comment: &str) -> Result<String> {
    let signature =
        minisign::sign(None, secret, Cursor::new(content), Some(comment), Some("edgewatch release"))
            .context("signing")?;
    let text = signature.into_string();
    verify(content, &text, public).with_context(|| {
        format!(
            "the signing key is not the one whose public half agents carry: the repository's agent/packaging/\
             release.pub, or {PUBLIC_VARIABLE} (public half of the signing key: {})",
            PublicKey::from_secret_key(secret).map_or_else(|error| error.to_string(), |key| key.to_base64())
        )
    })?;
    Ok(text)
}

/// An error unless `signature` is of `content`, by `public`.
pub fn verify(content: &[u8], signature: &str, public: &PublicKey) -> Result<()> {
    let signature =
        SignatureBox::from_string(signature).context("the signature is not in minisign's format")?;
    minisign::verify(public, &signature, Cursor::new(content), true, false, false).context("verifying")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_signs_and_another_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("keys/one"), dir.path().join("other"));
        let public = generate(&path).unwrap();
        let stranger = generate(&other).unwrap();
        let secret = secret(&path).unwrap();
        let signature = sign(b"sums", &secret, &public, "comment").unwrap();
        assert!(verify(b"sums", &signature, &public).is_ok());
        assert!(verify(b"sumz", &signature, &public).is_err());
        assert!(verify(b"sums", &signature, &stranger).is_err());
        assert!(sign(b"sums", &secret, &stranger, "comment").is_err());
    }

    #[test]
    fn a_key_is_never_replaced_nor_put_into_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        generate(&path).unwrap();
        let before = fs::read(&path).unwrap();
        assert!(generate(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(generate(&project::root().join("release.key")).is_err());
    }

    #[test]
    fn the_repositorys_key_is_one() {
        assert_eq!(public().unwrap().to_base64().len(), 56);
    }
}
