//! Converts traces to and from the formats of other tools.
//!
//! Every writer takes a [`Request`] and every reader returns requests. Writers take one request after
//! another, so a recording of any size can be converted.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
pub mod bridge;
pub mod chrome;
mod error;
mod flow;
pub mod folded;
pub mod import;
mod lanes;
pub mod model;
pub mod otlp;
pub mod perfetto;
pub mod recorded;
pub mod send;

pub use error::ExportError;
pub use import::Imported;
pub use model::{Lane, Request, Source, Span, Value};
