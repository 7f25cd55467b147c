//! Stamps, the stage catalogue, request-scoped gates, engine time and traces.
//!
//! A request leaves a [`stamp!`] at every stage boundary. Folding the stamps of one request makes its
//! [`trace::Trace`]. A [`session::Session`] watches one request live, holds it at gates and receives the
//! probes that its owners publish.
#![warn(missing_docs)]

#[macro_use]
mod macros;

pub mod catalogue;
pub mod clock;
pub mod collector;
pub mod critical;
pub mod ending;
pub mod facts;
pub mod field;
pub mod gate;
pub mod gates;
mod id_hash;
mod kind;
pub mod label;
mod local;
pub mod overhead;
pub mod printable;
pub mod probe;
mod recorded;
pub mod recorder;
mod req;
pub mod request;
pub mod ring;
pub mod session;
pub mod similar;
pub mod site;
pub mod sites;
pub mod stack;
mod stamp;
mod stepping;
pub mod symbolize;
pub mod thread;
mod thread_table;
pub mod trace;
pub mod trace_file;

pub use catalogue::{Class, Hold, Lane, Stage, StageId, find as find_stage, stage};
pub use clock::EngineClock;
pub use collector::{Collector, CollectorConfig};
pub use ending::{Ending, Outcome};
pub use facts::Facts;
pub use gate::FsmGate;
pub use gates::Gate;
#[doc(hidden)]
pub use linkme;
pub use probe::Probe;
pub use request::{Req, RequestInfo, RequestKind};
pub use session::{Session, SessionConfig, SessionEvent};
pub use site::StampSite;
pub use stamp::Stamp;
pub use thread::register_thread;
