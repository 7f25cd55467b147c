//! Where steps come from.
pub mod attached;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod feed;
pub mod recorded;
