//! Asynchronous log writes, outside of the pollers.
pub mod write;
