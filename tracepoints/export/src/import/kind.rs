//! Detects the kind of a JSON file from the names in it.
use tracepoints_profile::json::{Members, begin};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Empty,
    Chrome,
    OtlpJson,
    /// Not text: possibly protobuf.
    Binary,
    /// Text that is no JSON.
    Text,
    /// Another format, with its description.
    Other(&'static str),
}

/// Number of bytes examined to distinguish text from binary data.
const HEAD: usize = 4096;

pub(super) fn detect(bytes: &[u8]) -> Kind {
    let at = begin(bytes, 0);
    if at == bytes.len() {
        return Kind::Empty;
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    // A protobuf message has control characters as tags; only its first tag looks like a line break.
    if head.iter().any(|b| *b < b' ' && !b.is_ascii_whitespace() && *b != 0x1e) {
        return Kind::Binary;
    }
    match bytes[at] {
        b'{' => of_object(bytes, at).unwrap_or(Kind::Chrome),
        b'[' => of_array(bytes, at),
        _ if bytes[at..].starts_with(b"data:") => Kind::Chrome,
        0x1e => of_object(bytes, begin(bytes, at + 1)).unwrap_or(Kind::Chrome),
        _ => Kind::Text,
    }
}

/// Decides by the first element that is an object.
fn of_array(bytes: &[u8], at: usize) -> Kind {
    let first = begin(bytes, at + 1);
    match bytes.get(first) {
        Some(b'{') => of_object(bytes, first).unwrap_or(Kind::Chrome),
        _ => Kind::Chrome,
    }
}

const PROFILE: &str = "a profile, not a trace; draw it: `tikv-ctl flamegraph FILE`";
const JAEGER: &str = "a trace of Jaeger's UI or API; fetch it from Jaeger as OTLP: `/api/v3/traces/TRACE_ID`";
const ZIPKIN: &str =
    "a trace of Zipkin; send it through an OpenTelemetry collector (receiver zipkin, exporter file)";
const METRICS: &str = "OTLP, but with logs or metrics; spans (resourceSpans) are needed";

/// Decides by the first name with a known meaning; `None` without one.
fn of_object(bytes: &[u8], at: usize) -> Option<Kind> {
    let mut names = Vec::new();
    for (name, value) in Members::new(bytes, at) {
        let list = bytes.get(value) == Some(&b'[');
        match name.as_ref() {
            "resourceSpans" | "resource_spans" | "batches" | "scopeSpans" => return Some(Kind::OtlpJson),
            "traceEvents" | "ph" => return Some(Kind::Chrome),
            "resourceLogs" | "resource_logs" | "resourceMetrics" | "resource_metrics" => {
                return Some(Kind::Other(METRICS));
            }
            "trace" if bytes.get(value) == Some(&b'{') => {
                if let Some(inner) = of_object(bytes, value) {
                    return Some(inner);
                }
            }
            "data" if list => {
                let first = begin(bytes, value + 1);
                if bytes.get(first) == Some(&b'{')
                    && Members::new(bytes, first).any(|(name, _)| name == "traceID")
                {
                    return Some(Kind::Other(JAEGER));
                }
            }
            _ => {}
        }
        names.push(name.into_owned());
    }
    let has = |name: &str| names.iter().any(|n| n == name);
    let all = |wanted: &[&str]| wanted.iter().all(|name| has(name));
    if all(&["spanId", "startTimeUnixNano"]) || all(&["span_id", "start_time_unix_nano"]) {
        return Some(Kind::OtlpJson);
    }
    if all(&["traceID", "spans"]) {
        return Some(Kind::Other(JAEGER));
    }
    if all(&["traceId", "id"]) {
        return Some(Kind::Other(ZIPKIN));
    }
    // Profiles of speedscope, Firefox and V8 (CPU and heap).
    let profile = all(&["shared", "profiles"])
        || all(&["meta", "threads"])
        || all(&["nodes", "samples"])
        || all(&["nodes", "startTime"])
        || all(&["head"]) && names.len() <= 2;
    profile.then_some(Kind::Other(PROFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_reveal_the_kind_of_a_file() {
        for (text, kind) in [
            (" \n", Kind::Empty),
            (r#"{"traceEvents":[]}"#, Kind::Chrome),
            (r#"{"displayTimeUnit":"ns","metadata":{"resourceSpans":1},"traceEvents":["#, Kind::Chrome),
            (r#"[{"name":"a","ph":"X"}]"#, Kind::Chrome),
            ("data: [{", Kind::Chrome),
            ("{}", Kind::Chrome),
            ("[", Kind::Chrome),
            (r#"{"partial":1,"resource_spans":[]}"#, Kind::OtlpJson),
            (r#"[{"resourceSpans":[]}]"#, Kind::OtlpJson),
            (r#"{"trace":{"resourceSpans":[]}}"#, Kind::OtlpJson),
            (r#"{"resourceMetrics":[]}"#, Kind::Other(METRICS)),
            (r#"{"data":[{"traceID":"1","spans":[]}],"total":0}"#, Kind::Other(JAEGER)),
            (r#"[{"traceId":"1","id":"2","timestamp":1}]"#, Kind::Other(ZIPKIN)),
            (r#"{"$schema":"x","shared":{},"profiles":[]}"#, Kind::Other(PROFILE)),
            (r#"{"meta":{},"libs":[],"threads":[]}"#, Kind::Other(PROFILE)),
            (r#"{"nodes":[],"startTime":1,"endTime":2,"samples":[]}"#, Kind::Other(PROFILE)),
            (r#"[{"resource":{},"scopeSpans":[]}]"#, Kind::OtlpJson),
            (r#"{"traceId":"1","spanId":"2","startTimeUnixNano":"3"}"#, Kind::OtlpJson),
            ("hello", Kind::Text),
            ("\n[\u{12}\u{0}", Kind::Binary),
        ] {
            assert_eq!(detect(text.as_bytes()), kind, "{text:?}");
        }
    }
}
