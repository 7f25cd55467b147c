//! Asynchronous log writes, outside of the pollers.
pub mod write;
mod write_task;

pub use write_task::WriteTask;
