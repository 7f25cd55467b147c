//! The interface of plugins that run inside of a store, on raw keys. Mirrors `components/coprocessor_plugin_api`.
//!
//! A plugin for TiKV's crate of this name compiles with this one without a change. TiKV loads plugins from dynamic
//! libraries, which must have been built by the same compiler. Here the program that starts a store registers
//! them: [`declare_plugin!`] declares a function for it.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod errors;
mod plugin_api;
mod storage_api;
mod types;
mod util;

pub use errors::{PluginError, PluginResult};
pub use plugin_api::{CoprocessorPlugin, RawRequest, RawResponse};
pub use storage_api::{RawStorage, StorageFuture};
pub use types::{Key, KvPair, Value};
pub use util::{DeclaredPlugin, PluginInfo};
