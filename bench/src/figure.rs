//! A figure: what was measured, and its peer's.

use serde::Serialize;

/// One line of a result.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    figure: String,
    value: f64,
    unit: &'static str,
    peer: Option<&'static str>,
    peer_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl Figure {
    /// A figure without a peer.
    pub fn new(figure: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { figure: figure.into(), value, unit, peer: None, peer_value: None, note: None }
    }

    /// A figure beside its peer's, measured in the same run.
    pub fn beside(self, peer: &'static str, peer_value: f64) -> Self {
        Self { peer: Some(peer), peer_value: Some(peer_value), ..self }
    }

    /// A figure with what it is decided by.
    pub fn noting(self, note: &'static str) -> Self {
        Self { note: Some(note), ..self }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.figure
    }

    /// What was measured.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Prints a line: JSON, or for people.
    pub fn print(&self, as_json: bool) {
        if as_json {
            // Texts and numbers always serialize.
            println!("{}", serde_json::to_string(self).unwrap_or_default());
            return;
        }
        let peer = match (self.peer, self.peer_value) {
            (Some(peer), Some(value)) => format!("  ({peer}: {})", readable(value)),
            _ => String::new(),
        };
        let note = self.note.map(|note| format!("  [{note}]")).unwrap_or_default();
        println!("{:<48} {:>14} {}{peer}{note}", self.figure, readable(self.value), self.unit);
    }
}

fn readable(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// The median of some values; of an even number, the higher of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
