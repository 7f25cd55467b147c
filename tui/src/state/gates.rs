//! Gates as the user writes them, and the list of those that are set.
use anyhow::{Context as _, Result};
use tracepoints::{
    Gate,
    gates::{GateError, Names},
    session::GateState,
};

use super::code;

/// Parses a gate; the lines of its files are those of the copy in this program.
///
/// # Errors
/// See [`Gate::parse`].
pub fn parse(text: &str) -> Result<Gate, GateError> {
    let source = |file: &str| code::packed(file).map(|(_, text)| text.to_owned());
    Gate::parse(text, &Names { source: Some(&source), ..Names::default() })
}

/// The gates of a source whose session runs elsewhere, or not yet.
#[derive(Clone, Debug, Default)]
pub struct GateSet(Vec<GateState>);

impl GateSet {
    /// Gates that are switched on.
    pub fn new(gates: impl IntoIterator<Item = Gate>) -> Self {
        let mut set = Self::default();
        gates.into_iter().for_each(|gate| set.set(gate));
        set
    }

    /// Every gate, in the order in which they were set.
    pub fn states(&self) -> &[GateState] {
        &self.0
    }

    /// Every gate, to count its arrivals.
    pub fn states_mut(&mut self) -> &mut [GateState] {
        &mut self.0
    }

    /// The gates that are switched on.
    pub fn on(&self) -> impl Iterator<Item = &Gate> {
        self.0.iter().filter(|state| state.on).map(|state| &state.gate)
    }

    /// Sets a gate; one of the same text counts its arrivals from 0 again.
    pub fn set(&mut self, gate: Gate) {
        let state = GateState::new(gate);
        match self.0.iter_mut().find(|known| known.gate.text() == state.gate.text()) {
            Some(known) => *known = state,
            None => self.0.push(state),
        }
    }

    /// Removes a gate.
    pub fn remove(&mut self, text: &str) {
        self.0.retain(|state| state.gate.text() != text);
    }

    /// Switches a gate on or off.
    ///
    /// # Errors
    /// If no gate has this text.
    pub fn switch(&mut self, text: &str, on: bool) -> Result<()> {
        let found = self.0.iter_mut().find(|state| state.gate.text() == text);
        found.with_context(|| format!("expected a gate that is set, found `{text}`"))?.on = on;
        Ok(())
    }
}
