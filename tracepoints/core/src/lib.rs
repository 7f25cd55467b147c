//! Stamps, the stage catalogue, request-scoped gates, engine time and traces.
//!
//! A request leaves a [`stamp!`] at every stage boundary. Folding the stamps of one request makes its
//! [`trace::Trace`]. A [`session::Session`] watches one request live, holds it at gates and receives the
//! probes that its owners publish.
#[macro_use]
mod macros;

pub mod catalogue;
pub mod clock;
pub mod collector;
pub mod critical;
pub mod ending;
pub mod field;
pub mod gate;
pub mod label;
mod local;
pub mod overhead;
pub mod printable;
pub mod probe;
pub mod recorder;
pub mod request;
pub mod ring;
pub mod session;
pub mod site;
pub mod stack;
pub mod symbolize;
pub mod thread;
pub mod trace;
pub mod trace_file;

pub use catalogue::{Class, Hold, Lane, Stage, StageId, find as find_stage, stage};
pub use clock::EngineClock;
pub use collector::{Collector, CollectorConfig};
pub use ending::{Ending, Outcome};
pub use gate::FsmGate;
pub use probe::Probe;
pub use recorder::Stamp;
pub use request::{Req, RequestInfo, RequestKind};
pub use session::{Session, SessionConfig, SessionEvent};
pub use site::StampSite;
pub use thread::register_thread;
