//! The stacks that `flamegraph` draws.
use tracepoints_profile::{Folded, Operation, Profile as Stacks, flame::Measure};

/// Stacks with their title and measure.
pub struct Profile {
    pub folded: Folded,
    pub measure: Measure,
    pub title: String,
    pub subtitle: String,
    /// The requests, if this is wall clock.
    pub operations: Vec<Operation>,
    /// Complete stacks, if the source has more than names and weights.
    pub stacks: Option<Stacks>,
    /// Stacks in the order of time, if this is one request.
    pub in_time: Option<Vec<String>>,
}
