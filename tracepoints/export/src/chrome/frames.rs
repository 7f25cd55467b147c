//! `stackFrames`: stacks that events refer to by the id of their innermost frame.
use std::collections::HashMap;

use serde_json::Value as Json;

use super::event::plain;
use crate::model::Value;

/// Attribute with the stack of an event, the outermost frame first.
pub(super) const STACK: &str = "stack";
/// Maximum depth of a stack; a deeper one is a cycle.
const MAX_DEPTH: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Frames(HashMap<String, (String, Option<String>)>);

/// Reads an event's `sf`, or its `stack` in full.
pub(super) fn reference(stack: &Json) -> Value {
    match stack {
        Json::Array(frames) => Value::Text(frames.iter().map(plain).collect::<Vec<_>>().join(";")),
        other => Value::Text(plain(other)),
    }
}

impl Frames {
    pub fn read(&mut self, json: &Json) {
        let Some(map) = json.as_object() else { return };
        for (id, frame) in map {
            let name = frame.get("name").map(plain).unwrap_or_default();
            let parent = frame.get("parent").map(plain).filter(|parent| !parent.is_empty());
            self.0.insert(id.clone(), (name, parent));
        }
    }

    /// Returns the names of a stack's frames; `None` if there is no such frame.
    pub fn stack(&self, innermost: &str) -> Option<String> {
        let mut names = Vec::new();
        let mut at = self.0.get(innermost)?;
        while names.len() < MAX_DEPTH {
            names.push(at.0.as_str());
            match at.1.as_ref().and_then(|parent| self.0.get(parent)) {
                Some(parent) => at = parent,
                None => break,
            }
        }
        names.reverse();
        Some(names.join(";"))
    }
}
