//! The state of the screen and its changes. Nothing here draws.
pub mod code;
pub mod compare;
pub mod cursor;
pub mod document;
pub mod engine;
pub mod flame;
pub mod function_name;
pub mod gates;
pub mod highlight;
pub mod index;
pub mod messages;
mod outline;
pub mod overlay;
pub mod panes;
pub mod path;
pub mod screen;
pub mod search;
pub mod source;
pub mod stack;
pub mod tikv;
pub mod timeline;
pub mod timestamps;
pub mod units;

pub use panes::{Pane, Positions};
pub use screen::{Effect, Screen};
pub use source::{HeldRequest, SourceEvent, Start, StepSource};
pub use timeline::Phase;
