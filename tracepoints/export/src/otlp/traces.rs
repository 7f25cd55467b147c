//! Groups spans into traces, and traces into requests.
use std::collections::{BTreeMap, HashMap};

use super::{
    WANTED, attributes, foreign, ids, names,
    proto::{Resource, Span},
};
use crate::{
    ExportError, Imported,
    model::{self, Lane, Request, Source, take, take_text, take_uint},
};

/// Maximum number of ancestors searched for a span's request.
const MAX_DEPTH: usize = 256;

type TraceId = Vec<u8>;

/// Spans by trace, each with its store and service.
#[derive(Default)]
pub(super) struct Traces(BTreeMap<TraceId, Vec<(Span, Place)>>);

#[derive(Clone, Default)]
struct Place {
    store: u64,
    service: String,
    /// Whether this toolkit wrote the span.
    ours: bool,
}

impl Traces {
    /// Whether there is no span.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the spans of one resource.
    pub fn take(&mut self, resource: &Resource, spans: Vec<Span>) {
        let place = place(resource);
        for span in spans {
            self.0.entry(span.trace_id.clone()).or_default().push((span, place.clone()));
        }
    }

    /// # Errors
    /// If there is no span.
    pub fn finish(self, mut notes: Vec<String>) -> Result<Imported, ExportError> {
        if self.0.is_empty() {
            return Err(ExportError::NoSpan { expected: WANTED, notes });
        }
        notes.extend(foreign::times(self.0.values().flatten().map(|(span, _)| span)));
        let (mut requests, mut copies): (Vec<Request>, usize) = Default::default();
        for mut spans in self.0.into_values() {
            copies += drop_copies(&mut spans);
            requests.extend(split(spans).into_iter().map(request));
        }
        number(&mut requests);
        if copies > 0 {
            notes.push(format!(
                "{copies} spans are copies of others, as a repeated delivery makes them; they were skipped"
            ));
        }
        Ok(Imported { requests, notes })
    }
}

/// Removes spans that are equal to the first one with their id; returns their number.
fn drop_copies(spans: &mut Vec<(Span, Place)>) -> usize {
    let mut first: HashMap<&[u8], usize> = HashMap::new();
    let mut copies = Vec::with_capacity(spans.len());
    for (i, (span, _)) in spans.iter().enumerate() {
        let known = *first.entry(span.span_id.as_slice()).or_insert(i);
        copies.push(known != i && !ids::is_none(&span.span_id) && spans[known].0 == *span);
    }
    let (before, mut copies) = (spans.len(), copies.into_iter());
    spans.retain(|_| !copies.next().unwrap_or(false));
    before - spans.len()
}

fn place(resource: &Resource) -> Place {
    let mut attributes = attributes::read(resource.attributes.clone());
    let store = take(&mut attributes, names::STORE);
    Place {
        ours: store.is_some(),
        store: store.and_then(|n| n.uint()).unwrap_or(0),
        service: take_text(&mut attributes, "service.name"),
    }
}

/// Splits a trace: several of our requests, each with a span of its own, become one part each, other spans
/// one part.
fn split(spans: Vec<(Span, Place)>) -> Vec<Vec<(Span, Place)>> {
    let places: HashMap<Vec<u8>, usize> = (spans.iter().enumerate())
        .filter(|(_, (s, _))| !ids::is_none(&s.span_id))
        .map(|(i, (s, _))| (s.span_id.clone(), i))
        .collect();
    let is_request =
        |i: usize| spans[i].1.ours && spans[i].0.attributes.iter().any(|a| a.key == names::REQUEST);
    let owner = |mut at: usize| {
        for _ in 0..MAX_DEPTH {
            if is_request(at) {
                return Some(at);
            }
            at = *places.get(&spans[at].0.parent_span_id)?;
        }
        None
    };
    let owners: Vec<Option<usize>> = (0..spans.len()).map(owner).collect();
    let mut parts: BTreeMap<Option<usize>, Vec<(Span, Place)>> = BTreeMap::new();
    for (span, owner) in spans.into_iter().zip(owners) {
        parts.entry(owner).or_default().push(span);
    }
    parts.into_values().collect()
}

