//! What a handler returns: status, headers, bytes. The runtime's response is made of it at the very end.

use crate::{api_error::ApiError, clock};
use edgewatch_shared::{ErrorCode, limits::RESPONSE_BYTES_MAX};
use serde::Serialize;
use worker::{Response, ResponseBuilder, Result};

/// A reply on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    /// A body of a given type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![
            ("Content-Type", content_type.to_owned()),
            ("Cache-Control", "no-store".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ];
        Self { status, headers, body: body.into() }
    }

    /// A JSON body. Our wire types always serialize; should one not, the reply is an empty 500.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) if body.len() > RESPONSE_BYTES_MAX => {
                let message = format!("the reply has more than {RESPONSE_BYTES_MAX} bytes: ask for less");
                ApiError::new(ErrorCode::QueryTooLarge, message).to_reply(clock::now())
            }
            Ok(mut body) => {
                body.push(b'\n');
                Self::new(status, "application/json", body)
            }
            Err(_) => Self::new(500, "text/plain", "a reply did not serialize\n"),
        }
    }

    /// No body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: vec![("Cache-Control", "no-store".to_owned())], body: Vec::new() }
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The runtime's response; `HEAD` gets no body.
    pub fn into_response(self, is_head: bool) -> Result<Response> {
        let mut builder = ResponseBuilder::new().with_status(self.status);
        for (name, value) in self.headers {
            builder = builder.with_header(name, &value)?;
        }
        Ok(if is_head || self.body.is_empty() { builder.empty() } else { builder.fixed(self.body) })
    }
}
