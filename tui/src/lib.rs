//! The terminal program: steps a request of an embedded cluster or of a running server, or prints its steps.
//!
//! `source` provides the steps, `state` contains the screen's data and changes it, `view` draws it, `input`
//! binds the keys.
#![warn(missing_docs)]
pub mod arguments;
#[allow(missing_docs, reason = "doc comments of arguments are help texts: see `tikv-tui --help`")]
pub mod cli;
pub mod command;
pub mod compare;
pub mod dap;
pub mod editor;
pub mod export;
pub mod input;
#[cfg(feature = "embedded")]
pub mod overhead;
pub mod print;
pub mod recording;
pub mod run;
pub mod scripts;
pub mod sites;
pub mod source;
pub mod state;
pub mod terminal;
pub mod view;
