//! Profiles: the use of CPU time (sampled in process), and the use of a request's time (from its trace).
//!
//! A [`Profile`] represents either, with labels and several values; every reader makes one and every writer
//! takes one. Folded stacks ([`Folded`]) are the short form: one stack per line, outermost frame first, with
//! a count. [`flame::svg`] draws them, [`compare()`] compares two, [`html`] shows either on a page.
pub mod cohort;
pub mod compare;
pub mod cpu;
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
pub mod symbols;
mod tree;
pub mod wall;

pub use cohort::{Operation, Pick};
pub use compare::{Comparison, compare};
pub use cpu::CpuProfile;
pub use diff::{Diff, diff};
pub use error::ProfileError;
pub use flame::FlameOptions;
pub use folded::Folded;
pub use model::{FoldOptions, Profile};
