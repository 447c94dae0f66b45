//! Bearer tokens: JWT (RFC 7519) signed with HS256, and with nothing else.
//!
//! There is one algorithm in this file, so a token cannot choose another one:
//! `alg` must read `HS256` before any key is derived. A JWT library would bring
//! RSA and elliptic curves into a module whose bytes are a budget; what is left of
//! JOSE without them are the sixty lines here.

use crate::{
    host::HostId,
    keys::{KEY_VERSION, Key, Keyring, Purpose},
    limits::{HOST_TOKEN_LIFETIME_S_MAX, STATIC_TOKEN_LIFETIME_S_MAX, TOKEN_BYTES_MAX, TOKEN_SKEW_S_MAX},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::Sha256;

/// `aud` of every token.
pub const AUDIENCE: &str = "edgewatch";

/// What a static token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Push samples for hosts that are known by name.
    Push,
    /// Query.
    Read,
    /// Enrol hosts, as often as the token says.
    Enroll,
    /// Everything.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: &'static [Self] = &[Self::Push, Self::Read, Self::Enroll, Self::Admin];

    /// The text in a token's `scope`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Read => "read",
            Self::Enroll => "enroll",
            Self::Admin => "admin",
        }
    }
}

/// What a token says. Times in seconds since the epoch, as JWT has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The host's id; for static tokens whatever their owner calls them.
    pub sub: String,
    /// [`AUDIENCE`].
    pub aud: String,
    /// When it was made.
    pub iat: i64,
    /// When it ends. A token without it is refused.
    pub exp: i64,
    /// Space-separated scopes (RFC 8693); static tokens only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Identity of a static token, for counting its uses and for revoking it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// Hosts that an enrolment token may enrol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// Tags that an enrolment token gives its hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Claims {
    /// A static token's claims, made at `now_s`.
    pub fn for_static(subject: &str, scopes: &[Scope], jti: String, now_s: i64, lifetime_s: i64) -> Self {
        Self {
            sub: subject.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: now_s,
            exp: now_s.saturating_add(lifetime_s.min(STATIC_TOKEN_LIFETIME_S_MAX)),
            scope: scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "),
            jti,
            uses: None,
            tags: Vec::new(),
        }
    }

    /// A host's claims for one push, made at `now_s`.
    pub fn for_host(id: HostId, now_s: i64) -> Self {
        Self {
            sub: id.to_string(),
            aud: AUDIENCE.to_owned(),
            iat: now_s,
            exp: now_s.saturating_add(HOST_TOKEN_LIFETIME_S_MAX),
            scope: String::new(),
            jti: String::new(),
            uses: None,
            tags: Vec::new(),
        }
    }

    /// Whether the token has `scope` (or `admin`, which has them all).
    pub fn allows(&self, scope: Scope) -> bool {
        self.scope.split(' ').any(|word| word == scope.as_str() || word == Scope::Admin.as_str())
    }
}

/// A token that has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Signed by a host with its own key. That the host is enrolled and not revoked is the shard's to know.
    Host(HostId),
    /// Minted from the secret.
    Static(Claims),
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Over [`TOKEN_BYTES_MAX`].
    #[error("the token has more than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not three parts of base64url with JSON in the first two, or a claim is missing.
    #[error("the token is not a JWT with sub, aud, iat and exp")]
    Malformed,
    /// `alg` is not HS256.
    #[error("the token's alg is not HS256, the only one that is accepted")]
    Algorithm,
    /// `kid` names no key of ours.
    #[error("the token's kid is unknown")]
    Key,
    /// The MAC does not verify.
    #[error("the token's signature does not verify")]
    Signature,
    /// `aud` or `sub` belong to something else.
    #[error("the token's aud or sub is not for this")]
    Audience,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `iat` lies in the future.
    #[error("the token's iat lies in the future: correct the clock by server_ms")]
    NotYetValid,
    /// `exp` is further away than a token of this kind may live.
    #[error("the token lives longer than a token of its kind may")]
    Lifetime,
}

/// Without `typ`, which RFC 7519 leaves to those who mix kinds of tokens: it would be 18 bytes of every push.
#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    kid: String,
}

const HOST_KID: &str = "host";
const STATIC_KID: &str = "static";

/// Signs a host's claims with the host's own key.
pub fn sign_host(key: &Key, claims: &Claims) -> String {
    sign(key, HOST_KID, claims)
}

/// Mints a static token from the secret.
pub fn mint(keyring: &Keyring, claims: &Claims) -> String {
    sign(&keyring.signing(Purpose::StaticToken), STATIC_KID, claims)
}

