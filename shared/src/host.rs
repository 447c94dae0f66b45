//! Hosts: ids that carry their home shard, and names that people read.

use crate::limits::HOST_NAME_BYTES_MAX;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};
use uuid::Uuid;

/// Identity of a host: a UUID of version 8 (RFC 9562, section 5.8) whose first
/// two bytes are the shard the host was placed on at enrolment, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostId(Uuid);

/// Why a text is not a host id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a host id is a UUID of version 8, such as 0000a3c1-7e5d-8f00-9c1b-2f4e6a8b0c1d")]
pub struct HostIdError;

impl HostId {
    /// A new id on `home_shard` out of 14 random bytes.
    pub fn new(home_shard: u16, random: [u8; 14]) -> Self {
        let [high, low] = home_shard.to_be_bytes();
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = random;
        Self(Uuid::new_v8([high, low, a, b, c, d, e, f, g, h, i, j, k, l, m, n]))
    }

    /// The id of a host that is known by its name only, pushed with a static
    /// token: the same name is always the same host, on shard 0.
    pub fn of_name(name: &HostName) -> Self {
        let hash =
            Sha256::new().chain_update(b"edgewatch/named-host/1\0").chain_update(name.as_str()).finalize();
        let mut random = [0; 14];
        for (to, from) in random.iter_mut().zip(hash) {
            *to = from;
        }
        Self::new(Self::NAMED_SHARD, random)
    }

    /// Where hosts known by name only live.
    pub const NAMED_SHARD: u16 = 0;

    /// The shard this host was placed on at enrolment.
    pub fn home_shard(self) -> u16 {
        let [high, low, ..] = *self.0.as_bytes();
        u16::from_be_bytes([high, low])
    }

    /// The 16 bytes, as stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads the stored form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HostIdError> {
        Uuid::from_slice(bytes).map_err(|_| HostIdError).and_then(Self::checked)
    }

    fn checked(id: Uuid) -> Result<Self, HostIdError> {
        let version_8 = id.get_version_num() == 8 && id.get_variant() == uuid::Variant::RFC4122;
        if version_8 { Ok(Self(id)) } else { Err(HostIdError) }
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HostId {
    type Err = HostIdError;

    fn from_str(text: &str) -> Result<Self, HostIdError> {
        Uuid::try_parse(text).map_err(|_| HostIdError).and_then(Self::checked)
    }
}

impl TryFrom<String> for HostId {
    type Error = HostIdError;

    fn try_from(text: String) -> Result<Self, HostIdError> {
        text.parse()
    }
}

impl From<HostId> for String {
    fn from(id: HostId) -> Self {
        id.to_string()
    }
}

/// What people call a host: 1 to 253 bytes, no control characters, no space at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// Why a text is not a host's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a host's name has 1 to {HOST_NAME_BYTES_MAX} bytes, no control characters and no space at either end"
)]
pub struct HostNameError;

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;

    fn try_from(text: String) -> Result<Self, HostNameError> {
        let fits = (1..=HOST_NAME_BYTES_MAX).contains(&text.len());
        if fits && text.trim() == text && !text.contains(char::is_control) {
            Ok(Self(text))
        } else {
            Err(HostNameError)
        }
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        text.to_owned().try_into()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_its_home_shard_and_survives_text_and_bytes() {
        let id = HostId::new(513, [0xff; 14]);
        assert_eq!(id.home_shard(), 513);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(HostId::from_bytes(id.as_bytes()), Ok(id));
    }

    #[test]
    fn an_id_of_another_version_is_refused() {
        assert_eq!("0000a3c1-7e5d-4f00-9c1b-2f4e6a8b0c1d".parse::<HostId>(), Err(HostIdError));
        assert_eq!(HostId::from_bytes(&[0; 15]), Err(HostIdError));
    }

    #[test]
    fn a_name_is_always_the_same_host() {
        let name: HostName = "web-01".parse().unwrap();
        assert_eq!(HostId::of_name(&name), HostId::of_name(&name));
        assert_ne!(HostId::of_name(&name), HostId::of_name(&"web-02".parse().unwrap()));
        assert_eq!(HostId::of_name(&name).home_shard(), HostId::NAMED_SHARD);
    }

    #[test]
    fn names_are_bounded_and_printable() {
        assert!("a".repeat(HOST_NAME_BYTES_MAX).parse::<HostName>().is_ok());
        for bad in ["", " web", "web\n", &"a".repeat(HOST_NAME_BYTES_MAX + 1)] {
            assert_eq!(bad.parse::<HostName>(), Err(HostNameError), "{bad:?}");
        }
    }
}
