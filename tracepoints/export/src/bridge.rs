//! Emits requests as `tracing` spans for tracing-subscriber and its layers: one span per request and one
//! child span for each stage, with explicit parents.
//!
//! A separate thread makes the spans when a request is over, so no request waits for a subscriber. A layer
//! that reads the clock itself therefore sees the time of the report, not of the span; the true times are in
//! the fields `start_unix_ns` and `duration_ns`, which [`ChromeLayer`] uses.
mod chrome_layer;
mod feed;
mod site;

pub use chrome_layer::ChromeLayer;
pub use feed::{Feed, FeedReport, Finished};

use tracing::{Level, Span, dispatcher, field::Value as Field};

use crate::model::{Attributes, Request, Value};

/// Target of the span of a whole request; a stage's target is its layer (`grpc`, `raftstore`, ...).
pub const TARGET: &str = "request";
/// Field with the start, in ns since the Unix epoch.
pub const START: &str = "start_unix_ns";
/// Field with the duration, in ns.
pub const DURATION: &str = "duration_ns";

/// Emits the spans of a request to this thread's subscriber, or the global one.
pub fn emit(request: &Request) {
    let mut fields = Fields::new(request.start_ns, request.dur_ns);
    fields.number("request", request.id);
    fields.number("store", request.store);
    fields.number("dropped", request.dropped);
    fields.attributes(&request.attributes);
    let Some(whole) = fields.span(&request.name, TARGET, Level::INFO, None, None) else { return };
    // Spans by index; a disabled span passes its parent on.
    let mut below: Vec<Span> = Vec::with_capacity(request.spans.len());
    for span in &request.spans {
        let parent = span.parent.and_then(|p| below.get(p)).unwrap_or(&whole);
        let mut fields = Fields::new(span.start_ns, span.dur_ns);
        fields.number("request", request.id);
        fields.number("store", span.store);
        fields.text("thread", &span.thread);
        fields.text("lane", span.lane.name());
        fields.attributes(&span.attributes);
        let made = fields.span(&span.name, &span.category, Level::DEBUG, span.source.as_ref(), Some(parent));
        let made = made.unwrap_or_else(|| parent.clone());
        // Entering the span makes it visible to layers that count entered spans.
        made.in_scope(|| ());
        below.push(made);
    }
}

/// Names and values of a span's fields.
struct Fields<'a> {
    names: Vec<&'a str>,
    values: Vec<Box<dyn Field + 'a>>,
}

impl<'a> Fields<'a> {
    fn new(start_ns: u64, dur_ns: u64) -> Self {
        let mut fields = Self { names: Vec::new(), values: Vec::new() };
        fields.push(START, start_ns);
        fields.push(DURATION, dur_ns);
        fields
    }

    /// Adds a field; an earlier one of this name keeps its value.
    fn push(&mut self, name: &'a str, value: impl Field + 'a) {
        if !self.names.contains(&name) && self.names.len() < site::MAX_FIELDS {
            self.names.push(name);
            self.values.push(Box::new(value));
        }
    }

    /// Adds a number; leaves out 0.
    fn number(&mut self, name: &'a str, value: u64) {
        if value != 0 {
            self.push(name, value);
        }
    }

    fn text(&mut self, name: &'a str, value: &'a str) {
        self.push(name, value);
    }

    fn attributes(&mut self, attributes: &'a Attributes) {
        for (name, value) in attributes {
            match value {
                Value::Bool(b) => self.push(name, *b),
                Value::Uint(n) => self.push(name, *n),
                Value::Int(n) => self.push(name, *n),
                Value::Float(x) => self.push(name, *x),
                Value::Text(text) => self.push(name, text.as_str()),
            }
        }
    }

    /// Makes the span; it is disabled if no subscriber is interested.
    fn span(
        &self,
        name: &str,
        target: &str,
        level: Level,
        source: Option<&crate::Source>,
        parent: Option<&Span>,
    ) -> Option<Span> {
        let meta = site::find(name, target, level, source, &self.names)?;
        if !dispatcher::get_default(|subscriber| subscriber.enabled(meta)) {
            return None;
        }
        let values: Vec<&dyn Field> = self.values.iter().map(|v| &**v).collect();
        Some(site::with_values(meta, &values, |values| match parent.and_then(Span::id) {
            Some(parent) => Span::child_of(parent, meta, values),
            None => Span::new_root(meta, values),
        }))
    }
}
