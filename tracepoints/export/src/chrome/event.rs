//! One event of the JSON as it stands there, and its attributes.
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::EXACT;
use crate::model::{Attributes, Value};

/// All fields are optional: what a tool leaves out is not there.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Event {
    #[serde(default)]
    pub ph: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub cat: String,
    #[serde(default)]
    pub pid: Json,
    #[serde(default)]
    pub tid: Json,
    #[serde(default)]
    pub ts: Option<Json>,
    #[serde(default)]
    pub dur: Option<Json>,
    #[serde(default)]
    pub id: Json,
    #[serde(default)]
    pub id2: Json,
    #[serde(default)]
    pub args: Json,
}

impl Event {
    /// In ns; None if there is none or it is no number.
    pub fn at_ns(&self) -> Option<i128> {
        self.ts.as_ref().and_then(nanos)
    }

    pub fn dur_ns(&self) -> u64 {
        let ns = self.dur.as_ref().and_then(nanos).unwrap_or(0);
        u64::try_from(ns).unwrap_or(0)
    }

    /// A thread, by the numbers or names that the file gives.
    pub fn track(&self) -> (String, String) {
        (plain(&self.pid), plain(&self.tid))
    }

    /// What an asynchronous event belongs to.
    pub fn async_id(&self) -> String {
        let id = if self.id2.is_null() { &self.id } else { &self.id2 };
        format!("{}/{}", self.cat, plain(id))
    }

    /// The name that a metadata event gives.
    pub fn named(&self) -> Option<&str> {
        self.args.get("name")?.as_str()
    }

    pub fn attributes(&mut self) -> Attributes {
        match self.args.take() {
            Json::Object(map) => flat(map),
            Json::Null => Vec::new(),
            other => vec![("args".into(), value(other))],
        }
    }
}

/// µs, as a number or as text, in ns.
fn nanos(json: &Json) -> Option<i128> {
    let us = match json {
        Json::Number(n) if n.is_u64() || n.is_i64() => return n.as_i128().map(|us| us * 1000),
        Json::Number(n) => n.as_f64()?,
        Json::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // In two parts: the whole would not keep its nanoseconds.
    us.is_finite().then(|| (us.trunc() as i128).saturating_mul(1000) + (us.fract() * 1000.0).round() as i128)
}

pub(super) fn plain(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

fn flat(map: Map<String, Json>) -> Attributes {
    map.into_iter().map(|(name, json)| (name, value(json))).collect()
}

/// Text that is a number too large for a double is that number; lists and objects stay JSON.
fn value(json: Json) -> Value {
    match json {
        Json::Bool(b) => Value::Bool(b),
        Json::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => Value::Uint(n),
            (None, Some(n)) => Value::Int(n),
            _ => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => match text.parse::<u64>() {
            Ok(n) if n >= EXACT && n.to_string() == text => Value::Uint(n),
            _ => Value::Text(text),
        },
        Json::Null => Value::Text(String::new()),
        other => Value::Text(other.to_string()),
    }
}
