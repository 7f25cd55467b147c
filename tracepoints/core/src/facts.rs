//! Facts of one step: its request, answer or decision, with the values that were compared.
use serde::{Deserialize, Serialize};

use crate::printable::{escape_readable, head};

/// Maximum number of bytes of a key or value shown.
const MAX_BYTES: usize = 64;
/// Maximum number of rows; the others are counted in [`Facts::more`].
const MAX_ROWS: usize = 24;

/// A request, an answer or a decision. It belongs to one step only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Title of the facts: `Request kv_get`, `Answer`, `Lease check`.
    pub title: String,
    /// The outcome in a few words: `locked`, `not leader, try store 4`; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// Whether the outcome is an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// From top to bottom.
    pub rows: Vec<Fact>,
    /// Number of rows left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

/// One value, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Name of the value.
    pub name: String,
    /// The value.
    pub value: FactValue,
    /// The other side of the comparison, or the conclusion from the value; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A value in the form in which a viewer can format it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactValue {
    /// A text; keys and values are escaped.
    Text(String),
    /// A number.
    Number(u64),
    /// A timestamp of PD.
    Ts(u64),
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Facts {
    /// Makes facts without rows.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// Sets the outcome.
    #[must_use]
    pub fn outcome(mut self, outcome: impl Into<String>) -> Self {
        self.outcome = outcome.into();
        self
    }

    /// Sets an outcome that is an error.
    #[must_use]
    pub fn failed(mut self, outcome: impl Into<String>) -> Self {
        (self.outcome, self.failed) = (outcome.into(), true);
        self
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, name: &str, text: impl Into<String>) -> Self {
        self.row(name, FactValue::Text(text.into()), "")
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, name: &str, number: u64) -> Self {
        self.row(name, FactValue::Number(number), "")
    }

    /// Adds a timestamp.
    #[must_use]
    pub fn ts(self, name: &str, ts: u64) -> Self {
        self.row(name, FactValue::Ts(ts), "")
    }

    /// Adds a timestamp unless it is zero.
    #[must_use]
    pub fn ts_unless_zero(self, name: &str, ts: u64) -> Self {
        if ts == 0 { self } else { self.ts(name, ts) }
    }

    /// Adds a key or a value, escaped; a long one is cut and its length added.
    #[must_use]
    pub fn bytes(self, name: &str, bytes: &[u8]) -> Self {
        self.text(name, shown(bytes))
    }

    /// Adds a text if the flag is set.
    #[must_use]
    pub fn flag(self, name: &str, set: bool) -> Self {
        if set { self.text(name, "yes") } else { self }
    }

    /// Adds a row; beyond the bound it is only counted.
    #[must_use]
    pub fn row(mut self, name: &str, value: FactValue, note: impl Into<String>) -> Self {
        if self.rows.len() >= MAX_ROWS {
            self.more += 1;
        } else {
            self.rows.push(Fact { name: name.to_owned(), value, note: note.into() });
        }
        self
    }

    /// Adds a note to the last row.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        if self.more == 0
            && let Some(row) = self.rows.last_mut()
        {
            row.note = note.into();
        }
        self
    }
}

/// Formats a key or a value: escaped, and cut if it is long.
pub fn shown(bytes: &[u8]) -> String {
    let text = escape_readable(head(bytes, MAX_BYTES));
    if bytes.len() > MAX_BYTES { format!("{text}... ({} bytes)", bytes.len()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Probe;

    #[test]
    fn long_lists_and_values_are_cut_and_counted() {
        let mut facts = Facts::new("Writes");
        for i in 0..MAX_ROWS as u64 + 3 {
            facts = facts.number("n", i).note("kept");
        }
        assert_eq!((facts.rows.len(), facts.more), (MAX_ROWS, 3));
        assert_eq!(facts.rows[MAX_ROWS - 1].value, FactValue::Number(MAX_ROWS as u64 - 1));
        assert!(shown(&[b'x'; 100]).ends_with("x... (100 bytes)"));
        assert_eq!(shown(b"k\x001"), "k\\0001");
    }

    #[test]
    fn facts_are_read_back_from_json() {
        let facts = Facts::new("Answer").outcome("locked").ts("lock_ts", 7).note("older").flag("x", false);
        let text = serde_json::to_string(&Probe::Facts(facts.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Probe>(&text).unwrap(), Probe::Facts(facts));
    }
}
