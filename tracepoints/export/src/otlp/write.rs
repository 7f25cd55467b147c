//! Writes spans in OTLP, in batches: for a collector, or as a file of many messages.
use std::{collections::BTreeMap, io::Write};

use prost::Message;

use super::{
    SCOPE, SERVICE,
    attributes::{pair, text, uint},
    names,
    proto::{ExportTraceServiceRequest, InstrumentationScope, Resource, ResourceSpans, ScopeSpans, Span},
};
use crate::{
    ExportError, flow,
    model::{self, Request},
};

const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
/// Number of spans that a file writer collects before it writes a message.
const SPANS_PER_MESSAGE: usize = 8192;

/// Collected spans by store.
#[derive(Debug, Default)]
pub struct Batch {
    by_store: BTreeMap<u64, Vec<Span>>,
    spans: usize,
}

impl Batch {
    /// Adds a request and its stages.
    pub fn push(&mut self, request: &Request) {
        self.add(request.store, whole(request));
        for (place, span) in request.spans.iter().enumerate() {
            self.add(span.store, stage(request, place, span));
        }
    }

    fn add(&mut self, store: u64, span: Span) {
        self.by_store.entry(store).or_default().push(span);
        self.spans += 1;
    }

    /// Number of collected spans.
    pub fn spans(&self) -> usize {
        self.spans
    }

    /// Returns the message with the collected spans and empties the batch.
    pub fn take(&mut self) -> ExportTraceServiceRequest {
        let stores = std::mem::take(self).by_store;
        let scope = InstrumentationScope { name: SCOPE.into(), version: env!("CARGO_PKG_VERSION").into() };
        let of_store = |(store, spans)| ResourceSpans {
            resource: Some(resource(store)),
            scope_spans: vec![ScopeSpans { scope: Some(scope.clone()), spans }],
        };
        ExportTraceServiceRequest { resource_spans: stores.into_iter().map(of_store).collect() }
    }
}

fn resource(store: u64) -> Resource {
    let instance = if store == 0 { "client".into() } else { format!("store-{store}") };
    let attributes = vec![
        text("service.name", SERVICE),
        text("service.instance.id", &instance),
        uint(names::STORE, store),
    ];
    Resource { attributes }
}

/// Makes the span of a request; index 0 is reserved for it.
fn whole(request: &Request) -> Span {
    let mut attributes = vec![uint(names::REQUEST, request.id)];
    for (name, value) in [(names::PARENT, request.parent), (names::DROPPED, request.dropped)] {
        attributes.extend((value != 0).then(|| uint(name, value)));
    }
    attributes.extend(request.unfinished.then(|| pair(names::UNFINISHED, &model::Value::Bool(true))));
    attributes.extend(request.attributes.iter().map(|(name, value)| pair(name, value)));
    Span {
        trace_id: request.trace_id.to_vec(),
        span_id: span_id(request.id, 0),
        parent_span_id: if request.parent == 0 { Vec::new() } else { span_id(request.parent, 0) },
        name: request.name.clone(),
        kind: SERVER,
        start_time_unix_nano: request.start_ns,
        end_time_unix_nano: request.end_ns(),
        attributes,
        ..Span::default()
    }
}

fn stage(request: &Request, place: usize, span: &model::Span) -> Span {
    let mut attributes = vec![text(names::THREAD, &span.thread)];
    attributes.extend((!span.category.is_empty()).then(|| text(names::LAYER, &span.category)));
    if span.lane == model::Lane::Replica {
        attributes.push(text(names::LANE, span.lane.name()));
    }
    if let Some(source) = &span.source {
        attributes.push(text(names::FILE, &source.file));
        attributes.push(uint(names::LINE, u64::from(source.line)));
        attributes.push(text(names::FUNCTION, &source.function));
    }
    attributes.extend(span.attributes.iter().map(|(name, value)| pair(name, value)));
    Span {
        trace_id: request.trace_id.to_vec(),
        span_id: span_id(request.id, place + 1),
        parent_span_id: span_id(request.id, span.parent.map_or(0, |p| p + 1)),
        name: span.name.clone(),
        kind: INTERNAL,
        start_time_unix_nano: span.start_ns,
        end_time_unix_nano: span.end_ns(),
        attributes,
        ..Span::default()
    }
}

fn span_id(request: u64, place: usize) -> Vec<u8> {
    flow::id(request, place as u64).to_be_bytes().to_vec()
}

/// Writes a file of protobuf: concatenated messages are one message.
pub struct ProtobufWriter<W: Write> {
    out: W,
    batch: Batch,
}

/// Writes a file of JSON with one message per line, as collectors do.
pub struct JsonWriter<W: Write> {
    out: W,
    batch: Batch,
}

macro_rules! writer {
    ($name:ident, $encode:expr) => {
        impl<W: Write> $name<W> {
            /// Makes a writer to `out`.
            pub fn new(out: W) -> Self {
                Self { out, batch: Batch::default() }
            }

            /// # Errors
            /// If the output cannot be written.
            pub fn request(&mut self, request: &Request) -> Result<(), ExportError> {
                self.batch.push(request);
                if self.batch.spans() >= SPANS_PER_MESSAGE { self.write() } else { Ok(()) }
            }

            fn write(&mut self) -> Result<(), ExportError> {
                let bytes: Vec<u8> = $encode(&self.batch.take())?;
                self.out.write_all(&bytes)?;
                Ok(())
            }

            /// Writes the remaining spans and returns the output.
            ///
            /// # Errors
            /// If the output cannot be written.
            pub fn finish(mut self) -> Result<W, ExportError> {
                if self.batch.spans() > 0 {
                    self.write()?;
                }
                self.out.flush()?;
                Ok(self.out)
            }
        }
    };
}
writer!(ProtobufWriter, |message: &ExportTraceServiceRequest| Ok::<_, ExportError>(message.encode_to_vec()));
writer!(JsonWriter, |message: &ExportTraceServiceRequest| {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok::<_, ExportError>(line)
});
