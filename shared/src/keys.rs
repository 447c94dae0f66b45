//! One secret, many keys: HKDF-SHA256 (RFC 5869) by purpose, key version and id.
//!
//! Nobody stores a host's key on the server: it is derived again for every
//! request. Rotation: the new secret goes to `EDGEWATCH_SECRET`, the old one to
//! `EDGEWATCH_SECRET_PREVIOUS`; both verify, only the new one signs.

use crate::{host::HostId, limits::SECRET_BYTES_MIN};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use sha2::Sha256;

/// A 256-bit HMAC key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// The key's bytes, for HMAC.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Base64url without padding: how a host keeps its key (43 characters).
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads [`Key::to_text`].
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Text)?;
        bytes.try_into().map(Self).map_err(|_| KeyError::Text)
    }
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret is too short to derive from.
    #[error("the secret must have at least {SECRET_BYTES_MIN} bytes")]
    ShortSecret,
    /// Not the text of a key.
    #[error("a key is 43 characters of base64url")]
    Text,
}

/// What a derived key is for; part of the derivation, so no key serves two purposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Signs the tokens of one host.
    Host(HostId),
    /// Signs static tokens.
    StaticToken,
}

/// Version of the derivation, named in every token's `kid`.
pub const KEY_VERSION: u8 = 1;

/// The current secret and, while rotating, the previous one: extracted once, so that a request costs the expansion only.
#[derive(Clone)]
pub struct Keyring {
    current: Hkdf<Sha256>,
    previous: Option<Hkdf<Sha256>>,
}

impl Keyring {
    /// Takes the secrets; each needs at least [`SECRET_BYTES_MIN`] bytes.
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Result<Self, KeyError> {
        let long_enough = |secret: &[u8]| secret.len() >= SECRET_BYTES_MIN;
        if !long_enough(current) || !previous.is_none_or(long_enough) {
            return Err(KeyError::ShortSecret);
        }
        let extracted = |secret| Hkdf::new(None, secret);
        Ok(Self { current: extracted(current), previous: previous.map(extracted) })
    }

    /// The key to sign with.
    pub fn signing(&self, purpose: Purpose) -> Key {
        derive(&self.current, purpose)
    }

    /// The keys that a signature may be of, the current one first.
    pub fn verifying(&self, purpose: Purpose) -> impl Iterator<Item = Key> {
        std::iter::once(&self.current).chain(&self.previous).map(move |secret| derive(secret, purpose))
    }
}

/// HKDF-SHA256 without salt; `info` is `edgewatch/<purpose>/<key version>[/<id>]`.
fn derive(secret: &Hkdf<Sha256>, purpose: Purpose) -> Key {
    let info = match purpose {
        Purpose::Host(id) => format!("edgewatch/host/{KEY_VERSION}/{id}"),
        Purpose::StaticToken => format!("edgewatch/static-token/{KEY_VERSION}"),
    };
    let mut key = [0; 32];
    // 32 bytes are always within HKDF's 255 × 32, the only thing that `expand` can refuse.
    let expanded = secret.expand(info.as_bytes(), &mut key);
    debug_assert!(expanded.is_ok());
    Key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
    const OLD: &[u8] = b"fedcba9876543210fedcba9876543210";

    #[test]
    fn a_secret_that_is_a_byte_too_short_is_refused() {
        assert_eq!(SECRET.len(), SECRET_BYTES_MIN);
        assert!(Keyring::new(SECRET, None).is_ok());
        assert_eq!(Keyring::new(&SECRET[..SECRET_BYTES_MIN - 1], None).err(), Some(KeyError::ShortSecret));
        assert_eq!(Keyring::new(SECRET, Some(b"short")).err(), Some(KeyError::ShortSecret));
    }

    #[test]
    fn keys_differ_by_purpose_and_host() {
        let ring = Keyring::new(SECRET, None).unwrap();
        let host = |n| Purpose::Host(HostId::new(0, [n; 14]));
        assert_eq!(ring.signing(host(1)), ring.signing(host(1)));
        assert_ne!(ring.signing(host(1)), ring.signing(host(2)));
        assert_ne!(ring.signing(host(1)), ring.signing(Purpose::StaticToken));
        assert_ne!(ring.signing(host(1)).as_bytes(), &[0; 32]);
    }

    #[test]
    fn the_previous_secret_still_verifies_and_no_longer_signs() {
        let before = Keyring::new(OLD, None).unwrap().signing(Purpose::StaticToken);
        let ring = Keyring::new(SECRET, Some(OLD)).unwrap();
        assert_ne!(ring.signing(Purpose::StaticToken), before);
        assert!(ring.verifying(Purpose::StaticToken).any(|key| key == before));
    }

    #[test]
    fn a_key_survives_its_text() {
        let key = Keyring::new(SECRET, None).unwrap().signing(Purpose::StaticToken);
        assert_eq!(Key::from_text(&key.to_text()), Ok(key));
        assert_eq!(Key::from_text("AAAA"), Err(KeyError::Text));
    }
}
