//! The form as read: any member may be missing or malformed.
use serde::Deserialize;

use crate::json::{Index, List, Number, Object, Text};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    pub shared: Object<Shared>,
    pub profiles: List<Object<Part>>,
    pub name: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Shared {
    pub frames: List<Object<SharedFrame>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct SharedFrame {
    pub name: Text,
    pub file: Text,
    pub line: Index,
    pub col: Index,
}

/// A profile of the file, sampled or evented.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Part {
    pub name: Text,
    pub unit: Text,
    pub start_value: Number,
    pub end_value: Number,
    /// Frames, the outermost first.
    pub samples: List<List<Index>>,
    pub weights: List<Number>,
    pub events: List<Object<Event>>,
}

/// A frame is entered (O) or left (C).
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub kind: Text,
    pub at: Number,
    pub frame: Index,
}
