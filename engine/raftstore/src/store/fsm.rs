//! State machines: store, peer, apply.
pub mod apply;
pub mod peer;
pub mod store;
