//! OpenTelemetry's protocol: a trace per request, a span per stage, a resource per store.
mod attributes;
mod foreign;
mod ids;
pub mod json;
mod leaf;
mod read_json;
mod read_protobuf;
mod traces;
mod write;

pub use read_json::read_json;
pub use read_protobuf::read_protobuf;
pub use write::{Batch, JsonWriter, ProtobufWriter};

/// Generated from `proto/opentelemetry.proto`.
pub mod proto {
    #![allow(clippy::all, missing_docs)]
    tonic::include_proto!("opentelemetry.proto.collector.trace.v1");
}

/// Service name in back ends; it is TiKV's.
pub const SERVICE: &str = "tikv";
const WANTED: &str = "OTLP's TracesData (resourceSpans)";
/// Instrumentation scope of our spans.
const SCOPE: &str = "tracepoints";

/// Names of attributes that are not fields of a stamp. Those for threads and code are OpenTelemetry's own.
mod names {
    pub const REQUEST: &str = "tikv.request.id";
    pub const PARENT: &str = "tikv.request.parent";
    pub const DROPPED: &str = "tikv.stamps.dropped";
    pub const UNFINISHED: &str = "tikv.request.unfinished";
    pub const LAYER: &str = "tikv.layer";
    pub const LANE: &str = "tikv.lane";
    pub const STORE: &str = "tikv.store";
    pub const THREAD: &str = "thread.name";
    pub const FILE: &str = "code.file.path";
    pub const LINE: &str = "code.line.number";
    pub const FUNCTION: &str = "code.function.name";
}
