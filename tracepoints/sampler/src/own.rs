//! The sampler of Linux: our own timers, handler and unwinder.
use std::{
    io,
    sync::mpsc::{Receiver, Sender},
};

use crate::{collect, error::SamplerError, handler, tally::Tally, timers::Timers};

/// Installs the signal handler.
///
/// # Errors
/// If another handler is installed.
pub fn prepare() -> Result<(), SamplerError> {
    handler::install()
}

/// Samples until `stopped` is dropped or gets a message. Sends to `armed` whether the system created timers.
pub fn run(frequency: i32, armed: &Sender<io::Result<()>>, stopped: &Receiver<()>) -> Tally {
    let mut timers = Timers::new(frequency);
    handler::activate();
    let result = timers.arm_all();
    let failed = result.is_err();
    // An error means that no receiver is left: then the stop is dropped, too.
    let _ = armed.send(result);
    if failed {
        handler::deactivate();
        return Tally::default();
    }
    collect::run(timers, stopped)
}
