//! The one error that leaves the Worker: status, stable code, public text, private context.

use crate::reply::Reply;
use edgewatch_engine::{call::ShardError, head::ShardNumber, planner::TooCostly, query::TooManySamples};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    validate::{BatchError, Fault, ImportFault, PushFault},
    wire::{ErrorBody, ErrorDetail, FaultDetail},
};

/// Seconds after which a client may try again what failed on our side.
const RETRY_AFTER_S: u32 = 5;

/// Why a request is not answered as it wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    code: ErrorCode,
    /// Methods that the path takes, for 405.
    allow: Option<String>,
    message: String,
    details: Vec<FaultDetail>,
    private: Option<String>,
    /// Seconds to wait before the next try of what is unavailable.
    retry_after_s: u32,
}

impl ApiError {
    /// An error with a text for people: what, why, what to do.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, allow: None, message, details: Vec::new(), private: None, retry_after_s: RETRY_AFTER_S }
    }

    /// A path that takes other methods.
    pub fn method_not_allowed(methods: &[&str]) -> Self {
        let allow = methods.join(", ");
        let error = Self::new(ErrorCode::MethodNotAllowed, format!("this path takes {allow}"));
        Self { allow: Some(allow), ..error }
    }

    /// A store that did not answer. `private` goes to the log only.
    pub fn unavailable(code: ErrorCode, what: &str, private: impl ToString) -> Self {
        let message = format!("{what} did not answer; try again in {RETRY_AFTER_S} s");
        Self { private: Some(private.to_string()), ..Self::new(code, message) }
    }

    /// A fault of ours. `private` goes to the log only.
    pub fn internal(private: impl ToString) -> Self {
        let error =
            Self::new(ErrorCode::Internal, "something went wrong on our side; it is in the Worker's log");
        Self { private: Some(private.to_string()), ..error }
    }

    /// Its public text.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Its stable code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The HTTP status of its code.
    pub fn status(&self) -> u16 {
        use ErrorCode as C;
        match self.code {
            C::MalformedBody | C::EmptyBatch | C::InvalidBatch | C::InvalidParameter | C::UnknownName => 400,
            C::MissingToken | C::InvalidToken | C::ExpiredToken | C::TokenNotYetValid | C::UnknownHost => 401,
            C::ForbiddenScope | C::RevokedHost | C::HostMismatch | C::EnrollmentExhausted => 403,
            C::NotFound => 404,
            C::MethodNotAllowed => 405,
            C::HostExists | C::UnknownDictionary | C::IdentityConflict => 409,
            C::TooManySamples | C::BodyTooLarge | C::DecompressedTooLarge => 413,
            C::UrlTooLong => 414,
            C::UnsupportedEncoding | C::UnsupportedSection => 415,
            C::QueryTooLarge | C::SeriesLimit => 422,
            C::Internal | C::CorruptBlock | C::Misconfigured => 500,
            C::ShardFull
            | C::StorageFull
            | C::Overloaded
            | C::QuotaExhausted
            | C::CatalogueUnavailable
            | C::ShardUnavailable
            | C::BlobsUnavailable => 503,
        }
    }

    /// The reply, with the server's clock, so that a client whose clock is wrong can mend it.
    pub fn to_reply(&self, now: TimestampMs) -> Reply {
        if let Some(private) = &self.private {
            worker::console_error!("{}: {}: {private}", self.code.as_str(), self.message);
        }
        let detail =
            ErrorDetail { code: self.code, message: self.message.clone(), details: self.details.clone() };
        let reply = Reply::json(self.status(), &ErrorBody { error: detail, server_ms: Some(now) });
        let reply = match &self.allow {
            Some(allow) => reply.with_header("Allow", allow.clone()),
            None => reply,
        };
        match self.status() {
            401 => reply.with_header("WWW-Authenticate", "Bearer"),
            503 => reply.with_header("Retry-After", self.retry_after_s.to_string()),
            _ => reply,
        }
    }
}

impl From<BatchError> for ApiError {
    fn from(error: BatchError) -> Self {
        let code = match &error {
            BatchError::Empty => ErrorCode::EmptyBatch,
            BatchError::TooManySamples => ErrorCode::TooManySamples,
            BatchError::Faults { .. } => ErrorCode::InvalidBatch,
        };
        let message = error.to_string();
        let details = match error {
            BatchError::Faults { faults, .. } => faults.into_iter().map(fault_detail).collect(),
            BatchError::Empty | BatchError::TooManySamples => Vec::new(),
        };
        Self { details, ..Self::new(code, message) }
    }
}

