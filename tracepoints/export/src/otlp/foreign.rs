//! Converts the parts of other tools' spans that ours lack: events, links, status, kind.
use super::{attributes, ids, proto::Span};
use crate::model::{self, Value};

/// Category of a span made from an event.
const EVENT: &str = "event";
/// `Status.code` of a failed span.
const ERROR: i32 = 2;
const KINDS: [&str; 6] = ["", "", "server", "client", "producer", "consumer"];

/// Converts the events of a span to spans without duration, children of the span at `parent`.
pub(super) fn events(span: &mut Span, service: &str, parent: Option<usize>) -> Vec<model::Span> {
    let event = |event: super::proto::span::Event| model::Span {
        name: event.name,
        category: EVENT.into(),
        thread: service.to_owned(),
        start_ns: if event.time_unix_nano == 0 { span.start_time_unix_nano } else { event.time_unix_nano },
        parent,
        attributes: attributes::read(event.attributes),
        ..model::Span::default()
    };
    std::mem::take(&mut span.events).into_iter().map(event).collect()
}

/// Converts status, kind and links to attributes, under OpenTelemetry's names for formats without fields for
/// them.
pub(super) fn attributes(span: &mut Span) {
    let mut more = Vec::new();
    if let Some(status) = span.status.take() {
        if status.code == ERROR {
            more.push(("otel.status_code", "ERROR".to_owned()));
        }
        if !status.message.is_empty() {
            more.push(("otel.status_description", status.message));
        }
    }
    let kind = usize::try_from(span.kind).ok().and_then(|kind| KINDS.get(kind)).copied().unwrap_or_default();
    if !kind.is_empty() {
        more.push(("span.kind", kind.to_owned()));
    }
    for link in std::mem::take(&mut span.links) {
        more.push(("link", format!("{}/{}", ids::text(&link.trace_id), ids::text(&link.span_id))));
    }
    for (name, value) in more {
        // An attribute with the same name, for example from a file that we wrote, is not repeated.
        if name == "link" || !span.attributes.iter().any(|a| a.key == name) {
            span.attributes.push(attributes::pair(name, &Value::Text(value)));
        }
    }
}

/// Describes invalid times.
pub(super) fn times<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<String> {
    let (mut endless, mut backwards, mut no_begin) = (0, 0, 0);
    for span in spans {
        match (span.start_time_unix_nano, span.end_time_unix_nano) {
            (start, 0) if start > 0 => endless += 1,
            (0, end) if end > 0 => no_begin += 1,
            (start, end) if end < start => backwards += 1,
            _ => {}
        }
    }
    let mut notes = Vec::new();
    if endless > 0 {
        notes.push(format!("{endless} spans have no end; they were read without a duration"));
    }
    if no_begin > 0 {
        notes.push(format!("{no_begin} spans have no start; they were read as if they began in 1970"));
    }
    if backwards > 0 {
        notes.push(format!("{backwards} spans end before they begin; they were read without a duration"));
    }
    notes
}
