//! Load on a fixed schedule: what is due is sent when it is due, however long the answers before it took, and its
//! time counts from when it was due.

use anyhow::{Result, anyhow};
use std::{
    thread,
    time::{Duration, Instant},
};

/// When what is sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Connections that take turns; each sends its own in order.
    pub connections: usize,
    /// All of them together.
    pub per_second: f64,
    /// For how long.
    pub duration: Duration,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answered as they should be.
    pub answered: u64,
    /// Not.
    pub failed: u64,
    /// What the first that failed said.
    pub first_failure: Option<String>,
    /// Milliseconds from when each was due to its answer.
    pub waits_ms: Vec<f64>,
}

impl Load {
    /// How many are due in all.
    fn total(&self) -> usize {
        (self.per_second * self.duration.as_secs_f64()) as usize
    }

    /// Calls `send(connection, number)` for everything that is due; numbers count each connection's own from 0.
    pub fn run(&self, send: impl Fn(usize, u64) -> Result<()> + Sync) -> Result<Outcome> {
        let (start, send) = (Instant::now(), &send);
        let all = thread::scope(|scope| {
            let connections: Vec<_> = (0..self.connections)
                .map(|connection| scope.spawn(move || self.connection(connection, start, send)))
                .collect();
            let ended = connections.into_iter().map(|ended| ended.join());
            ended.collect::<Result<Vec<_>, _>>().map_err(|_| anyhow!("a connection panicked"))
        })?;
        Ok(all.into_iter().fold(Outcome::default(), Outcome::and))
    }

    fn connection(
        &self,
        connection: usize,
        start: Instant,
        send: &impl Fn(usize, u64) -> Result<()>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for (number, at) in (connection..self.total()).step_by(self.connections).enumerate() {
            let due = start + Duration::from_secs_f64(at as f64 / self.per_second);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            match send(connection, number as u64) {
                Ok(()) => outcome.answered += 1,
                Err(error) => {
                    outcome.failed += 1;
                    outcome.first_failure.get_or_insert(format!("{error:#}"));
                }
            }
            outcome.waits_ms.push(due.elapsed().as_secs_f64() * 1e3);
        }
        outcome
    }
}

impl Outcome {
    fn and(mut self, other: Self) -> Self {
        self.answered += other.answered;
        self.failed += other.failed;
        self.first_failure = self.first_failure.or(other.first_failure);
        self.waits_ms.extend(other.waits_ms);
        self
    }

    /// An error if anything failed.
    pub fn check(&self) -> Result<()> {
        match &self.first_failure {
            None => Ok(()),
            Some(failure) => Err(anyhow!("{} of {} failed: {failure}", self.failed, self.waits_ms.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, sync::Mutex};

    #[test]
    fn all_that_is_due_is_sent_once_and_counted_from_when_it_was_due() {
        let sent = Mutex::new(BTreeSet::new());
        let load = Load { connections: 3, per_second: 1_000.0, duration: Duration::from_millis(100) };
        let outcome = load.run(|connection, number| {
            assert!(sent.lock().unwrap().insert((connection, number)), "sent twice");
            if (connection, number) == (2, 5) { Err(anyhow!("no")) } else { Ok(()) }
        });
        let outcome = outcome.unwrap();
        assert_eq!((outcome.answered, outcome.failed, outcome.waits_ms.len()), (99, 1, 100));
        assert_eq!(sent.into_inner().unwrap().len(), 100);
        assert!(outcome.check().unwrap_err().to_string().contains("1 of 100 failed: no"));
    }
}