impl From<ImportFault> for ApiError {
    fn from(error: ImportFault) -> Self {
        let message = error.to_string();
        match error {
            ImportFault::Line { .. } | ImportFault::Host { .. } => {
                Self::new(ErrorCode::MalformedBody, message)
            }
            ImportFault::Series { faults, .. } => {
                let details = faults.into_iter().map(fault_detail).collect();
                Self { details, ..Self::new(ErrorCode::InvalidBatch, message) }
            }
        }
    }
}

fn fault_detail(fault: Fault) -> FaultDetail {
    FaultDetail {
        index: fault.index,
        reason: fault.kind.reason().to_owned(),
        message: fault.kind.to_string(),
    }
}

impl ApiError {
    /// What a shard refused, or how it failed.
    pub fn of_shard(shard: ShardNumber, error: ShardError) -> Self {
        let message = error.to_string();
        match error {
            ShardError::UnknownHost => Self::new(
                ErrorCode::UnknownHost,
                format!("{message}: enrol it with `edgewatch-agent enroll`"),
            ),
            ShardError::RevokedHost => Self::new(ErrorCode::RevokedHost, message),
            ShardError::HostMismatch { .. } => Self::new(ErrorCode::HostMismatch, message),
            ShardError::Moved(to) => {
                let what = format!("the host is on its way from shard {shard} to shard {to}, which");
                Self::unavailable(ErrorCode::ShardUnavailable, &what, message)
            }
            ShardError::Split(_) => {
                Self::new(ErrorCode::InvalidParameter, format!("{message} already, and stays so"))
            }
            ShardError::Full => Self::new(
                ErrorCode::ShardFull,
                format!(
                    "{message}: hosts that are enrolled are spread over shards, hosts pushed by name are not"
                ),
            ),
            ShardError::TooManySeries => Self::new(
                ErrorCode::SeriesLimit,
                format!("{message}: look for a label with unbounded values; nothing of the batch was stored"),
            ),
            ShardError::UnknownDictionary => Self::new(
                ErrorCode::UnknownDictionary,
                format!("{message}: send the same readings again, with the list"),
            ),
            ShardError::Shape { .. } => Self::new(ErrorCode::MalformedBody, message),
            ShardError::IdentityConflict { .. } => Self::new(
                ErrorCode::IdentityConflict,
                format!(
                    "{message}: begin a new stream, and do not send these readings under the old one again"
                ),
            ),
            ShardError::QuotaExhausted { retry_after_s } => {
                let message = format!("{message}: keep the samples until midnight UTC and look again then");
                Self { retry_after_s, ..Self::new(ErrorCode::QuotaExhausted, message) }
            }
            ShardError::Overloaded => {
                Self::new(ErrorCode::Overloaded, format!("{message}: send it again later"))
            }
            ShardError::RowTooLarge(_) => Self::new(ErrorCode::BodyTooLarge, message),
            ShardError::StorageFull => Self::new(ErrorCode::StorageFull, message),
            ShardError::TooManySamples(_) => Self::new(ErrorCode::QueryTooLarge, TooManySamples.to_string()),
            ShardError::TooManyBlocks(_) => {
                Self::new(ErrorCode::QueryTooLarge, format!("{message}: ask for less time, or bind R2"))
            }
            ShardError::Corrupt(what) => Self::new(ErrorCode::CorruptBlock, format!("shard {shard}: {what}")),
            ShardError::Storage(private) => {
                let what = format!("the storage of shard {shard}");
                Self::unavailable(ErrorCode::ShardUnavailable, &what, private)
            }
        }
    }
}

impl From<PushFault> for ApiError {
    fn from(fault: PushFault) -> Self {
        let (code, message) = (fault.code(), fault.to_string());
        let details = match fault {
            PushFault::Series { faults, .. } => faults.into_iter().map(fault_detail).collect(),
            _ => Vec::new(),
        };
        Self { details, ..Self::new(code, message) }
    }
}

impl From<TooCostly> for ApiError {
    fn from(error: TooCostly) -> Self {
        Self::new(ErrorCode::QueryTooLarge, error.to_string())
    }
}

impl From<TooManySamples> for ApiError {
    fn from(error: TooManySamples) -> Self {
        Self::new(ErrorCode::QueryTooLarge, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status_and_a_refusal_reason() {
        for code in ErrorCode::ALL {
            let status = ApiError::new(*code, "").status();
            assert!((400..=599).contains(&status), "{code:?}");
            let ours = status >= 500;
            let unavailable = edgewatch_shared::RefusalReason::of(*code);
            if ours && !matches!(code, ErrorCode::ShardFull | ErrorCode::QuotaExhausted) {
                assert_eq!(unavailable, edgewatch_shared::RefusalReason::Unavailable, "{code:?}");
            }
        }
    }
}
