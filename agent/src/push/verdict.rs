//! What a server's answer to a push means for the batch.

use super::client::{Answer, NoAnswer};
use edgewatch_shared::{
    ErrorCode, TimestampMs,
    wire::{ErrorBody, PushReply},
};
use std::ops::RangeInclusive;

/// Characters of an answer that is not ours which are repeated in a message.
const EXCERPT_CHARS: usize = 100;
/// The same of our server's own words. Reason: they say what to do, and end with it.
const MESSAGE_CHARS: usize = 500;

/// What becomes of the batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is durable.
    Delivered(PushReply),
    /// The fault is on the way or at the server: the same batch again, after a pause.
    Retry {
        /// What happened.
        why: String,
        /// How long the server asked to wait.
        retry_after_s: Option<u64>,
        /// What may have become of the batch.
        fate: Fate,
    },
    /// The fault is in who we are, not in what we send: the batch is kept until somebody mends it.
    Unauthorized {
        /// What the server said.
        why: String,
    },
    /// The server does not have the series list that the batch names: with its list it may pass.
    UnknownList {
        /// What the server said.
        why: String,
    },
    /// The server knows less than we do: without what a push can do without it may pass.
    UnknownSection {
        /// What the server said.
        why: String,
    },
    /// Too much at once: in halves it may pass.
    TooLarge {
        /// What was said.
        why: String,
        /// Whether our server said it, not somebody on the way.
        is_ours: bool,
    },
    /// Our server will never take it.
    Rejected {
        /// What the server said.
        why: String,
    },
}

/// What may have become of a batch that nobody acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of it is stored: it never left, or was refused for now.
    NotStored,
    /// The same, and it may be this batch that somebody refuses.
    Refused,
    /// It may be stored.
    Unknown,
    /// The same, and it may be this batch that the server fails at.
    Suspect,
}

impl Fate {
    /// Whether some of it may be stored.
    pub fn may_be_stored(self) -> bool {
        matches!(self, Self::Unknown | Self::Suspect)
    }

    /// Whether another batch may fare better.
    pub fn is_suspect(self) -> bool {
        matches!(self, Self::Refused | Self::Suspect)
    }
}

impl From<&NoAnswer> for Verdict {
    fn from(no_answer: &NoAnswer) -> Self {
        let fate = if no_answer.has_left { Fate::Unknown } else { Fate::NotStored };
        Self::Retry { why: no_answer.to_string(), retry_after_s: None, fate }
    }
}

/// The verdict, and the server's clock where the answer tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What becomes of the batch.
    pub verdict: Verdict,
    /// The server's clock.
    pub server: Option<TimestampMs>,
}

/// What a server's clock may say, from 2025 to 2075. Reason: what lies beyond is a fault, and all stamps would follow it.
const PLAUSIBLE: RangeInclusive<TimestampMs> =
    TimestampMs(1_735_689_600_000)..=TimestampMs(3_313_526_400_000);

/// Judges an answer. Only a reply that can be read acknowledges a batch: a page that says 200 is not our server.
pub fn judge(answer: &Answer) -> Judged {
    let judged =
        if (200..300).contains(&answer.status) { judge_success(answer) } else { judge_refusal(answer) };
    Judged { server: judged.server.filter(|server| PLAUSIBLE.contains(server)), ..judged }
}

fn judge_refusal(answer: &Answer) -> Judged {
    let (body, why) = refusal(answer);
    let server = body.as_ref().and_then(|body| body.server_ms);
    let code = body.map(|body| body.error.code);
    let retry_after_s = answer.retry_after_s;
    let verdict = match (answer.status, code) {
        (401 | 403, _) | (400..=499, Some(ErrorCode::UnknownHost | ErrorCode::RevokedHost)) => {
            Verdict::Unauthorized { why }
        }
        (409, Some(ErrorCode::UnknownDictionary)) => Verdict::UnknownList { why },
        (415, Some(ErrorCode::UnsupportedSection)) => Verdict::UnknownSection { why },
        (413, _) | (400..=499, Some(ErrorCode::TooManySamples)) => {
            Verdict::TooLarge { why, is_ours: code.is_some() }
        }
        (400..=499, Some(code)) if is_about_the_batch(code) => Verdict::Rejected { why },
        (400..=499, _) if !matches!(answer.status, 408 | 429) => {
            let whose = match code {
                Some(_) => "the server says so of the request, not of what is in it: is the URL right?",
                None => "no Edgewatch server says so: look at the URL, and at who is on the way",
            };
            Verdict::Retry { why: format!("{why} ({whose})"), retry_after_s, fate: Fate::Refused }
        }
        (300..=399 | 429, _) => Verdict::Retry { why, retry_after_s, fate: Fate::NotStored },
        // With any other code it says that it is not well.
        (500..=599, None | Some(ErrorCode::Internal)) => {
            Verdict::Retry { why, retry_after_s, fate: Fate::Suspect }
        }
        _ => Verdict::Retry { why, retry_after_s, fate: Fate::Unknown },
    };
    Judged { verdict, server }
}

