//! The interface between the runner of a scenario and the front end that shows it.
use std::sync::Arc;

use anyhow::Result;
use tracepoints::{Session, SessionConfig, SessionEvent};

use crate::scenario::Block;

/// Receives every event of one operation, in order, on the operation's own thread.
pub type Listener = Box<dyn FnMut(SessionEvent) + Send>;

/// A front end: decides how a `step` is held and when the next directive runs, and receives the outputs.
pub trait Front {
    /// Called before each directive, which runs after the return. `held`: the scenario holds an operation.
    ///
    /// # Errors
    /// An error ends the scenario, for example because the screen has closed.
    fn before(&mut self, _block: &Block, _held: bool) -> Result<()> {
        Ok(())
    }

    /// Called with the output of a directive, and the mistake if the file expects another output.
    fn after(&mut self, block: &Block, output: &str, mistake: Option<String>);

    /// Configures a `step`. A `hold` uses `stacks` only, because the scenario decides about its holds.
    fn config(&mut self) -> SessionConfig {
        SessionConfig::default()
    }

    /// Called when an operation begins; returns the listener for its events.
    fn begin(&mut self, _operation: &str, _session: &Arc<Session>) -> Listener {
        Box::new(drop)
    }

    /// Called after an operation's end and its last event. `more`: another step follows.
    fn end(&mut self, _outcome: &str, _more: bool) {}
}

/// A front end without a screen: keeps the outputs of the directives.
#[derive(Default)]
pub struct Quiet {
    /// The outputs in the order of the directives.
    pub outputs: Vec<String>,
}

impl Front for Quiet {
    fn after(&mut self, _: &Block, output: &str, _: Option<String>) {
        self.outputs.push(output.to_owned());
    }
}
