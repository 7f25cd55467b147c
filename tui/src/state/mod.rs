//! The state of the screen and its changes. Nothing here draws.
mod act;
pub mod code;
pub mod document;
pub mod engine;
pub mod flame;
mod flame_keys;
mod give;
pub mod highlight;
mod mouse;
pub mod overlay;
pub mod path;
pub mod screen;
pub mod search;
pub mod source;
pub mod tikv;
mod typing;
pub mod units;

pub use screen::{Effect, Pane, Screen};
pub use source::{HeldRequest, SourceEvent, Start, StepSource};