/// Makes a request of one trace of another tool, or of one of our requests. A single outermost span becomes
/// the request.
fn request(spans: Vec<(Span, Place)>) -> Request {
    let known: HashMap<&[u8], usize> = (spans.iter().enumerate())
        .filter(|(_, (s, _))| !ids::is_none(&s.span_id))
        .map(|(i, (s, _))| (s.span_id.as_slice(), i))
        .collect();
    let parents: Vec<Option<usize>> = spans
        .iter()
        .enumerate()
        .map(|(i, (s, _))| known.get(s.parent_span_id.as_slice()).copied().filter(|p| *p != i))
        .collect();
    let mut roots = (0..spans.len()).filter(|i| parents[*i].is_none());
    let root = roots.next().filter(|_| roots.next().is_none());
    let mut request = Request::default();
    if let Some((span, _)) = spans.first() {
        let n = span.trace_id.len().min(16);
        request.trace_id[..n].copy_from_slice(&span.trace_id[..n]);
    }
    let shift = |place: usize| place - usize::from(root.is_some_and(|r| place > r));
    let mut events = Vec::new();
    for (i, (mut span, place)) in spans.into_iter().enumerate() {
        let own = (Some(i) != root).then(|| shift(i));
        events.extend(foreign::events(&mut span, &place.service, own));
        if !place.ours {
            foreign::attributes(&mut span);
        }
        if Some(i) == root {
            be_whole(&mut request, span, &place);
        } else {
            let parent = parents[i].filter(|p| Some(*p) != root).map(shift);
            request.spans.push(stage(span, place, parent));
        }
    }
    request.spans.extend(events);
    let first = request.spans.iter().min_by_key(|s| s.start_ns);
    if root.is_none() {
        request.name = first.map_or_else(|| "trace".into(), |s| s.name.clone());
    }
    request.settle();
    request
}

fn be_whole(request: &mut Request, span: Span, place: &Place) {
    let mut attributes = attributes::read(span.attributes);
    request.id = take_uint(&mut attributes, names::REQUEST);
    request.parent = take_uint(&mut attributes, names::PARENT);
    request.dropped = take_uint(&mut attributes, names::DROPPED);
    request.unfinished = take(&mut attributes, names::UNFINISHED).is_some();
    (request.name, request.store) = (span.name, place.store);
    request.start_ns = span.start_time_unix_nano;
    request.dur_ns = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
    request.attributes = attributes;
}

fn stage(span: Span, place: Place, parent: Option<usize>) -> model::Span {
    let mut attributes = attributes::read(span.attributes);
    // Another tool's span takes its service as its thread.
    let thread = take(&mut attributes, names::THREAD).map_or(place.service, |thread| thread.to_string());
    let lane = take_text(&mut attributes, names::LANE);
    let layer = take_text(&mut attributes, names::LAYER);
    let file = take_text(&mut attributes, names::FILE);
    let line = u32::try_from(take_uint(&mut attributes, names::LINE)).unwrap_or(0);
    let function = take_text(&mut attributes, names::FUNCTION);
    let source = (!file.is_empty() || !function.is_empty()).then_some(Source { file, line, function });
    model::Span {
        name: span.name,
        category: layer,
        lane: if lane == Lane::Replica.name() { Lane::Replica } else { Lane::Main },
        store: place.store,
        thread,
        start_ns: span.start_time_unix_nano,
        dur_ns: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
        parent,
        source,
        attributes,
    }
}

/// Numbers the requests without an id with the next free ids.
fn number(requests: &mut [Request]) {
    let mut next = requests.iter().map(|r| r.id).max().unwrap_or(0);
    for request in requests.iter_mut().filter(|r| r.id == 0) {
        next = next.saturating_add(1);
        request.id = next;
    }
    requests.sort_by_key(|r| (r.id, r.start_ns));
}
