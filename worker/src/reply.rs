//! What a handler returns: status, headers, bytes. The runtime's response is made of it at the very end.

use crate::{api_error::ApiError, clock};
use edgewatch_shared::{ErrorCode, limits::RESPONSE_BYTES_MAX};
use futures_util::stream::LocalBoxStream;
use serde::Serialize;
use worker::{Response, ResponseBuilder, Result};

/// Pieces of a body, made one after the other as they are sent. An error cuts the reply off.
pub type Pieces = LocalBoxStream<'static, Result<Vec<u8>>>;

enum Body {
    Whole(Vec<u8>),
    Pieces(Pieces),
}

/// Whether a reply may be so long.
fn fits(body: &[u8]) -> bool {
    body.len() <= RESPONSE_BYTES_MAX
}

/// A reply on its way.
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
}

impl Reply {
    /// A body of a given type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![
            ("Content-Type", content_type.to_owned()),
            ("Cache-Control", "no-store".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ];
        Self { status, headers, body: Body::Whole(body.into()) }
    }

    /// A body in pieces.
    pub fn pieces(content_type: &str, pieces: Pieces) -> Self {
        Self { body: Body::Pieces(pieces), ..Self::new(200, content_type, Vec::new()) }
    }

    /// A JSON body. Our wire types always serialize; should one not, the reply is an empty 500.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) if !fits(&body) => {
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
        Self {
            status,
            headers: vec![("Cache-Control", "no-store".to_owned())],
            body: Body::Whole(Vec::new()),
        }
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
        match self.body {
            Body::Whole(bytes) if !is_head && !bytes.is_empty() => Ok(builder.fixed(bytes)),
            Body::Pieces(pieces) if !is_head => builder.from_stream(pieces),
            _ => Ok(builder.empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_has_so_many_bytes_and_not_one_more() {
        let body = |bytes: usize| vec![b' '; bytes];
        assert!(fits(&body(RESPONSE_BYTES_MAX)) && !fits(&body(RESPONSE_BYTES_MAX + 1)));
    }
}
