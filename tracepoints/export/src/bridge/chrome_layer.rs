//! A layer that writes trace-event JSON with the times in the spans' own fields.
use std::{
    fmt,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{DURATION, START, TARGET};
use crate::{
    ExportError, Lane, Request, Source, Span, Value, chrome,
    model::{Attributes, take_text, take_uint},
};

/// Writes the bridge's spans as they close; leaves out other spans, which have no times in their fields.
pub struct ChromeLayer<W: Write + Send + 'static> {
    writer: Arc<Mutex<Option<chrome::Writer<W>>>>,
}

/// Shares the file: one clone is the subscriber's, another one ends it.
impl<W: Write + Send + 'static> Clone for ChromeLayer<W> {
    fn clone(&self) -> Self {
        Self { writer: self.writer.clone() }
    }
}

/// State of an open span.
#[derive(Default)]
struct Open {
    attributes: Attributes,
    below: Vec<Span>,
}

impl<W: Write + Send + 'static> ChromeLayer<W> {
    /// Makes a layer that writes to `out`.
    pub fn new(out: W) -> Self {
        Self { writer: Arc::new(Mutex::new(Some(chrome::Writer::new(out)))) }
    }

    /// Ends the document. Viewers also read a document without its end.
    ///
    /// # Errors
    /// If the document cannot be written.
    pub fn finish(&self) -> Result<(), ExportError> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        writer.map(chrome::Writer::finish).transpose().map(drop)
    }

    fn write(&self, request: &Request) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(e)) = writer.as_mut().map(|w| w.request(request)) {
            // Reports the first error only and stops writing.
            *writer = None;
            eprintln!("cannot write the bridge's Chrome file, stopping it: {e}");
        }
    }
}

impl<W, S> Layer<S> for ChromeLayer<W>
where
    W: Write + Send + 'static,
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut open = Open::default();
        attributes.record(&mut open);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(open);
        }
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(open) = span.extensions_mut().remove::<Open>() else { return };
        if !open.attributes.iter().any(|(name, _)| name == START) {
            return;
        }
        let meta = span.metadata();
        if meta.target() == TARGET {
            return self.write(&whole(meta.name(), open));
        }
        let mut closed = open.below;
        closed.push(stage(meta, open.attributes));
        // Passes the spans up to the request, skipping foreign spans in between.
        if let Some(above) = span.parent()
            && let Some(above) = above.extensions_mut().get_mut::<Open>()
        {
            above.below.append(&mut closed);
        }
    }
}

fn whole(name: &str, open: Open) -> Request {
    let mut attributes = open.attributes;
    let mut request = Request {
        id: take_uint(&mut attributes, "request"),
        name: name.to_owned(),
        store: take_uint(&mut attributes, "store"),
        start_ns: take_uint(&mut attributes, START),
        dur_ns: take_uint(&mut attributes, DURATION),
        dropped: take_uint(&mut attributes, "dropped"),
        spans: open.below,
        ..Request::default()
    };
    request.attributes = attributes;
    request.settle();
    request
}

fn stage(meta: &tracing::Metadata<'_>, mut attributes: Attributes) -> Span {
    take_uint(&mut attributes, "request");
    let lane = take_text(&mut attributes, "lane");
    let source = meta.file().map(|file| Source {
        file: file.to_owned(),
        line: meta.line().unwrap_or(0),
        function: meta.module_path().unwrap_or_default().to_owned(),
    });
    Span {
        name: meta.name().to_owned(),
        category: meta.target().to_owned(),
        lane: if lane == Lane::Replica.name() { Lane::Replica } else { Lane::Main },
        store: take_uint(&mut attributes, "store"),
        thread: take_text(&mut attributes, "thread"),
        start_ns: take_uint(&mut attributes, START),
        dur_ns: take_uint(&mut attributes, DURATION),
        parent: None,
        source,
        attributes,
    }
}

impl Open {
    fn keep(&mut self, field: &Field, value: Value) {
        self.attributes.push((field.name().to_owned(), value));
    }
}

impl Visit for Open {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, Value::Uint(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, Value::int(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, Value::Float(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, Value::Text(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, Value::Text(format!("{value:?}")));
    }
}