/// Whether a refusal is about what is in the batch, and so will be the same tomorrow and by whatever way.
fn is_about_the_batch(code: ErrorCode) -> bool {
    use ErrorCode as C;
    matches!(code, C::MalformedBody | C::EmptyBatch | C::InvalidBatch | C::IdentityConflict | C::SeriesLimit)
}

fn judge_success(answer: &Answer) -> Judged {
    match serde_json::from_slice::<PushReply>(&answer.body) {
        Ok(reply) => Judged { server: Some(reply.server_ms), verdict: Verdict::Delivered(reply) },
        Err(_) => Judged {
            server: None,
            verdict: Verdict::Retry {
                why: format!(
                    "HTTP {} without an acknowledgement, is this an Edgewatch server? {}",
                    answer.status,
                    one_line(&String::from_utf8_lossy(&answer.body), EXCERPT_CHARS)
                ),
                retry_after_s: answer.retry_after_s,
                fate: Fate::Unknown,
            },
        },
    }
}

/// The error in an answer, where it is one of ours, and what to tell people either way.
pub fn refusal(answer: &Answer) -> (Option<ErrorBody>, String) {
    match serde_json::from_slice::<ErrorBody>(&answer.body) {
        Ok(body) => {
            let message = one_line(&body.error.message, MESSAGE_CHARS);
            let why = format!("{}: {message}", body.error.code.as_str());
            (Some(body), why)
        }
        Err(_) => {
            let excerpt = one_line(&String::from_utf8_lossy(&answer.body), EXCERPT_CHARS);
            (None, format!("HTTP {}: {excerpt}", answer.status))
        }
    }
}

