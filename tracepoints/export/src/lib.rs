//! Converts traces to and from the formats of other tools.
//!
//! Every writer takes a [`Request`] and every reader returns requests. Writers take one request after
//! another, so a recording of any size can be converted.
#![forbid(unsafe_code)]
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
