//! Facts that the server has not been told: they go along with a push, and are no part of what is frozen.

use edgewatch_shared::wire::Facts;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the collecting thread finds out, and the sending one tells.
#[derive(Debug, Default)]
pub struct Untold(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    facts: Option<Facts>,
    is_told: bool,
}

impl Untold {
    /// These are the facts now.
    pub fn are(&self, facts: Facts) {
        let mut state = self.lock();
        if state.facts.as_ref() != Some(&facts) {
            *state = State { facts: Some(facts), is_told: false };
        }
    }

    /// The facts, if the server does not know them.
    pub fn get(&self) -> Option<Facts> {
        let state = self.lock();
        if state.is_told { None } else { state.facts.clone() }
    }

    /// The server knows these facts.
    pub fn told(&self, facts: &Facts) {
        let mut state = self.lock();
        state.is_told |= state.facts.as_ref() == Some(facts);
    }

    /// There may be another server, which knows nothing.
    pub fn forget(&self) {
        self.lock().is_told = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a single assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_told_until_the_server_has_them_and_again_when_they_change() {
        let of = |cpus| Facts { cpus, ..Facts::default() };
        let untold = Untold::default();
        assert_eq!(untold.get(), None);
        untold.are(of(1));
        assert_eq!((untold.get(), untold.get()), (Some(of(1)), Some(of(1))));
        untold.told(&of(1));
        untold.are(of(1));
        assert_eq!(untold.get(), None);
        untold.are(of(2));
        // What the server has just been told is old.
        untold.told(&of(1));
        assert_eq!(untold.get(), Some(of(2)));
        untold.told(&of(2));
        untold.forget();
        assert_eq!(untold.get(), Some(of(2)));
    }
}
