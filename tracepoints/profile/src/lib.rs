//! Profiles: the use of CPU time, and the use of a request's time (from its trace).
//!
//! A [`Profile`] represents either, with labels and several values; every reader makes one and every writer
//! takes one. Folded stacks ([`Folded`]) are the short form: one stack per line, outermost frame first, with
//! a count. [`flame::svg`] draws them, [`compare()`] compares two, [`html`] shows either on a page.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod cohort;
pub mod compare;
mod diff;
mod error;
pub mod flame;
pub mod folded;
pub mod format;
pub mod heap;
pub mod html;
pub mod join;
pub mod json;
pub mod model;
mod operation;
pub mod symbols;
mod tree;
pub mod view;
pub mod wall;
mod xml;

pub use cohort::{Operation, Pick};
pub use compare::{Comparison, compare};
pub use diff::{Diff, diff};
pub use error::ProfileError;
pub use flame::FlameOptions;
pub use folded::Folded;
pub use model::{FoldOptions, Profile};
