//! What is said of the way to the server: one line when its state changes, not one a push.

use super::verdict::Verdict;
use log::Level;

/// Milliseconds after which a host that nobody lets in says so again.
const UNAUTHORIZED_SAID_EVERY_MS: i64 = 3_600_000;

/// How pushes are going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Untried,
    Up,
    Away,
    Rejecting,
    Unauthorized {
        said_ms: i64,
    },
}

/// Listens to verdicts and knows which of them are news.
#[derive(Debug, Default)]
pub struct Link(State);

impl Link {
    /// What is to be said of a verdict at `now_ms`, if it is news.
    pub fn news(&mut self, verdict: &Verdict, now_ms: i64) -> Option<(Level, String)> {
        let before = self.0;
        let (after, line) = match verdict {
            Verdict::Delivered(_) => {
                let line = match before {
                    State::Untried => "the first push was taken",
                    _ => "pushes are taken again",
                };
                (State::Up, (Level::Info, line.to_owned()))
            }
            Verdict::Retry { why, .. } => {
                let line = format!("push failed, the batch is kept and tried again: {why}");
                (State::Away, (Level::Warn, line))
            }
            Verdict::Unauthorized { why } => {
                let said_ms = match before {
                    State::Unauthorized { said_ms } if now_ms - said_ms < UNAUTHORIZED_SAID_EVERY_MS => {
                        said_ms
                    }
                    _ => now_ms,
                };
                let line = format!("the server does not let this host in, batches are kept: {why}");
                (State::Unauthorized { said_ms }, (Level::Warn, line))
            }
            Verdict::Rejected { why } => {
                let line =
                    format!("the server refused a batch for good, it is set aside in rejected/: {why}");
                (State::Rejecting, (Level::Error, line))
            }
            Verdict::TooLarge { why, .. } => {
                return Some((Level::Debug, format!("a batch is sent in halves: {why}")));
            }
            Verdict::UnknownSection { why } => {
                return Some((Level::Debug, format!("from now on batches go without their records: {why}")));
            }
            Verdict::UnknownList { why } => {
                return Some((Level::Debug, format!("a batch is sent with its series list: {why}")));
            }
        };
        self.0 = after;
        (after != before).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::verdict::Fate;
    use edgewatch_shared::{TimestampMs, wire::PushReply};

    const HOUR_MS: i64 = UNAUTHORIZED_SAID_EVERY_MS;

    fn delivered() -> Verdict {
        Verdict::Delivered(PushReply {
            ingested: 1,
            duplicate: 0,
            refused: 0,
            next_push_ms: 60_000,
            server_ms: TimestampMs(0),
        })
    }

    fn retry() -> Verdict {
        Verdict::Retry { why: "no route".into(), retry_after_s: None, fate: Fate::Unknown }
    }

    fn unauthorized() -> Verdict {
        Verdict::Unauthorized { why: "revoked".into() }
    }

    fn rejected() -> Verdict {
        Verdict::Rejected { why: "invalid".into() }
    }

    #[test]
    fn only_changes_are_said() {
        let mut link = Link::default();
        for (verdict, level) in [
            (delivered(), Some(Level::Info)),
            (delivered(), None),
            (retry(), Some(Level::Warn)),
            (retry(), None),
            (delivered(), Some(Level::Info)),
            (rejected(), Some(Level::Error)),
            (rejected(), None),
            (delivered(), Some(Level::Info)),
            (unauthorized(), Some(Level::Warn)),
            (retry(), Some(Level::Warn)),
        ] {
            let said = link.news(&verdict, 0);
            assert_eq!(said.as_ref().map(|(level, _)| *level), level, "{verdict:?} {said:?}");
        }
    }

    #[test]
    fn a_host_that_is_not_let_in_says_so_once_an_hour() {
        let mut link = Link::default();
        let mut at = |now_ms| link.news(&unauthorized(), now_ms).is_some();
        assert!(at(5));
        assert!(!at(6));
        assert!(!at(4 + HOUR_MS));
        assert!(at(5 + HOUR_MS));
        assert!(!at(4 + 2 * HOUR_MS));
        assert!(at(5 + 2 * HOUR_MS));
    }
}
