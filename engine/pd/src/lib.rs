//! The embedded Placement Driver and the client every store talks to PD with.
//!
//! [`server`] speaks pdpb over gRPC on its own port and keeps its state in one directory. [`client`] works against it and
//! against any real PD (tikv/pd).

pub mod client;
pub mod manual;
pub mod server;
