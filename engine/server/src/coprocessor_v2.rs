//! Plugins: code of users that runs inside of a store, on raw keys (TiKV `src/coprocessor_v2`).
mod endpoint;
mod plugin_registry;
mod raw_storage_impl;

pub use endpoint::Endpoint;
pub use plugin_registry::{PluginRegistrationError, PluginRegistry};
