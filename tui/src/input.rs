//! Decodes the terminal's input and binds keys to actions.
pub mod action;
mod csi;
pub mod decode;

pub use action::{Action, Binding, Group};
