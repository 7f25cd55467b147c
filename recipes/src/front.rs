//! Who shows a scenario while it runs: the runner does what the file says, whoever looks on.
use std::sync::Arc;

use anyhow::Result;
use tracepoints::{Session, SessionConfig, SessionEvent};

use crate::scenario::Block;

/// Hears every event of one operation, in order, on a thread of the operation's own.
pub type Listener = Box<dyn FnMut(SessionEvent) + Send>;

/// A front end. It says how a `step` is stepped and when the next directive may run; it hears what happens.
pub trait Front {
    /// Called before each directive, which waits for its return; `held`: the scenario holds an operation.
    ///
    /// # Errors
    /// Ends the scenario, for example as the person has gone.
    fn before(&mut self, _block: &Block, _held: bool) -> Result<()> {
        Ok(())
    }

    /// What the directive printed and, with file and line, what is wrong with that.
    fn after(&mut self, block: &Block, output: &str, mistake: Option<String>);

    /// Where a `step` is held. A `hold` takes `stacks` alone: the scenario says where it is held and when it goes on.
    fn config(&mut self) -> SessionConfig {
        SessionConfig::default()
    }

    /// An operation begins.
    fn begin(&mut self, _operation: &str, _session: &Arc<Session>) -> Listener {
        Box::new(drop)
    }

    /// It has ended and its listener has heard all; `more`: the scenario steps another one.
    fn end(&mut self, _outcome: &str, _more: bool) {}
}

/// Nobody looks on: keeps what the directives print.
#[derive(Default)]
pub struct Quiet {
    pub outputs: Vec<String>,
}

impl Front for Quiet {
    fn after(&mut self, _: &Block, output: &str, _: Option<String>) {
        self.outputs.push(output.to_owned());
    }
}