fn sign(key: &Key, kind: &str, claims: &Claims) -> String {
    let header = Header { alg: "HS256".to_owned(), kid: format!("{kind}.{KEY_VERSION}") };
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(mac(key, &signed).finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// Verifies a token at `now_s`: form, algorithm, key, MAC (in constant time), audience and times, in this order.
pub fn verify(keyring: &Keyring, token: &str, now_s: i64) -> Result<Verified, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
    let header: Header = decode(header)?;
    if header.alg != "HS256" {
        return Err(TokenError::Algorithm);
    }
    let claims: Claims = decode(claims)?;
    let (kind, version) = header.kid.split_once('.').ok_or(TokenError::Key)?;
    if version != KEY_VERSION.to_string() {
        return Err(TokenError::Key);
    }
    let (purpose, lifetime_s_max) = match kind {
        HOST_KID => {
            let id = claims.sub.parse().map_err(|_| TokenError::Audience)?;
            (Purpose::Host(id), HOST_TOKEN_LIFETIME_S_MAX)
        }
        STATIC_KID => (Purpose::StaticToken, STATIC_TOKEN_LIFETIME_S_MAX),
        _ => return Err(TokenError::Key),
    };
    let verifies = |key: Key| mac(&key, signed).verify_slice(&signature).is_ok();
    if !keyring.verifying(purpose).any(verifies) {
        return Err(TokenError::Signature);
    }
    check_claims(&claims, now_s, lifetime_s_max)?;
    Ok(match purpose {
        Purpose::Host(id) => Verified::Host(id),
        Purpose::StaticToken => Verified::Static(claims),
    })
}

fn check_claims(claims: &Claims, now_s: i64, lifetime_s_max: i64) -> Result<(), TokenError> {
    if claims.aud != AUDIENCE {
        return Err(TokenError::Audience);
    }
    if claims.exp <= now_s {
        return Err(TokenError::Expired);
    }
    if claims.iat > now_s.saturating_add(TOKEN_SKEW_S_MAX) {
        return Err(TokenError::NotYetValid);
    }
    if claims.exp.saturating_sub(claims.iat) > lifetime_s_max {
        return Err(TokenError::Lifetime);
    }
    Ok(())
}

fn mac(key: &Key, signed: &str) -> Hmac<Sha256> {
    // A MAC keyed with 32 bytes, the block size's half, needs no check of length.
    Hmac::<Sha256>::new(&(*key.as_bytes()).into_block()).chain_update(signed)
}

/// HMAC pads a short key with zeros to the hash's block of 64 bytes (RFC 2104, section 2).
trait IntoBlock {
    fn into_block(self) -> hmac::digest::Key<Hmac<Sha256>>;
}

impl IntoBlock for [u8; 32] {
    fn into_block(self) -> hmac::digest::Key<Hmac<Sha256>> {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        for (to, from) in block.iter_mut().zip(self) {
            *to = from;
        }
        block
    }
}

fn encode(part: &impl Serialize) -> String {
    // Structs of strings and numbers always serialize.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).unwrap_or_default())
}

fn decode<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: i64 = 1_790_000_000;

    fn ring() -> Keyring {
        Keyring::new(b"0123456789abcdef0123456789abcdef", None).unwrap()
    }

    fn host() -> HostId {
        HostId::new(7, [9; 14])
    }

    fn host_token(change: impl FnOnce(&mut Claims)) -> String {
        let mut claims = Claims::for_host(host(), NOW_S);
        change(&mut claims);
        sign_host(&ring().signing(Purpose::Host(host())), &claims)
    }

    #[test]
    fn the_mac_is_that_of_rfc_4231_case_2_padded() {
        // RFC 4231, test case 2, with its key "Jefe" padded by zeros to 32 bytes, which HMAC does itself.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let tag = mac(&Key::from_text(&URL_SAFE_NO_PAD.encode(key)).unwrap(), "what do ya want for nothing?");
        let hex: String = tag.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn a_host_token_verifies_as_its_host() {
        assert_eq!(verify(&ring(), &host_token(|_| ()), NOW_S), Ok(Verified::Host(host())));
    }

    #[test]
    fn a_static_token_verifies_with_its_scopes() {
        let claims = Claims::for_static("ci", &[Scope::Read, Scope::Push], "id".into(), NOW_S, 60);
        let token = mint(&ring(), &claims);
        assert_eq!(verify(&ring(), &token, NOW_S), Ok(Verified::Static(claims.clone())));
        assert!(claims.allows(Scope::Read) && claims.allows(Scope::Push) && !claims.allows(Scope::Admin));
    }

    #[test]
    fn the_last_second_counts_and_the_next_does_not() {
        let token = host_token(|_| ());
        let end = NOW_S + HOST_TOKEN_LIFETIME_S_MAX;
        assert!(verify(&ring(), &token, end - 1).is_ok());
        assert_eq!(verify(&ring(), &token, end), Err(TokenError::Expired));
    }

    #[test]
    fn a_clock_may_be_so_far_ahead_and_no_second_more() {
        let ahead = |s: i64| {
            let token = host_token(|claims| {
                claims.iat += s;
                claims.exp += s;
            });
            verify(&ring(), &token, NOW_S)
        };
        assert_eq!(ahead(TOKEN_SKEW_S_MAX), Ok(Verified::Host(host())));
        assert_eq!(ahead(TOKEN_SKEW_S_MAX + 1), Err(TokenError::NotYetValid));
    }

    #[test]
    fn times_out_of_bounds_are_refused() {
        type Change = fn(&mut Claims);
        let cases: [(&str, Change, TokenError); 4] = [
            ("far exp", |c| c.exp += 1, TokenError::Lifetime),
            (
                "far iat and exp",
                |c| {
                    c.iat += 61;
                    c.exp += 61
                },
                TokenError::NotYetValid,
            ),
            (
                "overflow",
                |c| {
                    c.iat = i64::MIN;
                    c.exp = i64::MAX
                },
                TokenError::Lifetime,
            ),
            ("aud", |c| c.aud = "other".into(), TokenError::Audience),
        ];
        for (name, change, error) in cases {
            assert_eq!(verify(&ring(), &host_token(change), NOW_S), Err(error), "{name}");
        }
    }

    #[test]
    fn a_token_signed_otherwise_is_refused() {
        let parts = |header: &str, claims: &str| {
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
        };
        let claims = serde_json::to_string(&Claims::for_host(host(), NOW_S)).unwrap();
        for alg in ["none", "None", "RS256", "HS512", "hs256"] {
            let header = format!(r#"{{"alg":"{alg}","typ":"JWT","kid":"host.1"}}"#);
            assert_eq!(verify(&ring(), &parts(&header, &claims), NOW_S), Err(TokenError::Algorithm), "{alg}");
        }
        let header = r#"{"alg":"HS256","typ":"JWT","kid":"host.1"}"#;
        assert_eq!(verify(&ring(), &parts(header, &claims), NOW_S), Err(TokenError::Signature));
        let other = Keyring::new(&[1; 32], None).unwrap().signing(Purpose::Host(host()));
        let forged = sign_host(&other, &Claims::for_host(host(), NOW_S));
        assert_eq!(verify(&ring(), &forged, NOW_S), Err(TokenError::Signature));
    }

    #[test]
    fn a_host_key_mints_no_static_token_and_no_other_hosts() {
        let key = ring().signing(Purpose::Host(host()));
        let admin = Claims::for_static("me", &[Scope::Admin], String::new(), NOW_S, 60);
        assert_eq!(verify(&ring(), &sign(&key, STATIC_KID, &admin), NOW_S), Err(TokenError::Signature));
        let other = Claims::for_host(HostId::new(7, [1; 14]), NOW_S);
        assert_eq!(verify(&ring(), &sign_host(&key, &other), NOW_S), Err(TokenError::Signature));
    }

    #[test]
    fn a_token_without_exp_is_malformed() {
        let key = ring().signing(Purpose::Host(host()));
        #[derive(Serialize)]
        struct NoExp {
            sub: String,
            aud: &'static str,
            iat: i64,
        }
        let header = Header { alg: "HS256".into(), kid: "host.1".into() };
        let claims = NoExp { sub: host().to_string(), aud: AUDIENCE, iat: NOW_S };
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let token =
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac(&key, &signed).finalize().into_bytes()));
        assert_eq!(verify(&ring(), &token, NOW_S), Err(TokenError::Malformed));
    }

    #[test]
    fn an_overlong_token_is_refused_before_it_is_read() {
        assert_eq!(verify(&ring(), &"a".repeat(TOKEN_BYTES_MAX + 1), NOW_S), Err(TokenError::TooLong));
        assert_eq!(verify(&ring(), &"a".repeat(TOKEN_BYTES_MAX), NOW_S), Err(TokenError::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".{0,300}") {
            let _ = verify(&ring(), &text, NOW_S);
        }
    }
}
