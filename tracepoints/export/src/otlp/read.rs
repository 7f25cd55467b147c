//! Reads files of OTLP: protobuf, bare or with the length before each message as the collector's file exporter writes it,
//! and JSON, one document or one a line.
use std::collections::{BTreeMap, HashMap};

use prost::Message;

use super::{
    attributes, names,
    proto::{ExportTraceServiceRequest, Resource, Span},
};
use crate::{
    ExportError, Imported,
    model::{self, Lane, Request, Source, take, take_text, take_uint},
};

const WANTED: &str = "OTLP's TracesData (resourceSpans)";

/// Whether a JSON object is OTLP's: its first name says so.
pub fn is_json(text: &[u8]) -> bool {
    let name = text.strip_prefix(b"{").map(<[u8]>::trim_ascii_start).unwrap_or_default();
    name.starts_with(b"\"resourceSpans\"") || name.starts_with(b"\"resource_spans\"")
}

/// # Errors
/// If the first message cannot be read, or no span is found.
pub fn read_json(text: &[u8]) -> Result<Imported, ExportError> {
    let mut messages = serde_json::Deserializer::from_slice(text).into_iter::<ExportTraceServiceRequest>();
    let (mut traces, mut read, mut notes) = (Traces::default(), 0, Vec::new());
    loop {
        let offset = messages.byte_offset();
        match messages.next() {
            None => break,
            Some(Ok(message)) => traces.take(message),
            Some(Err(e)) if read == 0 => {
                return Err(ExportError::Syntax { offset, expected: WANTED, met: e.to_string() });
            }
            Some(Err(_)) => {
                notes.push(cut(offset));
                break;
            }
        }
        read += 1;
    }
    traces.finish(notes)
}

/// # Errors
/// If it is no protobuf of OTLP, or no span is found.
pub fn read_protobuf(bytes: &[u8]) -> Result<Imported, ExportError> {
    let (mut traces, mut notes) = (Traces::default(), Vec::new());
    if let Some(messages) = framed(bytes) {
        for message in messages {
            traces.take(decode(message, 0)?);
        }
        return traces.finish(notes);
    }
    // One after the other, so that a file cut short is read up to there.
    let (mut at, mut read) = (0, 0);
    while at < bytes.len() {
        match first(&bytes[at..]).map(|len| (len, decode(&bytes[at..at + len], at))) {
            Some((len, Ok(message))) => {
                traces.take(message);
                at += len;
            }
            _ if read > 0 => {
                notes.push(cut(at));
                break;
            }
            Some((_, Err(e))) => return Err(e),
            None => {
                return Err(ExportError::Syntax {
                    offset: at,
                    expected: WANTED,
                    met: "other bytes, or a cut".into(),
                });
            }
        }
        read += 1;
    }
    traces.finish(notes)
}

fn cut(offset: usize) -> String {
    format!("the file is cut short or damaged at offset {offset}; what stands before was read")
}

fn decode(bytes: &[u8], offset: usize) -> Result<ExportTraceServiceRequest, ExportError> {
    ExportTraceServiceRequest::decode(bytes).map_err(|e| ExportError::Syntax {
        offset,
        expected: WANTED,
        met: e.to_string(),
    })
}

/// The length of the first resource with its tag.
fn first(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes.strip_prefix(&[0x0a])?;
    let len = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
    let head = bytes.len() - rest.len();
    (len <= rest.len()).then_some(head + len)
}

/// The messages, if a length of four bytes stands before each.
fn framed(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while !rest.is_empty() {
        let (len, behind) = rest.split_first_chunk::<4>()?;
        let (message, next) = behind.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        out.push(message);
        rest = next;
    }
    Some(out)
}

/// How far up a span's request is looked for.
const MAX_DEPTH: usize = 256;

type TraceId = Vec<u8>;

/// Spans by trace, each with the store and the service it came from.
#[derive(Default)]
struct Traces(BTreeMap<TraceId, Vec<(Span, Place)>>);

#[derive(Clone, Default)]
struct Place {
    store: u64,
    service: String,
}

impl Traces {
    fn take(&mut self, message: ExportTraceServiceRequest) {
        for resource in message.resource_spans {
            let place = place(resource.resource.unwrap_or_default());
            for span in resource.scope_spans.into_iter().flat_map(|s| s.spans) {
                self.0.entry(span.trace_id.clone()).or_default().push((span, place.clone()));
            }
        }
    }

    fn finish(self, notes: Vec<String>) -> Result<Imported, ExportError> {
        if self.0.is_empty() {
            return Err(ExportError::NoSpan(WANTED));
        }
        let mut requests: Vec<Request> = Vec::new();
        for spans in self.0.into_values() {
            requests.extend(split(spans).into_iter().map(request));
        }
        number(&mut requests);
        Ok(Imported { requests, notes })
    }
}

fn place(resource: Resource) -> Place {
    let mut attributes = attributes::read(resource.attributes);
    Place {
        store: take_uint(&mut attributes, names::STORE),
        service: take_text(&mut attributes, "service.name"),
    }
}

/// A trace may hold several of our requests, each with a span of its own: one part for each, the rest in one.
fn split(spans: Vec<(Span, Place)>) -> Vec<Vec<(Span, Place)>> {
    let places: HashMap<Vec<u8>, usize> =
        spans.iter().enumerate().map(|(i, (s, _))| (s.span_id.clone(), i)).collect();
    let is_request = |i: usize| spans[i].0.attributes.iter().any(|a| a.key == names::REQUEST);
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

/// One trace of another tool, or one request of ours. Its only outermost span stands for it as a whole.
fn request(spans: Vec<(Span, Place)>) -> Request {
    let known: HashMap<&[u8], usize> =
        spans.iter().enumerate().map(|(i, (s, _))| (s.span_id.as_slice(), i)).collect();
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
    for (i, (span, place)) in spans.into_iter().enumerate() {
        if Some(i) == root {
            be_whole(&mut request, span, &place);
        } else {
            let parent = parents[i].filter(|p| Some(*p) != root).map(shift);
            request.spans.push(stage(span, place, parent));
        }
    }
    let first = request.spans.iter().min_by_key(|s| s.start_ns);
    if request.name.is_empty() {
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
    let thread = take_text(&mut attributes, names::THREAD);
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
        // Another tool's span is at home in its service.
        thread: if thread.is_empty() { place.service } else { thread },
        start_ns: span.start_time_unix_nano,
        dur_ns: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
        parent,
        source,
        attributes,
    }
}

/// Requests that have no id of their own get the next free ones.
fn number(requests: &mut [Request]) {
    let mut next = requests.iter().map(|r| r.id).max().unwrap_or(0);
    for request in requests.iter_mut().filter(|r| r.id == 0) {
        next = next.saturating_add(1);
        request.id = next;
    }
    requests.sort_by_key(|r| (r.id, r.start_ns));
}
