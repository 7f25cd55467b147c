//! The data that a session and the threads of its requests share: state, holds and links.
//!
//! This is the cold path of a stamp: it runs only for a stepped request.
mod clock;
mod config;
mod current;
mod gate_list;
mod inner;
mod joined;
mod links;
mod regions;
mod ticket;

pub use config::{
    GateState, HoldInfo, Matcher, Mode, ProbeEvent, SessionConfig, SessionError, SessionEvent, StepEvent,
};
pub use current::{active, publish, publish_region};
pub(crate) use current::{adopt, end, finished, observe, start};
pub(crate) use inner::Inner;
pub use joined::{joined, joined_read, watches_region};
pub use regions::watch_region;
pub(crate) use ticket::{Ticket, arrive};
