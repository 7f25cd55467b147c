//! Compiles `proto/*.proto` with protox, so that no protoc is needed. OTLP's types also implement its JSON
//! form.
const OTLP: &str = ".opentelemetry.proto.collector.trace.v1";
const MESSAGES: [&str; 13] = [
    "ExportTraceServiceRequest",
    "ExportTraceServiceResponse",
    "ExportTracePartialSuccess",
    "ResourceSpans",
    "Resource",
    "ScopeSpans",
    "InstrumentationScope",
    "Span",
    "Status",
    "KeyValue",
    "AnyValue",
    "ArrayValue",
    "KeyValueList",
];
const ANY: &str = "#[serde(from = \"crate::otlp::json::Any\", into = \"crate::otlp::json::Any\")]";
/// Fields of OTLP with a special form in its JSON: hexadecimal ids, and 64-bit numbers as strings.
const IN_HEX: [&str; 3] = ["trace_id", "span_id", "parent_span_id"];
const AS_STRING: [&str; 4] =
    ["start_time_unix_nano", "end_time_unix_nano", "time_unix_nano", "rejected_spans"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["opentelemetry.proto", "perfetto.proto"], ["proto"])?;
    let serde = "#[derive(serde::Serialize, serde::Deserialize)]";
    let mut config = tonic_prost_build::configure().generate_default_stubs(true).emit_rerun_if_changed(false);
    for message in MESSAGES {
        let form = if message == "AnyValue" { ANY } else { "#[serde(rename_all = \"camelCase\", default)]" };
        config = config.message_attribute(format!("{OTLP}.{message}"), format!("{serde} {form}"));
    }
    for field in IN_HEX {
        for message in ["Span", "Span.Link"] {
            config = config.field_attribute(format!("{OTLP}.{message}.{field}"), with("hex"));
        }
    }
    for field in AS_STRING {
        let module = if field == "rejected_spans" { "text_i64" } else { "text_u64" };
        for message in ["Span", "Span.Event", "ExportTracePartialSuccess"] {
            config = config.field_attribute(format!("{OTLP}.{message}.{field}"), with(module));
        }
    }
    config.compile_fds(descriptors)?;
    Ok(())
}

fn with(module: &str) -> String {
    format!("#[serde(with = \"crate::otlp::json::{module}\")]")
}
