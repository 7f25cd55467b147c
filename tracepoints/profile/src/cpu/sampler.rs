//! The sampler of Linux: our own timers, handler and unwinder.
use std::{
    io,
    sync::mpsc::{Receiver, Sender},
};

use super::{collect, handler, tally::Tally, timers::Timers};
use crate::ProfileError;

/// Puts the signal handler in its place.
///
/// # Errors
/// Another handler is there.
pub fn prepare() -> Result<(), ProfileError> {
    handler::install()
}

/// Samples until `stopped` is sent to or dropped. Sends to `armed` whether the system gave timers.
pub fn run(frequency: i32, armed: &Sender<io::Result<()>>, stopped: &Receiver<()>) -> Tally {
    let mut timers = Timers::new(frequency);
    handler::activate();
    let result = timers.arm_all();
    let failed = result.is_err();
    // Nobody listens any more: then the stop has been dropped as well.
    let _ = armed.send(result);
    if failed {
        handler::deactivate();
        return Tally::default();
    }
    collect::run(timers, stopped)
}