/// The beginning of somebody else's text, on one line and without what moves a terminal's cursor.
fn one_line(text: &str, chars_max: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|c| !c.is_control()).take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after_s: Some(7), body: body.as_bytes().to_vec() }
    }

    /// The name of the verdict on an answer.
    fn verdict(status: u16, body: &str) -> &'static str {
        match judge(&answer(status, body)).verdict {
            Verdict::Delivered(_) => "delivered",
            Verdict::Retry { .. } => "retry",
            Verdict::Unauthorized { .. } => "unauthorized",
            Verdict::UnknownList { .. } => "unknown list",
            Verdict::TooLarge { .. } => "too large",
            Verdict::UnknownSection { .. } => "unknown section",
            Verdict::Rejected { .. } => "rejected",
        }
    }

    #[test]
    fn a_status_by_anybody_has_its_verdict_and_refuses_nothing_for_good() {
        for (status, expected) in [
            (199, "retry"),
            (301, "retry"),
            (307, "retry"),
            (400, "retry"),
            (401, "unauthorized"),
            (403, "unauthorized"),
            (404, "retry"),
            (405, "retry"),
            (407, "retry"),
            (408, "retry"),
            (409, "retry"),
            (413, "too large"),
            (415, "retry"),
            (421, "retry"),
            (422, "retry"),
            (429, "retry"),
            (499, "retry"),
            (500, "retry"),
            (503, "retry"),
            (599, "retry"),
        ] {
            assert_eq!(verdict(status, "<html>"), expected, "{status}");
        }
    }

    #[test]
    fn a_code_says_more_than_its_status() {
        let body = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        for (status, code, expected) in [
            (400, "too_many_samples", "too large"),
            (404, "unknown_host", "unauthorized"),
            (410, "revoked_host", "unauthorized"),
            (409, "unknown_dictionary", "unknown list"),
            (409, "identity_conflict", "rejected"),
            (400, "invalid_batch", "rejected"),
            (415, "unsupported_section", "unknown section"),
            (400, "malformed_body", "rejected"),
            (400, "empty_batch", "rejected"),
            (422, "series_limit", "rejected"),
            (413, "body_too_large", "too large"),
            // About the request, not about the batch.
            (404, "not_found", "retry"),
            (405, "method_not_allowed", "retry"),
            (414, "url_too_long", "retry"),
            (415, "unsupported_encoding", "retry"),
            (400, "a_code_of_tomorrow", "retry"),
            (503, "unknown_host", "retry"),
        ] {
            assert_eq!(verdict(status, &body(code)), expected, "{code}");
        }
    }

    #[test]
    fn what_may_be_stored_and_what_may_be_the_batchs_fault_is_told_apart() {
        let body = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        for (status, body, expected) in [
            (200, "<html>".to_owned(), Fate::Unknown),
            (302, String::new(), Fate::NotStored),
            (404, String::new(), Fate::Refused),
            (408, String::new(), Fate::Unknown),
            (429, String::new(), Fate::NotStored),
            (500, body("internal"), Fate::Suspect),
            (502, "<html>".to_owned(), Fate::Suspect),
            (503, body("overloaded"), Fate::Unknown),
            (503, body("shard_unavailable"), Fate::Unknown),
        ] {
            let Verdict::Retry { fate, .. } = judge(&answer(status, &body)).verdict else { panic!("{body}") };
            assert_eq!(fate, expected, "{status} {body}");
        }
    }

    #[test]
    fn what_is_kept_in_spite_of_a_refusal_says_whose_it_is() {
        for (body, whose) in [
            ("<html>", "HTTP 404: <html> (no Edgewatch server says so"),
            (
                r#"{"error":{"code":"not_found","message":"m"}}"#,
                "not_found: m (the server says so of the request",
            ),
        ] {
            let Verdict::Retry { why, .. } = judge(&answer(404, body)).verdict else { panic!("{body}") };
            assert!(why.starts_with(whose), "{why}");
        }
        for (body, by_us) in [("", false), (r#"{"error":{"code":"body_too_large","message":"m"}}"#, true)] {
            let verdict = judge(&answer(413, body)).verdict;
            assert!(matches!(verdict, Verdict::TooLarge { is_ours, .. } if is_ours == by_us), "{body}");
        }
    }

    #[test]
    fn a_message_of_the_server_comes_on_one_line_and_moves_no_cursor() {
        let body =
            format!(r#"{{"error":{{"code":"internal","message":"a\n\u001b[2J{}"}}}}"#, "é".repeat(600));
        let (_, why) = refusal(&answer(500, &body));
        assert_eq!(why, format!("internal: a [2J{}", "é".repeat(MESSAGE_CHARS - 5)));
    }

    #[test]
    fn an_acknowledgement_that_cannot_be_read_is_none() {
        let reply = r#"{"ingested":1,"refused":0,"next_push_ms":60000,"server_ms":1795248000000}"#;
        assert_eq!(verdict(202, reply), "delivered");
        assert_eq!(judge(&answer(202, reply)).server, Some(TimestampMs(1_795_248_000_000)));
        for bad in ["", "{}", "<html>welcome</html>", r#"{"ingested":1}"#] {
            assert_eq!(verdict(200, bad), "retry", "{bad}");
        }
    }

    #[test]
    fn a_clock_that_no_server_can_have_is_not_believed_and_the_rest_of_the_answer_is() {
        let (first, last) = (PLAUSIBLE.start().0, PLAUSIBLE.end().0);
        for (server_ms, is_believed) in [
            (i64::MIN, false),
            (0, false),
            (first - 1, false),
            (first, true),
            (last, true),
            (last + 1, false),
            (i64::MAX, false),
        ] {
            let reply = format!(r#"{{"ingested":1,"refused":0,"next_push_ms":1,"server_ms":{server_ms}}}"#);
            let judged = judge(&answer(202, &reply));
            assert_eq!(judged.server.is_some(), is_believed, "{server_ms}");
            assert!(matches!(judged.verdict, Verdict::Delivered(_)), "{server_ms}");
            let refusal =
                format!(r#"{{"error":{{"code":"expired_token","message":"m"}},"server_ms":{server_ms}}}"#);
            assert_eq!(judge(&answer(401, &refusal)).server.is_some(), is_believed, "{server_ms}");
        }
    }

    #[test]
    fn a_refusal_tells_code_message_clock_and_pause() {
        let body = r#"{"error":{"code":"expired_token","message":"the token has expired"},"server_ms":1795248000000}"#;
        let judged = judge(&answer(401, body));
        assert_eq!(judged.server, Some(TimestampMs(1_795_248_000_000)));
        let why = "expired_token: the token has expired".to_owned();
        assert_eq!(judged.verdict, Verdict::Unauthorized { why });
        let Verdict::Retry { why, retry_after_s, .. } =
            judge(&answer(503, "down\r\n\u{1b}[2J for\n now")).verdict
        else {
            panic!("not retried");
        };
        assert_eq!((why.as_str(), retry_after_s), ("HTTP 503: down [2J for now", Some(7)));
    }
}
