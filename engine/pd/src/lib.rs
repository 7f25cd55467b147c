//! The embedded Placement Driver, and the client with which every store calls PD.
//!
//! [`server`] speaks pdpb over gRPC on its own port and keeps its state in one directory. [`client`] works against
//! it and against any real PD (tikv/pd).
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod client;
pub mod server;
