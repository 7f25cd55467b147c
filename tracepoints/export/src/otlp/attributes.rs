//! Converts attributes: OTLP's integers are signed, so a larger number is written as text.
use super::proto::{AnyValue, KeyValue, any_value::Value as Any};
use crate::model::{Attributes, Value};

pub(super) fn pair(key: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Bool(b) => Any::BoolValue(*b),
        Value::Uint(n) => match i64::try_from(*n) {
            Ok(n) => Any::IntValue(n),
            Err(_) => Any::StringValue(n.to_string()),
        },
        Value::Int(n) => Any::IntValue(*n),
        Value::Float(x) => Any::DoubleValue(*x),
        Value::Text(text) => Any::StringValue(text.clone()),
    };
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }) }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    pair(key, &Value::Text(value.into()))
}

pub(super) fn uint(key: &str, value: u64) -> KeyValue {
    pair(key, &Value::Uint(value))
}

pub(super) fn read(pairs: Vec<KeyValue>) -> Attributes {
    let value = |v: Option<AnyValue>| v.and_then(|v| v.value);
    pairs.into_iter().map(|p| (p.key, from_any(value(p.value)))).collect()
}

/// Converts a value; lists, maps and bytes become text.
fn from_any(value: Option<Any>) -> Value {
    match value {
        None => Value::Text(String::new()),
        Some(Any::BoolValue(b)) => Value::Bool(b),
        Some(Any::IntValue(n)) => Value::int(n),
        Some(Any::DoubleValue(x)) => Value::Float(x),
        Some(Any::StringValue(text)) => match text.parse::<u64>() {
            Ok(n) if n > i64::MAX as u64 && n.to_string() == text => Value::Uint(n),
            _ => Value::Text(text),
        },
        Some(Any::BytesValue(bytes)) => Value::Text(bytes.escape_ascii().to_string()),
        Some(other @ (Any::ArrayValue(_) | Any::KvlistValue(_))) => {
            Value::Text(serde_json::to_string(&AnyValue { value: Some(other) }).unwrap_or_default())
        }
    }
}
