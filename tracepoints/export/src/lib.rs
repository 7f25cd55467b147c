//! Traces in the formats of other tools, and traces of other tools in ours.
//!
//! A [`Request`] is what every writer takes and every reader gives. Writers take one request after the other, so that a
//! recording of any size passes through.
pub mod bridge;
pub mod chrome;
mod error;
pub mod folded;
pub mod import;
mod lanes;
pub mod model;
pub mod otlp;
pub mod perfetto;
pub mod recorded;
pub mod send;
mod way;

pub use error::ExportError;
pub use import::Imported;
pub use model::{Lane, Request, Source, Span, Value};
