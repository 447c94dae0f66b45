//! An HTTP answer, whole.

use edgewatch_shared::{ErrorCode, wire::ErrorBody};
use serde::de::DeserializeOwned;
use ureq::http::HeaderMap;

/// Status, headers and body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, decoded by nobody.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer {}: {}", self.status, self.text()))
    }

    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// This answer, if it has the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// The error that the answer is.
    #[track_caller]
    pub fn error(&self) -> ErrorBody {
        self.json()
    }

    /// Status and code of the error that the answer is.
    #[track_caller]
    pub fn refusal(&self) -> (u16, ErrorCode) {
        (self.status, self.error().error.code)
    }
}
