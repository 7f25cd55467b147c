//! The sources of steps: an embedded cluster, a server, or a recording.
pub mod attached;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod feed;
pub(crate) mod pd;
pub mod recorded;
#[cfg(feature = "embedded")]
pub mod remote;
