//! The closed lists that clients and dashboards may rely on: error codes and refusal reasons.

use serde::{Deserialize, Serialize};

/// Declares an enum with one fixed text a variant, both ways.
macro_rules! closed_list {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Every member, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text on the wire and in self-metrics.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

closed_list! {
    /// `error.code` of every reply that is not a success. Stable: clients may match on it.
    ErrorCode {
        /// The body is not what the content type promises (JSON syntax, types, encoding).
        MalformedBody = "malformed_body",
        /// A batch without samples.
        EmptyBatch = "empty_batch",
        /// At least one sample is at fault; `details` names the first ones.
        InvalidBatch = "invalid_batch",
        /// More samples than one batch may have: split it.
        TooManySamples = "too_many_samples",
        /// The body as sent is too large: split it.
        BodyTooLarge = "body_too_large",
        /// The body grows too large when decompressed: split it.
        DecompressedTooLarge = "decompressed_too_large",
        /// A `Content-Encoding` other than zstd, gzip or identity.
        UnsupportedEncoding = "unsupported_encoding",
        /// A compact push of a version, or with a section, that this server does not know: update the server.
        UnsupportedSection = "unsupported_section",
        /// A compact push names a series list that the shard does not have: send the same readings with the list.
        UnknownDictionary = "unknown_dictionary",
        /// Other samples were stored under the same stream and readings: the sender has lost count.
        IdentityConflict = "identity_conflict",
        /// No bearer token.
        MissingToken = "missing_token",
        /// The token's form, algorithm, signature, audience or lifetime is wrong.
        InvalidToken = "invalid_token",
        /// The token's `exp` has passed.
        ExpiredToken = "expired_token",
        /// The token's `iat` lies in the future: correct the clock by `server_ms`.
        TokenNotYetValid = "token_not_yet_valid",
        /// The token's scopes do not allow this.
        ForbiddenScope = "forbidden_scope",
        /// No shard knows this host: it was never enrolled, or it was deleted.
        UnknownHost = "unknown_host",
        /// The host's key was revoked.
        RevokedHost = "revoked_host",
        /// The body names a host other than the token's.
        HostMismatch = "host_mismatch",
        /// A host of that name is enrolled already.
        HostExists = "host_exists",
        /// The enrolment token has no uses left.
        EnrollmentExhausted = "enrollment_exhausted",
        /// A shard has its full number of hosts.
        ShardFull = "shard_full",
        /// The host has its full number of active series.
        SeriesLimit = "series_limit",
        /// No such path.
        NotFound = "not_found",
        /// The path exists, the method does not.
        MethodNotAllowed = "method_not_allowed",
        /// A query parameter is missing or malformed.
        InvalidParameter = "invalid_parameter",
        /// The URL is too long.
        UrlTooLong = "url_too_long",
        /// A metric name outside the catalogue and the free prefixes.
        UnknownName = "unknown_name",
        /// The query would return or read more than is allowed: narrow what the message names.
        QueryTooLarge = "query_too_large",
        /// The shard's storage is full: try again later.
        StorageFull = "storage_full",
        /// More pushes wait to be stored than a shard takes: try again after `Retry-After`.
        Overloaded = "overloaded",
        /// The day's quota of the Cloudflare plan is used up: try again after `Retry-After`.
        QuotaExhausted = "quota_exhausted",
        /// D1 did not answer: try again later.
        CatalogueUnavailable = "catalogue_unavailable",
        /// A shard did not answer: try again later.
        ShardUnavailable = "shard_unavailable",
        /// R2 did not answer: try again later.
        BlobsUnavailable = "blobs_unavailable",
        /// A sealed block does not check out; the message names it.
        CorruptBlock = "corrupt_block",
        /// The Worker is deployed without what it needs; the message says what to set.
        Misconfigured = "misconfigured",
        /// A fault of ours.
        Internal = "internal",
    }
}

closed_list! {
    /// Why something that was sent did not get stored; the `reason` label of `edgewatch_refused_total`.
    RefusalReason {
        /// The request was not authenticated or not allowed.
        Unauthorized = "unauthorized",
        /// The body could not be read.
        Malformed = "malformed",
        /// A limit on size or number was passed.
        TooLarge = "too_large",
        /// A sample failed validation.
        Invalid = "invalid",
        /// A sample outside the accepted window of time.
        OutsideWindow = "outside_window",
        /// A host beyond a shard's, or a series beyond a host's number.
        Cardinality = "cardinality",
        /// The day's quota is used up; the sender tries again.
        Quota = "quota",
        /// Our own storage or a shard did not take it; the sender tries again.
        Unavailable = "unavailable",
    }
}

impl RefusalReason {
    /// The reason under which a push that failed with `code` is counted.
    pub fn of(code: ErrorCode) -> Self {
        use ErrorCode as C;
        match code {
            C::MissingToken
            | C::InvalidToken
            | C::ExpiredToken
            | C::TokenNotYetValid
            | C::ForbiddenScope
            | C::UnknownHost
            | C::RevokedHost
            | C::HostMismatch => Self::Unauthorized,
            C::MalformedBody | C::UnsupportedEncoding | C::UnsupportedSection | C::EmptyBatch => {
                Self::Malformed
            }
            C::TooManySamples | C::BodyTooLarge | C::DecompressedTooLarge | C::UrlTooLong => Self::TooLarge,
            C::ShardFull | C::SeriesLimit => Self::Cardinality,
            C::QuotaExhausted => Self::Quota,
            C::StorageFull
            | C::Overloaded
            | C::CatalogueUnavailable
            | C::ShardUnavailable
            | C::BlobsUnavailable
            | C::CorruptBlock
            | C::Misconfigured
            | C::Internal => Self::Unavailable,
            C::InvalidBatch
            | C::UnknownDictionary
            | C::IdentityConflict
            | C::HostExists
            | C::EnrollmentExhausted
            | C::NotFound
            | C::MethodNotAllowed
            | C::InvalidParameter
            | C::UnknownName
            | C::QueryTooLarge => Self::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_the_same_in_json_and_as_text() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{}\"", code.as_str()));
        }
    }
}
