//! The gRPC services of a store.
mod batch_commands;
mod call;
mod command;
pub mod control;
mod debug;
mod describe;
mod destroy;
mod flashback;
mod health;
mod health_feedback;
mod kv;
mod kv_service;
mod outcome;
mod raw;
mod reply;
mod split;
mod table;
mod txn;
mod unserved;

pub(crate) use call::Call;
pub use command::Parts;
pub use debug::DebugService;
pub use health::HealthController;
pub use health_feedback::FeedbackSource;
pub use kv_service::KvService;
