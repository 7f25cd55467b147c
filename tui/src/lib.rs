//! The terminal program: steps a request of an embedded cluster or of a running server on a screen, or prints its steps.
//!
//! `state` holds what is shown and how it changes, `view` draws it, `source` brings the steps, `input` names the keys.
pub mod cli;
pub mod command;
pub mod editor;
pub mod input;
#[cfg(feature = "embedded")]
pub mod overhead;
pub mod plain;
pub mod recording;
pub mod run;
pub mod source;
pub mod state;
pub mod svg;
pub mod terminal;
pub mod view;
