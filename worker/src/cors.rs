//! Cross-origin calls: none, unless a setting names the origin.

use crate::{reply::Reply, settings::Settings};

/// The reply to a preflight; [`allow`] adds whether the origin may.
pub fn preflight() -> Reply {
    Reply::empty(204)
        .with_header("Access-Control-Allow-Methods", "GET, POST, DELETE")
        .with_header("Access-Control-Allow-Headers", "Authorization, Content-Type, Content-Encoding")
        .with_header("Access-Control-Max-Age", "3600")
}

/// Lets a page of an allowed origin read the reply.
pub fn allow(reply: Reply, settings: &Settings, origin: Option<&str>) -> Reply {
    if settings.cors_origins.is_empty() {
        return reply;
    }
    let reply = reply.with_header("Vary", "Origin");
    match origin {
        Some(origin) if settings.cors_origins.iter().any(|allowed| allowed == origin) => {
            reply.with_header("Access-Control-Allow-Origin", origin)
        }
        _ => reply,
    }
}
