//! JSON as tools write it, which is not always as RFC 8259 has it: NaN and Infinity, raw control characters, commas too many,
//! arrays without an end. A value that JSON cannot hold costs that value, a record that cannot be read costs that record.
//!
//! Strict text takes serde_json's way and is not looked at twice.
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

/// A value, also one that is JSON only after [`repair`].
pub fn parse(text: &[u8]) -> Option<Value> {
    serde_json::from_slice(text).or_else(|_| serde_json::from_slice(&repair(text))).ok()
}

/// A whole document. What had to be done to read it is in the notes.
///
/// # Errors
/// That of the strict reader, if not even the repaired text holds a `T`.
pub fn document<T: DeserializeOwned>(text: &[u8]) -> Result<(T, Vec<String>), serde_json::Error> {
    let strict = match serde_json::from_slice(text) {
        Ok(document) => return Ok((document, Vec::new())),
        Err(e) => e,
    };
    let text = repair(text);
    if let Some(document) = from_value(&text) {
        let note = format!(
            "the file is no strict JSON ({strict}); it was read as it is meant, and nothing is left out"
        );
        return Ok((document, vec![note]));
    }
    match from_value(&close(&text)) {
        Some(document) => {
            let note =
                format!("the file is cut short or damaged ({strict}); what comes after it is left out");
            Ok((document, vec![note]))
        }
        None => Err(strict),
    }
}

/// By way of a tree: it takes names that occur twice.
fn from_value<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::from_value(serde_json::from_slice::<Value>(text).ok()?).ok()
}
