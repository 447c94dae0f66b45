//! Who is asking: one bearer token, verified before the body is read.

use crate::{api_error::ApiError, routes::Access, settings::Settings};
use edgewatch_shared::{
    ErrorCode, HostId, TimestampMs,
    token::{self, Claims, Scope, TokenError, Verified},
};
use worker::Request;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular.
    Anyone,
    /// A host; that it is enrolled and not revoked is its shard's to say.
    Host(HostId),
    /// The holder of a static token.
    Holder(Claims),
}

/// Verifies the caller and what it may. A public route sees who calls, but asks nobody.
pub fn caller(
    request: &Request,
    access: Access,
    settings: &Settings,
    now: TimestampMs,
) -> Result<Caller, ApiError> {
    let header = request.headers().get("Authorization").map_err(ApiError::internal)?;
    let verified = match header.as_deref().map(bearer) {
        None => Err(missing()),
        Some(None) => Err(missing()),
        Some(Some(token)) => token::verify(&settings.keyring, token, now.seconds()).map_err(refused),
    };
    match (access, verified) {
        (Access::Public, Ok(Verified::Static(claims))) => Ok(Caller::Holder(claims)),
        (Access::Public, _) => Ok(Caller::Anyone),
        (_, Err(error)) => Err(error),
        (Access::Push, Ok(Verified::Host(id))) => Ok(Caller::Host(id)),
        (Access::Push, Ok(Verified::Static(claims))) => allowed(claims, Scope::Push),
        (Access::Scope(scope), Ok(Verified::Static(claims))) => allowed(claims, scope),
        (Access::Scope(scope), Ok(Verified::Host(_))) => {
            let message =
                format!("a host's token can only push; this needs a token with scope {}", scope.as_str());
            Err(ApiError::new(ErrorCode::ForbiddenScope, message))
        }
    }
}

/// The token of an `Authorization` header; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn allowed(claims: Claims, scope: Scope) -> Result<Caller, ApiError> {
    if claims.allows(scope) {
        return Ok(Caller::Holder(claims));
    }
    let message = format!("the token has scope {:?}; this needs {}", claims.scope, scope.as_str());
    Err(ApiError::new(ErrorCode::ForbiddenScope, message))
}

fn missing() -> ApiError {
    ApiError::new(ErrorCode::MissingToken, "send `Authorization: Bearer TOKEN`; `edgewatch token` makes one")
}

fn refused(error: TokenError) -> ApiError {
    let code = match error {
        TokenError::Expired => ErrorCode::ExpiredToken,
        TokenError::NotYetValid => ErrorCode::TokenNotYetValid,
        _ => ErrorCode::InvalidToken,
    };
    ApiError::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_a_token() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for other in ["Bearer", "Bearer ", "Basic abc", "abc", ""] {
            assert_eq!(bearer(other), None, "{other:?}");
        }
    }
}
