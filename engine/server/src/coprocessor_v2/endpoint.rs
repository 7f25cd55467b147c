//! Answers `RawCoprocessor`: finds the plugin of a request and runs it.
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use coprocessor_plugin_api::PluginError;
use kvproto::{
    errorpb,
    kvrpcpb::{RawCoprocessorRequest, RawCoprocessorResponse},
};
use semver::VersionReq;
use storage::extract_region_error_from_error;
use tracepoints::Req;

use super::{
    plugin_registry::{LoadedPlugin, PluginRegistry},
    raw_storage_impl::RawStorageImpl,
};
use crate::{Storage, service::Call};

/// An error in the reply.
enum CoprocessorError {
    RegionError(Box<errorpb::Error>),
    Other(String),
}

/// Runs the plugins of one store; clones share them.
#[derive(Clone, Debug)]
pub struct Endpoint {
    plugin_registry: Arc<PluginRegistry>,
}

impl Endpoint {
    /// Creates the endpoint of a store with these plugins.
    pub fn new(plugin_registry: PluginRegistry) -> Self {
        Self { plugin_registry: Arc::new(plugin_registry) }
    }

    /// Answers a request. The plugin runs on a thread of its own, since it blocks: TiKV runs it on the thread of gRPC.
    pub async fn handle_request(
        self,
        storage: Storage,
        request: RawCoprocessorRequest,
        call: Call,
    ) -> RawCoprocessorResponse {
        let found = self.find_plugin(&request);
        tracepoints::step!(COPR_V2_FIND_PLUGIN, call.req, found = found.is_ok());
        let result = match found {
            Ok(plugin) => {
                let run = move || run_plugin(&plugin, storage, request, call.req);
                let ended = tokio::task::spawn_blocking(run).await;
                ended.unwrap_or_else(|e| Err(CoprocessorError::Other(e.to_string())))
            }
            Err(e) => Err(e),
        };
        let mut reply = RawCoprocessorResponse::default();
        match result {
            Ok(data) => reply.data = data,
            Err(CoprocessorError::RegionError(e)) => reply.region_error = Some(*e),
            Err(CoprocessorError::Other(e)) => reply.error = e,
        }
        reply
    }

    fn find_plugin(&self, request: &RawCoprocessorRequest) -> Result<Arc<LoadedPlugin>, CoprocessorError> {
        let refuse = |text: String| Err(CoprocessorError::Other(text));
        let RawCoprocessorRequest { copr_name, copr_version_req, .. } = request;
        if self.plugin_registry.is_empty() {
            return refuse("Coprocessor plugin is disabled!".to_owned());
        }
        let Some(plugin) = self.plugin_registry.get_plugin(copr_name) else {
            return refuse(format!("No registered coprocessor with name '{copr_name}'"));
        };
        let wanted = match parse_requirement(copr_version_req) {
            Ok(wanted) => wanted,
            Err(e) => return refuse(e.to_string()),
        };
        if !wanted.matches(plugin.version()) {
            return refuse(format!(
                "The plugin '{}' with version '{}' does not satisfy the version constraint '{wanted}'",
                plugin.name(),
                plugin.version(),
            ));
        }
        Ok(plugin)
    }
}

/// Parses a requirement on a version; an empty one accepts every version, as in the release of semver that TiKV has.
fn parse_requirement(text: &str) -> Result<VersionReq, semver::Error> {
    if text.trim().is_empty() { Ok(VersionReq::STAR) } else { VersionReq::parse(text) }
}

/// Runs the plugin on this thread.
fn run_plugin(
    loaded: &LoadedPlugin,
    storage: Storage,
    request: RawCoprocessorRequest,
    req: Req,
) -> Result<Vec<u8>, CoprocessorError> {
    let RawCoprocessorRequest { context, ranges, data, .. } = request;
    tracepoints::step_thread!(COPR_V2_RUN_PLUGIN, req, ranges = ranges.len(), bytes = data.len());
    let storage = RawStorageImpl::new(context.unwrap_or_default(), storage, req);
    let ranges = ranges.into_iter().map(|range| range.start_key..range.end_key).collect();
    // The plugin is a user's code: its panic must not end more than its request.
    let run = AssertUnwindSafe(|| loaded.plugin().on_raw_coprocessor_request(ranges, data, &storage));
    let result = match catch_unwind(run) {
        Ok(result) => result.map_err(to_reply),
        Err(panic) => Err(CoprocessorError::Other(format!(
            "plugin '{}' panicked: {}; report it to the author of the plugin",
            loaded.name(),
            panic_text(&*panic)
        ))),
    };
    let bytes = result.as_ref().map_or(0, Vec::len);
    tracepoints::step_thread!(COPR_V2_PLUGIN_DONE, req, ok = result.is_ok(), bytes = bytes);
    result
}

fn to_reply(error: PluginError) -> CoprocessorError {
    let region_error = match &error {
        PluginError::Other(_, inner) => {
            inner.downcast_ref::<storage::Error>().and_then(extract_region_error_from_error)
        }
        _ => None,
    };
    match region_error {
        Some(e) => CoprocessorError::RegionError(Box::new(e)),
        None => CoprocessorError::Other(error.to_string()),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_requirement_accepts_every_version() {
        let matches = |wanted: &str, version: &str| {
            parse_requirement(wanted).unwrap().matches(&version.parse().unwrap())
        };
        assert!(matches("", "0.3.0") && matches(" ", "2.0.0") && matches(">=1.0.0", "1.2.0"));
        assert!(!matches("^1.0", "2.0.0"));
        assert!(parse_requirement("one").is_err());
    }
}
