//! A durable PD with a single member: timestamps, ids, stores, regions, replica scheduling.
pub mod clock;
mod cluster;
mod error;
mod freeze;
mod handle;
mod heartbeat_streams;
mod http;
mod incoming;
mod keyspace;
mod operator;
mod regions;
mod replica_checker;
mod safe_point;
mod saved;
mod scatter;
mod scatter_groups;
mod scheduling;
mod service;
mod state_file;
mod store_state;
mod stores;
mod tso;

pub use clock::{EngineWallClock, PdClock};
pub use error::{Error, Refusal, Result};
pub use handle::{PdConfig, PdHandle, PdServer};
pub use operator::{Operator, Step};
pub use store_state::StoreStateError;
