//! Writes trace-event JSON, one request after another.
use std::{
    collections::{HashMap, HashSet},
    io::Write,
};

use serde_json::{Map, Value as Json, json};

use super::{BASE, EXACT, NO_STORE, PRODUCER, REQUEST, STAGE, STORE, WITHIN, escaped};
use crate::{
    ExportError, flow,
    lanes::Lanes,
    model::{Attributes, Request, Span, Value},
};

/// A thread of a store, or the store's row of requests, as (store, name).
type Track = (u64, String);

/// Writes requests as trace events, one after another.
pub struct Writer<W: Write> {
    out: W,
    base_ns: Option<u64>,
    lanes: HashMap<Track, Lanes>,
    rows: HashMap<(Track, usize), u64>,
    processes: HashSet<u64>,
    events: u64,
}

impl<W: Write> Writer<W> {
    /// Makes a writer to `out`.
    pub fn new(out: W) -> Self {
        let (lanes, rows, processes) = (HashMap::new(), HashMap::new(), HashSet::new());
        Self { out, base_ns: None, lanes, rows, processes, events: 0 }
    }

    /// Appends a request and its spans.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn request(&mut self, request: &Request) -> Result<(), ExportError> {
        if self.base_ns.is_none() {
            self.base_ns = Some(request.start_ns);
            let other = json!({ "producer": PRODUCER, BASE: request.start_ns.to_string() });
            write!(self.out, "{{\"displayTimeUnit\":\"ns\",\"otherData\":{other},\"traceEvents\":[")?;
        }
        self.whole(request)?;
        let mut rows = Vec::with_capacity(request.spans.len());
        for span in &request.spans {
            rows.push(self.span(request.id, span)?);
        }
        for arrow in flow::flow_arrows(request) {
            let (from, to) = (&request.spans[arrow.from], &request.spans[arrow.to]);
            // An arrow starts within its span, at the latest where the next span begins.
            let at = from.end_ns().min(to.start_ns).max(from.start_ns);
            self.flow("s", arrow.id, at, pid(from.store), rows[arrow.from])?;
            self.flow("f", arrow.id, to.start_ns, pid(to.store), rows[arrow.to])?;
        }
        Ok(())
    }

    fn whole(&mut self, request: &Request) -> Result<(), ExportError> {
        let track = (request.store, "requests".to_owned());
        let (tid, _) = self.row(&track, request.start_ns, request.end_ns(), request.id)?;
        let mut args = arguments(&request.attributes);
        args.insert("request".into(), number(request.id));
        for (name, value) in [("parent", request.parent), ("dropped", request.dropped)] {
            if value != 0 {
                args.insert(name.into(), number(value));
            }
        }
        if request.unfinished {
            args.insert("unfinished".into(), true.into());
        }
        let what = (request.name.as_str(), REQUEST, pid(request.store), tid);
        self.complete(what, request.start_ns, request.dur_ns, args)
    }

    /// Writes a span; returns its row.
    fn span(&mut self, request: u64, span: &Span) -> Result<u64, ExportError> {
        let track = (span.store, span.thread.clone());
        let (tid, row) = self.row(&track, span.start_ns, span.end_ns(), request)?;
        let mut args = arguments(&span.attributes);
        args.insert("request".into(), number(request));
        if span.lane == crate::Lane::Replica {
            args.insert("lane".into(), span.lane.name().into());
        }
        if row > 0 {
            args.insert("thread".into(), span.thread.as_str().into());
        }
        if span.category == REQUEST {
            args.insert(STAGE.into(), true.into());
        }
        if let Some(parent) = span.parent {
            args.insert(WITHIN.into(), number(parent as u64 + 1));
        }
        if let Some(source) = &span.source {
            args.insert("source".into(), format!("{}:{}", source.file, source.line).into());
            args.insert("function".into(), source.function.as_str().into());
        }
        let what = (span.name.as_str(), span.category.as_str(), pid(span.store), tid);
        self.complete(what, span.start_ns, span.dur_ns, args)?;
        Ok(tid)
    }

    /// Returns the number of the row for a span on a track, and its index among the track's rows.
    fn row(&mut self, track: &Track, start: u64, end: u64, owner: u64) -> Result<(u64, usize), ExportError> {
        let place = self.lanes.entry(track.clone()).or_default().place(start, end, owner);
        let key = (track.clone(), place);
        if let Some(tid) = self.rows.get(&key) {
            return Ok((*tid, place));
        }
        let tid = self.rows.len() as u64 + 1;
        self.rows.insert(key, tid);
        let store = pid(track.0);
        if self.processes.insert(store) {
            let name = if track.0 == 0 { "client".into() } else { format!("{STORE}{store}") };
            self.event(
                json!({"ph": "M", "name": "process_name", "pid": store, "tid": 0, "args": {"name": name}}),
            )?;
        }
        let name = if place == 0 { track.1.clone() } else { format!("{} ({})", track.1, place + 1) };
        self.event(
            json!({"ph": "M", "name": "thread_name", "pid": store, "tid": tid, "args": {"name": name}}),
        )?;
        Ok((tid, place))
    }

    fn complete(
        &mut self,
        (name, category, pid, tid): (&str, &str, u64, u64),
        start_ns: u64,
        dur_ns: u64,
        args: Map<String, Json>,
    ) -> Result<(), ExportError> {
        self.separate()?;
        let (name, category) = (serde_json::to_string(name)?, serde_json::to_string(category)?);
        let (ts, dur) = (self.ts(start_ns), micros(i128::from(dur_ns)));
        let args = Json::Object(args);
        write!(
            self.out,
            "{{\"ph\":\"X\",\"name\":{name},\"cat\":{category},\"pid\":{pid},\"tid\":{tid},\"ts\":{ts},\"dur\":{dur},\"args\":{args}}}"
        )?;
        Ok(())
    }

    fn flow(&mut self, phase: &str, id: u64, at: u64, pid: u64, tid: u64) -> Result<(), ExportError> {
        self.separate()?;
        let ts = self.ts(at);
        let bind = if phase == "f" { ",\"bp\":\"e\"" } else { "" };
        write!(
            self.out,
            "{{\"ph\":\"{phase}\",\"name\":\"way\",\"cat\":\"way\",\"id\":\"0x{id:x}\",\"pid\":{pid},\"tid\":{tid},\"ts\":{ts}{bind}}}"
        )?;
        Ok(())
    }

    fn event(&mut self, event: Json) -> Result<(), ExportError> {
        self.separate()?;
        serde_json::to_writer(&mut self.out, &event)?;
        Ok(())
    }

    fn separate(&mut self) -> Result<(), ExportError> {
        self.out.write_all(if self.events == 0 { b"\n" } else { b",\n" })?;
        self.events += 1;
        Ok(())
    }

    fn ts(&self, unix_ns: u64) -> String {
        micros(i128::from(unix_ns) - i128::from(self.base_ns.unwrap_or(0)))
    }

    /// Ends the document and returns the output.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn finish(mut self) -> Result<W, ExportError> {
        if self.base_ns.is_none() {
            write!(self.out, "{{\"traceEvents\":[")?;
        }
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn pid(store: u64) -> u64 {
    if store == 0 { NO_STORE } else { store }
}

/// Formats nanoseconds as µs with three decimals.
fn micros(ns: i128) -> String {
    let (sign, ns) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
    format!("{sign}{}.{:03}", ns / 1000, ns % 1000)
}

fn arguments(attributes: &Attributes) -> Map<String, Json> {
    attributes.iter().map(|(name, value)| (escaped::name(name), to_json(value))).collect()
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Bool(b) => (*b).into(),
        Value::Uint(n) => number(*n),
        Value::Int(n) => (*n).into(),
        // JSON has no NaN and no infinity.
        Value::Float(x) if !x.is_finite() => x.to_string().into(),
        Value::Float(x) => (*x).into(),
        Value::Text(text) => text.as_str().into(),
    }
}

fn number(n: u64) -> Json {
    if n < EXACT { n.into() } else { n.to_string().into() }
}
