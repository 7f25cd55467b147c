//! Reads spans from JSON: names in camelCase or snake_case, numbers plain or as text, enums by number or
//! name.
use serde_json::{Map, Value as Json};

use super::{
    ids,
    json::base64,
    proto::{
        AnyValue, ArrayValue, KeyValue, KeyValueList, Resource, Span, Status,
        any_value::Value as Any,
        span::{Event, Link},
    },
};

/// Returns a member by its name in camelCase, or else in snake_case; null counts as absent.
pub(super) fn get<'a>(map: &'a Map<String, Json>, camel: &str) -> Option<&'a Json> {
    let found = map.get(camel).or_else(|| map.get(&snake(camel)));
    found.filter(|value| !value.is_null())
}

pub(super) fn snake(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn text(map: &Map<String, Json>, name: &str) -> String {
    get(map, name).map(plain).unwrap_or_default()
}

pub(super) fn plain(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// Reads ns since 1970: 0 if absent, `None` if it is no such number.
pub(super) fn time(json: Option<&Json>) -> Option<u64> {
    let Some(json) = json else { return Some(0) };
    if let Some(n) = json.as_u64() {
        return Some(n);
    }
    let text = plain(json);
    match text.trim() {
        "" => Some(0),
        text => match text.parse::<u64>() {
            Ok(n) => Some(n),
            Err(_) => text.parse::<f64>().ok().filter(|x| (0.0..1.8e19).contains(x)).map(|x| x as u64),
        },
    }
}

/// Reads an enum by number, or by the last words of its name.
fn choice(json: Option<&Json>, names: &[&str]) -> i32 {
    let Some(json) = json else { return 0 };
    if let Some(n) = json.as_i64() {
        return i32::try_from(n).unwrap_or(0);
    }
    let text = plain(json).to_ascii_uppercase();
    let named = names.iter().position(|name| text.ends_with(name));
    named.map_or_else(|| text.parse().unwrap_or(0), |n| n as i32)
}

const KINDS: [&str; 6] = ["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const CODES: [&str; 3] = ["UNSET", "OK", "ERROR"];

/// Reads a span; `None` for anything but an object with an id or a name and valid times.
pub(super) fn span(json: &Json) -> Option<Span> {
    let map = json.as_object()?;
    if get(map, "spanId").is_none() && get(map, "name").is_none() {
        return None;
    }
    let list = |name| get(map, name).and_then(Json::as_array).into_iter().flatten();
    Some(Span {
        trace_id: ids::bytes(&text(map, "traceId")),
        span_id: ids::bytes(&text(map, "spanId")),
        parent_span_id: ids::bytes(&text(map, "parentSpanId")),
        trace_state: text(map, "traceState"),
        name: text(map, "name"),
        kind: choice(get(map, "kind"), &KINDS),
        start_time_unix_nano: time(get(map, "startTimeUnixNano"))?,
        end_time_unix_nano: time(get(map, "endTimeUnixNano"))?,
        attributes: attributes(get(map, "attributes")),
        events: list("events").filter_map(event).collect(),
        links: list("links").filter_map(link).collect(),
        status: get(map, "status").and_then(Json::as_object).map(|status| Status {
            message: text(status, "message"),
            code: choice(get(status, "code"), &CODES),
        }),
        ..Span::default()
    })
}

fn event(json: &Json) -> Option<Event> {
    let map = json.as_object()?;
    let at = get(map, "timeUnixNano");
    let mut attributes = attributes(get(map, "attributes"));
    // An event with an unreadable time begins with its span, and keeps the text.
    let time_unix_nano = time(at).unwrap_or_else(|| {
        attributes.push(key_value("timeUnixNano", at.map(any)));
        0
    });
    Some(Event { time_unix_nano, name: text(map, "name"), attributes })
}

fn link(json: &Json) -> Option<Link> {
    let map = json.as_object()?;
    let id = |name| ids::bytes(&text(map, name));
    Some(Link {
        trace_id: id("traceId"),
        span_id: id("spanId"),
        attributes: attributes(get(map, "attributes")),
    })
}

pub(super) fn resource(json: &Json) -> Resource {
    let attributes = json.as_object().map(|map| attributes(get(map, "attributes")));
    Resource { attributes: attributes.unwrap_or_default() }
}

/// Reads pairs of key and value; some tools write a map.
fn attributes(json: Option<&Json>) -> Vec<KeyValue> {
    match json {
        Some(Json::Array(pairs)) => pairs.iter().filter_map(pair).collect(),
        Some(Json::Object(map)) => map.iter().map(|(key, value)| key_value(key, Some(any(value)))).collect(),
        _ => Vec::new(),
    }
}

fn key_value(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key: key.to_owned(), value }
}

fn pair(json: &Json) -> Option<KeyValue> {
    let map = json.as_object()?;
    Some(key_value(&text(map, "key"), map.get("value").map(any)))
}

/// Reads a value whose member name is its type, or a plain value.
fn any(json: &Json) -> AnyValue {
    let value = match json {
        Json::Object(map) => typed(map),
        other => scalar(other),
    };
    AnyValue { value }
}

fn scalar(json: &Json) -> Option<Any> {
    match json {
        Json::Null => None,
        Json::Bool(b) => Some(Any::BoolValue(*b)),
        Json::Number(n) => Some(n.as_i64().map_or_else(|| number(json), Any::IntValue)),
        Json::Array(values) => Some(Any::ArrayValue(ArrayValue { values: values.iter().map(any).collect() })),
        other => Some(Any::StringValue(plain(other))),
    }
}

/// Reads a number as a double; one that a double cannot represent exactly stays text.
fn number(json: &Json) -> Any {
    match json.as_u64() {
        Some(n) => Any::StringValue(n.to_string()),
        None => Any::DoubleValue(json.as_f64().unwrap_or(f64::NAN)),
    }
}

fn typed(map: &Map<String, Json>) -> Option<Any> {
    let list =
        |value: &Json| value.as_object().and_then(|m| m.get("values")).and_then(Json::as_array).cloned();
    if let Some(value) = get(map, "stringValue") {
        return Some(Any::StringValue(plain(value)));
    }
    if let Some(value) = get(map, "boolValue") {
        return Some(Any::BoolValue(value.as_bool().unwrap_or_else(|| plain(value) == "true")));
    }
    if let Some(value) = get(map, "intValue") {
        let n = value.as_i64().or_else(|| plain(value).trim().parse().ok());
        return Some(n.map_or_else(|| Any::StringValue(plain(value)), Any::IntValue));
    }
    if let Some(value) = get(map, "doubleValue") {
        let x = value.as_f64().or_else(|| plain(value).trim().parse().ok());
        return Some(x.map_or_else(|| Any::StringValue(plain(value)), Any::DoubleValue));
    }
    if let Some(value) = get(map, "arrayValue") {
        let values = list(value).unwrap_or_default().iter().map(any).collect();
        return Some(Any::ArrayValue(ArrayValue { values }));
    }
    if let Some(value) = get(map, "kvlistValue") {
        let values = list(value).unwrap_or_default().iter().filter_map(pair).collect();
        return Some(Any::KvlistValue(KeyValueList { values }));
    }
    if let Some(value) = get(map, "bytesValue") {
        let text = plain(value);
        return Some(base64::decode(&text).map_or(Any::StringValue(text), Any::BytesValue));
    }
    if map.is_empty() {
        return None;
    }
    // An object of unknown type becomes its JSON text.
    Some(Any::StringValue(Json::Object(map.clone()).to_string()))
}
