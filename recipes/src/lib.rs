//! Recipes: text scenarios that are test, tour and document of request paths; and the cluster that runs them.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
pub mod client;
pub mod cluster;
mod count_keys;
pub mod directive;
pub mod front;
pub mod library;
pub mod named;
pub mod operation;
pub mod overhead;
pub mod pessimistic;
pub mod pipelined;
pub mod print;
pub mod rows;
pub mod rpc;
pub mod runner;
pub mod scenario;
pub mod temporary;

pub use cluster::{Cluster, ClusterConfig};
pub use front::Front;
pub use runner::Runner;
pub use scenario::{Scenario, ScenarioError};
