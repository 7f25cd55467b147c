//! Keys and what they mean.
pub mod action;

pub use action::{Action, Binding, Group};
