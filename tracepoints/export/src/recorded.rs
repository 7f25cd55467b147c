//! Converts the toolkit's recordings to the model, and the model to the traces that its screens open.
use std::time::{SystemTime, UNIX_EPOCH};

use tracepoints::{
    clock,
    collector::RecordedRequest,
    find_stage,
    printable::printable_bytes,
    request::{RequestInfo, RequestKind},
    trace::{Step, Summary, TraceRecord},
};

use crate::model::{Attributes, Lane, Request, Source, Span, Value};

/// Origin of a recorded request's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The Unix epoch, for requests of a trace file.
    Unix,
    /// The first time this process read its clock, for requests of its own collector.
    Process,
}

/// Converts a request of the collector or of a trace file.
pub fn request(recorded: &RecordedRequest, origin: Origin) -> Request {
    let base = if origin == Origin::Process { clock::unix_base_ns() } else { 0 };
    let first = recorded.stamps.first().map_or(recorded.begin_ns, |s| s.at);
    let begin = if recorded.begin_ns == 0 { first } else { recorded.begin_ns.min(first) };
    let trace = recorded.trace();
    let spans: Vec<Span> = trace.steps.iter().map(|s| span(s, base + first)).collect();
    let last = spans.iter().map(Span::end_ns).max().unwrap_or(base + begin);
    let end = recorded.end_ns.map_or(last, |end| base + end);
    let info = recorded.info();
    let mut request = Request {
        id: recorded.id,
        name: info.kind.name(),
        store: recorded.store,
        start_ns: base + begin,
        dur_ns: end.saturating_sub(base + begin),
        unfinished: recorded.end_ns.is_none(),
        dropped: recorded.truncated,
        attributes: about(&info, recorded.key_len),
        spans,
        ..Request::default()
    };
    request.trace_id = trace_id(request.start_ns, request.id);
    request
}

/// Converts the requests of a stepped trace. A trace has no wall time: `start_ns` is the time of its first
/// step.
pub fn requests(record: &TraceRecord, start_ns: u64) -> Vec<Request> {
    let mut infos = record.requests.clone();
    for step in &record.steps {
        if !infos.iter().any(|i| i.id == step.request) {
            infos.push(info_from_step(step));
        }
    }
    let mut out: Vec<Request> = infos.iter().filter_map(|info| of_info(info, record, start_ns)).collect();
    if let Some(first) = out.first_mut() {
        first.dropped = record.summary.dropped;
    }
    out
}

/// Makes the info of a request of which only the steps are known.
fn info_from_step(step: &Step) -> RequestInfo {
    let kind = RequestKind::parse(&step.kind).unwrap_or(RequestKind::Other);
    RequestInfo { id: step.request, parent: 0, kind, key: Vec::new(), region: 0, store: step.store }
}

/// Converts a request; `None` if it has no steps.
fn of_info(info: &RequestInfo, record: &TraceRecord, start_ns: u64) -> Option<Request> {
    let (from, to) = range(record, info.id)?;
    let spans = record.steps.iter().filter(|s| s.request == info.id).map(|s| span(s, start_ns)).collect();
    Some(Request {
        id: info.id,
        parent: info.parent,
        trace_id: trace_id(start_ns, root(record, info.id)),
        name: name(info, record),
        store: info.store,
        start_ns: start_ns.saturating_add(from),
        dur_ns: to - from,
        attributes: about(info, u32::try_from(info.key.len()).unwrap_or(u32::MAX)),
        spans,
        ..Request::default()
    })
}

/// Returns the name of a request; for another tool's request, whose name is not a kind of ours, it comes from
/// its steps.
fn name(info: &RequestInfo, record: &TraceRecord) -> String {
    let known = record.steps.iter().find(|s| s.request == info.id && !s.kind.is_empty());
    match known {
        Some(step) if info.kind == RequestKind::Other => step.kind.clone(),
        _ => info.kind.name(),
    }
}

/// Returns the time from the first to the last step of a request and its children; replicas may take longer.
fn range(record: &TraceRecord, id: u64) -> Option<(u64, u64)> {
    let ours = record.steps.iter().filter(|s| s.request == id || parent(record, s.request) == id);
    ours.filter(|s| s.lane == "main").fold(None, |range, s| {
        let (from, to) = range.unwrap_or((s.at_ns, s.at_ns));
        Some((from.min(s.at_ns), to.max(s.at_ns.saturating_add(s.dur_ns))))
    })
}

fn parent(record: &TraceRecord, id: u64) -> u64 {
    record.requests.iter().find(|r| r.id == id).map_or(0, |r| r.parent)
}

/// Returns the outermost request; none if the parents form a cycle.
fn root(record: &TraceRecord, id: u64) -> u64 {
    let mut at = id;
    for _ in 0..=record.requests.len() {
        match parent(record, at) {
            0 => return at,
            above => at = above,
        }
    }
    id
}

/// Makes a trace id. Ids restart in each process, so it includes the time of the start.
fn trace_id(start_ns: u64, id: u64) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&start_ns.to_be_bytes());
    out[8..].copy_from_slice(&id.to_be_bytes());
    out
}

