//! Who pushes: a host with a key of its own, or whoever holds a push token.

use edgewatch_shared::{
    HostId, HostName,
    keys::Key,
    token::{Claims, sign_host},
};

/// What a push proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// An enrolled host: it signs a token for every push, and the token says which host it is.
    Enrolled {
        /// Its id.
        id: HostId,
        /// Its key.
        key: Key,
        /// What people call it.
        name: String,
    },
    /// A push token that was handed to this host; the body says which host it is.
    PushToken {
        /// The token.
        token: String,
        /// The host's name.
        name: HostName,
    },
}

impl Identity {
    /// The bearer token of a request made at `now_s`.
    pub fn bearer(&self, now_s: i64) -> String {
        match self {
            Self::Enrolled { id, key, .. } => sign_host(key, &Claims::for_host(*id, now_s)),
            Self::PushToken { token, .. } => token.clone(),
        }
    }

    /// The `host` of a body, where the token does not say it.
    pub fn host_in_body(&self) -> Option<&str> {
        match self {
            Self::Enrolled { .. } => None,
            Self::PushToken { name, .. } => Some(name.as_str()),
        }
    }

    /// What people call the host.
    pub fn name(&self) -> &str {
        match self {
            Self::Enrolled { name, .. } => name,
            Self::PushToken { name, .. } => name.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewatch_shared::{
        keys::{Keyring, Purpose},
        token::{Verified, verify},
    };

    #[test]
    fn an_enrolled_host_signs_as_itself_with_the_time_it_is_told() {
        let ring = Keyring::new(&[7; 32], None).unwrap();
        let id = HostId::new(3, [1; 14]);
        let identity = Identity::Enrolled { id, key: ring.signing(Purpose::Host(id)), name: "web-01".into() };
        assert_eq!(verify(&ring, &identity.bearer(1_000), 1_000), Ok(Verified::Host(id)));
        assert_eq!(identity.host_in_body(), None);
    }

    #[test]
    fn a_push_token_is_sent_as_it_is_and_the_body_names_the_host() {
        let identity = Identity::PushToken { token: "t".into(), name: "web-01".parse().unwrap() };
        assert_eq!(identity.bearer(1_000), "t");
        assert_eq!(identity.host_in_body(), Some("web-01"));
    }
}
