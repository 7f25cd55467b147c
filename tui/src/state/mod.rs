//! What the screen shows and how it changes; nothing here draws.
pub mod act;
pub mod code;
pub mod document;
pub mod engine;
pub mod flame;
pub mod highlight;
pub mod overlay;
pub mod path;
pub mod screen;
pub mod search;
pub mod source;
pub mod tikv;
pub mod units;

pub use screen::{Effect, Pane, Screen};
pub use source::{Hold, SourceEvent, Start, StepSource};
