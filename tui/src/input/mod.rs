//! Keys and what they mean.
pub mod action;
mod csi;
pub mod decode;

pub use action::{Action, Binding, Group};
