//! The forms in which profiles are kept.
pub mod pprof;
