//! Tokens: good ones from the server's secret, and forged ones.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use edgewatch_shared::{
    HostId, TimestampMs,
    keys::{Key, Keyring, Purpose},
    token::{self, Claims, Scope, sign_host},
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Sha256, Sha512};

/// Seconds that a token of the tests lives: the clocks that tests put forward stay within.
const LIFETIME_S: i64 = 30 * 86_400;

/// Makes tokens as `edgewatch token` and hosts do, from the one secret.
#[derive(Clone)]
pub struct Mint {
    keyring: Keyring,
    now_s: i64,
}

impl Mint {
    /// Mints from `secret`.
    pub fn new(secret: &str) -> Self {
        let keyring = Keyring::new(secret.as_bytes(), None).expect("the server runs with this secret");
        let now = std::time::UNIX_EPOCH.elapsed().expect("the clock stands after 1970");
        Self { keyring, now_s: i64::try_from(now.as_secs()).expect("and not at its end") }
    }

    /// A static token with one scope.
    pub fn scoped(&self, scope: Scope) -> String {
        self.minted(&self.claims(scope))
    }

    /// The claims of [`Mint::scoped`], to be changed.
    pub fn claims(&self, scope: Scope) -> Claims {
        Claims::for_static("e2e", &[scope], format!("e2e-{}", scope.as_str()), self.now_s, LIFETIME_S)
    }

    /// A static token with these claims.
    pub fn minted(&self, claims: &Claims) -> String {
        token::mint(&self.keyring, claims)
    }

    /// A token as the host itself signs it at `now`.
    pub fn of_host(&self, id: HostId, now: TimestampMs) -> String {
        sign_host(&self.host_key(id), &Claims::for_host(id, now.seconds()))
    }

    /// The key that the server gives this host.
    pub fn host_key(&self, id: HostId) -> Key {
        self.keyring.signing(Purpose::Host(id))
    }

    /// The key of static tokens.
    pub fn static_key(&self) -> Key {
        self.keyring.signing(Purpose::StaticToken)
    }
}

/// A token with any header and claims, signed by HMAC-SHA256 whatever the header says.
pub fn signed_hs256(key: &Key, header: &Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    let signature = mac.chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The same, signed by HMAC-SHA512.
pub fn signed_hs512(key: &Key, header: &Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let mac = Hmac::<Sha512>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
    let signature = mac.chain_update(&signed).finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Header and claims without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}
