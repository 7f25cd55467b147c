//! Reads JSON that tools write and RFC 8259 forbids: NaN and Infinity, raw control characters, extra commas,
//! unclosed arrays. An invalid value loses that value, an unreadable record loses that record.
//!
//! serde_json reads strict text directly, without a second pass.
mod leaf;
mod lost;
mod repair;
#[cfg(test)]
mod tests;
mod walk;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use leaf::{Index, List, Number, Object, Text};
pub use lost::Lost;
pub use repair::{close, repair};
pub use walk::{Members, begin, elements, value_end};

/// Parses a value, even if it is valid only after [`repair`].
pub fn parse(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text).or_else(|_| serde_json::from_slice(&repair(text))).ok()
}

/// Parses a whole document. The notes describe any repair.
///
/// # Errors
/// The strict reader's error, if not even the repaired text has a `T`.
pub fn document<T: DeserializeOwned>(text: &[u8]) -> Result<(T, Vec<String>), serde_json::Error> {
    let strict = match serde_json::from_slice(text) {
        Ok(document) => return Ok((document, Vec::new())),
        Err(e) => e,
    };
    let text = repair(text);
    if let Ok(document) = serde_json::from_slice(&text) {
        let note =
            format!("the file is not strict JSON ({strict}); it was repaired, and nothing is left out");
        return Ok((document, vec![note]));
    }
    if let Some(document) = from_value(&text) {
        let what = "of members with the same name only the last one is read, and the others are left out";
        return Ok((document, vec![format!("the file is not strict JSON ({strict}); {what}")]));
    }
    match from_value(&close(&text)) {
        Some(document) => {
            let note = format!("the file is cut short or damaged ({strict}); the data after it is left out");
            Ok((document, vec![note]))
        }
        None => Err(strict),
    }
}

/// Parses through a tree, which accepts duplicate names.
fn from_value<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::from_value(serde_json::from_slice::<Value>(text).ok()?).ok()
}
