//! `tikv-tui dap`: the Debug Adapter Protocol on a source of steps, so that an editor steps a request.
//!
//! The types of the protocol are this module's own. The crates with such types (`dap`, `emmy_dap_types`,
//! `debug_types`) lose the number of a request whose arguments do not parse, so it could not be answered; they
//! reserve the memory that a header announces before they have read it; and their lists of requests are
//! fixed, but an extension needs requests of its own.
mod arguments;
mod breakpoints;
mod evaluate;
mod frames;
pub mod framing;
mod launch;
mod message;
mod server;
mod session;
mod sources;
mod stepper;
mod threads;
mod tree;
mod twin;
mod types;
mod variables;

pub use server::{run, serve};