fn about(info: &RequestInfo, key_len: u32) -> Attributes {
    let mut out = Vec::new();
    if info.region != 0 {
        out.push(("region".into(), Value::Uint(info.region)));
    }
    if key_len != 0 {
        out.push(("key".into(), Value::Text(printable_bytes(&info.key).into_owned())));
        out.push(("key_len".into(), Value::Uint(u64::from(key_len))));
    }
    out
}

fn span(step: &Step, start_ns: u64) -> Span {
    Span {
        name: step.stage.clone(),
        category: step.layer.clone(),
        lane: if step.lane == "main" { Lane::Main } else { Lane::Replica },
        store: step.store,
        thread: step.thread.clone(),
        start_ns: start_ns.saturating_add(step.at_ns),
        dur_ns: step.dur_ns,
        parent: None,
        source: (!step.file.is_empty()).then(|| Source {
            file: step.file.clone(),
            line: step.line,
            function: step.function.clone(),
        }),
        attributes: step.fields.iter().map(|(name, value)| (name.clone(), Value::Uint(*value))).collect(),
    }
}

/// Converts a request to the form of a trace file. Numbers become fields, other attributes notes.
pub fn record(request: &Request) -> TraceRecord {
    let store = request.store;
    let info = RequestInfo {
        id: request.id,
        parent: request.parent,
        kind: RequestKind::parse(&request.name).unwrap_or(RequestKind::Other),
        key: Vec::new(),
        region: region(&request.attributes),
        store,
    };
    let steps: Vec<Step> = request.spans.iter().enumerate().map(|(i, s)| step(request, i, s)).collect();
    let covered = steps.iter().filter(|s| s.lane == "main" && request.spans[s.step].parent.is_none());
    let stage_ns = covered.map(|s| s.dur_ns).fold(0, u64::saturating_add).min(request.dur_ns);
    let accounted = if request.dur_ns == 0 { 1.0 } else { stage_ns as f64 / request.dur_ns as f64 };
    let summary = Summary { stage_ns, wall_ns: request.dur_ns, accounted, dropped: request.dropped };
    TraceRecord { requests: vec![info], steps, summary }
}

fn region(attributes: &Attributes) -> u64 {
    attributes.iter().find(|(name, _)| name == "region").and_then(|(_, v)| v.uint()).unwrap_or(0)
}

fn step(request: &Request, place: usize, span: &Span) -> Step {
    let stage = find_stage(&span.name);
    let source = span.source.clone().unwrap_or_default();
    let mut step = Step {
        step: place,
        stage: span.name.clone(),
        layer: span.category.clone(),
        store: span.store,
        thread: span.thread.clone(),
        request: request.id,
        kind: request.name.clone(),
        lane: span.lane.name().into(),
        at_ns: span.start_ns.saturating_sub(request.start_ns),
        dur_ns: span.dur_ns,
        file: source.file,
        line: source.line,
        function: source.function,
        tikv: stage.map_or_else(String::new, |s| s.tikv_for(&request.name).into()),
        tikv_file: stage.map_or("", |s| s.tikv_file()).into(),
        ..Step::default()
    };
    for (name, value) in &span.attributes {
        match value {
            Value::Uint(n) => drop(step.fields.insert(name.clone(), *n)),
            other => step.state.notes.push(format!("{name}={other}")),
        }
    }
    step
}

/// Converts to Unix time in ns.
pub fn unix_ns(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(request: u64, at_ns: u64, dur_ns: u64) -> Step {
        Step { stage: "s".into(), lane: "main".into(), request, at_ns, dur_ns, ..Step::default() }
    }

    #[test]
    fn requests_of_a_stepped_operation_share_its_trace() {
        let info = |id, parent| RequestInfo {
            id,
            parent,
            kind: RequestKind::KvGet,
            key: b"k".to_vec(),
            region: 2,
            store: 1,
        };
        let record = TraceRecord {
            requests: vec![info(1, 0), info(2, 1), info(3, 9)],
            steps: vec![step(2, 5, 10), step(7, 20, 1)],
            summary: Summary { dropped: 4, ..Summary::default() },
        };
        let requests = requests(&record, 1000);
        let shown: Vec<_> =
            requests.iter().map(|r| (r.id, r.parent, r.start_ns, r.dur_ns, r.dropped)).collect();
        assert_eq!(shown, [(1, 0, 1005, 10, 4), (2, 1, 1005, 10, 0), (7, 0, 1020, 1, 0)]);
        assert_eq!(requests[0].trace_id, requests[1].trace_id);
        assert_ne!(requests[0].trace_id, requests[2].trace_id);
    }

    #[test]
    fn an_imported_span_is_a_step_that_keeps_its_name() {
        let attributes = vec![("n".to_owned(), Value::Uint(1)), ("who".to_owned(), Value::Text("me".into()))];
        let span = Span { name: "SELECT 1".into(), start_ns: 7, dur_ns: 3, attributes, ..Span::default() };
        let request = Request { id: 1, start_ns: 5, dur_ns: 10, spans: vec![span], ..Request::default() };
        let record = record(&request);
        let step = &record.steps[0];
        assert_eq!((step.stage.as_str(), step.at_ns, step.dur_ns), ("SELECT 1", 2, 3));
        assert_eq!((step.fields["n"], step.state.notes.as_slice()), (1, &["who=me".to_owned()][..]));
        assert_eq!((record.summary.stage_ns, record.summary.wall_ns), (3, 10));
    }
}
