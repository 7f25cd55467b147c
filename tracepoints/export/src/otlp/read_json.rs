//! Reads OTLP's JSON: one document, or one per line as in the collector's file exporter; with the protocol's
//! current or older names, or in Tempo's wrapping.
use tracepoints_profile::json::{self, Lost, Members, begin, elements, value_end};

use super::{
    WANTED, leaf,
    proto::{Resource, Span},
    traces::Traces,
};
use crate::{ExportError, Imported};

/// # Errors
/// If no span is found.
pub fn read_json(text: &[u8]) -> Result<Imported, ExportError> {
    let mut reader = Reader { text, traces: Traces::default(), lost: Lost::default() };
    let mut at = begin(text, 0);
    while at < text.len() {
        at = match text[at] {
            b'{' => reader.message(at),
            b'[' => reader.list(at, Reader::message),
            b',' | 0x1e => at + 1,
            _ if at == begin(text, 0) => {
                let found = format!("{:?}", text[at..text.len().min(at + 24)].escape_ascii().to_string());
                return Err(ExportError::Syntax { offset: at, expected: WANTED, found });
            }
            _ => reader.cut(at),
        };
        at = begin(text, at);
    }
    let notes = reader.lost.notes("spans", text);
    reader.traces.finish(notes)
}

/// An object of the outermost level.
enum Part {
    Message,
    Resource,
    Span,
}

struct Reader<'a> {
    text: &'a [u8],
    traces: Traces,
    lost: Lost,
}

impl<'a> Reader<'a> {
    /// Records a truncation if reading ends before the file does.
    fn cut(&mut self, at: usize) -> usize {
        self.lost.cut.get_or_insert(at);
        self.text.len()
    }

    /// Reads each object of a list; returns the offset of the list's end.
    fn list(&mut self, at: usize, mut each: impl FnMut(&mut Self, usize) -> usize) -> usize {
        let mut at = at + 1;
        loop {
            at = begin(self.text, at);
            at = match self.text.get(at) {
                None => return self.cut(at),
                Some(b']') => return at + 1,
                Some(b',') => at + 1,
                Some(b'{') => each(self, at),
                Some(_) => match value_end(self.text, at) {
                    Some(end) => {
                        self.lost.add(at);
                        end
                    }
                    None => return self.cut(at),
                },
            };
        }
    }

    /// Reads an object and passes its members to `each`, which returns the end of a member that it has read.
    fn object(&mut self, at: usize, mut each: impl FnMut(&mut Self, &str, usize) -> Option<usize>) -> usize {
        let mut members = Members::new(self.text, at);
        while let Some((name, value)) = members.next() {
            if let Some(end) = each(self, &name, value) {
                members.resume(end);
            }
        }
        if members.closed() { members.at() } else { self.cut(members.at().min(self.text.len())) }
    }

    fn is(&self, at: usize, bracket: u8) -> bool {
        self.text.get(at) == Some(&bracket)
    }

    /// Reads a message, or one of its parts alone: a resource with its spans, or a span.
    fn message(&mut self, at: usize) -> usize {
        let part = Members::new(self.text, at).find_map(|(name, _)| match name.as_ref() {
            "resourceSpans" | "resource_spans" | "batches" | "trace" | "data" => Some(Part::Message),
            "resource" | "scopeSpans" | "scope_spans" => Some(Part::Resource),
            "instrumentationLibrarySpans" | "instrumentation_library_spans" => Some(Part::Resource),
            "spanId" | "span_id" => Some(Part::Span),
            _ => None,
        });
        match part {
            Some(Part::Resource) => return self.resource(at),
            Some(Part::Span) => return self.span(at),
            _ => {}
        }
        self.object(at, |reader, name, value| match name {
            "resourceSpans" | "resource_spans" | "batches" if reader.is(value, b'[') => {
                Some(reader.list(value, Self::resource))
            }
            "trace" | "data" if reader.is(value, b'{') => Some(reader.message(value)),
            _ => None,
        })
    }

    fn span(&mut self, at: usize) -> usize {
        let Some(end) = value_end(self.text, at) else { return self.cut(at) };
        match json::parse(&self.text[at..end]).and_then(|json| leaf::span(&json)) {
            Some(span) => self.traces.take(&Resource::default(), vec![span]),
            None => self.lost.add(at),
        }
        end
    }

    fn resource(&mut self, at: usize) -> usize {
        let (mut resource, mut spans) = (Resource::default(), Vec::new());
        let end = self.object(at, |reader, name, value| match name {
            "resource" => {
                let end = value_end(reader.text, value)?;
                resource = leaf::resource(&json::parse(&reader.text[value..end])?);
                Some(end)
            }
            "scopeSpans"
            | "scope_spans"
            | "instrumentationLibrarySpans"
            | "instrumentation_library_spans"
                if reader.is(value, b'[') =>
            {
                Some(reader.list(value, |reader, at| reader.scope(at, &mut spans)))
            }
            _ => None,
        });
        self.traces.take(&resource, spans);
        end
    }

    fn scope(&mut self, at: usize, spans: &mut Vec<Span>) -> usize {
        self.object(at, |reader, name, value| {
            if name != "spans" || !reader.is(value, b'[') {
                return None;
            }
            let read = |text: &[u8]| leaf::span(&json::parse(text)?);
            Some(elements(reader.text, value, read, |span| spans.push(span), &mut reader.lost))
        })
    }
}
