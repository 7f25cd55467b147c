//! Writing logs away from the pollers.
pub mod write;
