//! One event of the JSON and its attributes.
use serde_json::{Map, Value as Json};
use tracepoints_profile::json::{self, Members};

use super::{EXACT, time};
use crate::model::{Attributes, Value};

/// Time of an event: a number, a text or absent, depending on the tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Time {
    #[default]
    Absent,
    /// In ns.
    At(i128),
    /// Present, but not a time.
    Odd,
}

impl Time {
    fn read(text: &[u8]) -> Self {
        match text {
            b"null" => Self::Absent,
            _ => time::nanos(text).map_or(Self::Odd, Self::At),
        }
    }

    pub fn ns(self) -> Option<i128> {
        match self {
            Self::At(ns) => Some(ns),
            _ => None,
        }
    }
}

/// An event. All fields but the phase are optional.
#[derive(Debug, Default)]
pub(super) struct Event {
    /// Offset of the event in the file, in bytes.
    pub offset: usize,
    pub ph: String,
    pub name: String,
    pub cat: String,
    pub pid: String,
    pub tid: String,
    pub ts: Time,
    pub dur: Time,
    /// Duration on the thread's own clock: the only duration of some tools.
    pub tdur: Time,
    /// Names the asynchronous operation of an event.
    pub id: AsyncId,
    /// The stack: a reference to `stackFrames`, or the frames.
    pub stack: Json,
    pub args: Json,
}

/// Names an asynchronous operation within its category and scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct AsyncId {
    pub id: String,
    pub scope: String,
    /// Whether the id is valid within its process only.
    pub local: bool,
}

impl Event {
    /// Reads an event; `None` for anything but an object with a phase.
    pub fn read(text: &[u8]) -> Option<Self> {
        if text.first() != Some(&b'{') {
            return None;
        }
        let mut event = Self::default();
        let mut members = Members::new(text, 0);
        while let Some((name, at)) = members.next() {
            let value = members.value(at)?;
            event.set(&name, value)?;
        }
        (members.closed() && !event.ph.is_empty()).then_some(event)
    }

    fn set(&mut self, name: &str, text: &[u8]) -> Option<()> {
        let value = || json::parse(text);
        match name {
            "ph" => self.ph = plain(&value()?),
            "name" => self.name = plain(&value()?),
            "cat" => self.cat = plain(&value()?),
            "pid" => self.pid = number(&value()?),
            "tid" => self.tid = number(&value()?),
            "ts" => self.ts = Time::read(text),
            "dur" => self.dur = Time::read(text),
            "tdur" => self.tdur = Time::read(text),
            "id" if self.id.id.is_empty() => self.id.id = id(&value()?),
            "id2" => self.id2(&value()?),
            "scope" => self.id.scope = plain(&value()?),
            "sf" | "stack" => self.stack = value()?,
            // Arguments too deep for the reader stay text.
            "args" => {
                self.args =
                    value().unwrap_or_else(|| Json::String(String::from_utf8_lossy(text).into_owned()));
            }
            // Colours, the thread's clock, ends of arrows: they change no span.
            _ => {}
        }
        Some(())
    }

    fn id2(&mut self, value: &Json) {
        for (name, local) in [("local", true), ("global", false)] {
            if let Some(found) = value.get(name) {
                (self.id.id, self.id.local) = (id(found), local);
            }
        }
    }

    /// Returns the name in a metadata event.
    pub fn named(&self) -> Option<String> {
        match self.args.get("name")? {
            Json::Null => None,
            name => Some(plain(name)),
        }
    }

    pub fn attributes(&mut self) -> Attributes {
        match self.args.take() {
            Json::Object(map) => flat(map),
            Json::Null => Vec::new(),
            other => vec![("args".into(), value(other))],
        }
    }
}

/// Returns text unchanged, an empty text for null, and JSON for other values.
pub(super) fn plain(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        other => other.to_string(),
    }
}

/// Returns the digits of a whole number, also of one with a fraction of zero: 1.0 and 1 are one process.
fn number(json: &Json) -> String {
    let whole = json.as_f64().filter(|x| json.is_f64() && x.fract() == 0.0 && x.abs() < EXACT as f64);
    whole.map_or_else(|| plain(json), |x| (x as i64).to_string())
}

/// Normalizes an id, which may be a number or hexadecimal text.
fn id(json: &Json) -> String {
    let text = number(json);
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).map(|hex| u64::from_str_radix(hex, 16))
    {
        Some(Ok(n)) => n.to_string(),
        _ => text,
    }
}

fn flat(map: Map<String, Json>) -> Attributes {
    map.into_iter().map(|(name, json)| (name, value(json))).collect()
}

/// Converts a value: text with a number too large for a double becomes that number; lists and objects stay
/// JSON.
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
