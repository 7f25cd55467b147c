//! Puts begins and ends together, and spans to their requests: ours by id, those of other tools by thread.
use std::collections::{BTreeMap, HashMap};

use super::{
    REQUEST, RESERVED, STORE,
    event::{Event, plain},
};
use crate::{
    Imported,
    model::{Attributes, Lane, Request, Source, Span, take, take_text, take_uint},
};

type Track = (String, String);

/// Spans that may stand open on a thread or under an id; what is nested deeper is damage.
const MAX_OPEN: usize = 4096;

enum Whose {
    /// The request as a whole.
    Whole(u64),
    Stage(u64),
    /// Another tool's, by process and thread.
    Foreign(Track),
}

#[derive(Debug)]
struct Met {
    span: Span,
    attributes: Attributes,
    track: Track,
    /// In ns, before the base is added.
    at: i128,
}

#[derive(Debug, Default)]
pub(super) struct Pairs {
    /// What times count from.
    pub base_ns: u64,
    met: Vec<Met>,
    /// Places in `met` of what stands open, by thread and by asynchronous id.
    open: HashMap<Track, Vec<usize>>,
    open_async: HashMap<String, Vec<usize>>,
    processes: HashMap<String, String>,
    threads: HashMap<Track, String>,
    last: i128,
    ends_without_begin: u64,
    passed_over: BTreeMap<String, u64>,
}

impl Pairs {
    pub fn push(&mut self, event: Event) {
        match event.ph.as_str() {
            "X" | "i" | "I" | "n" => drop(self.span(event)),
            "B" => {
                let track = event.track();
                let place = self.span(event);
                stand(self.open.entry(track).or_default(), place);
            }
            "b" => {
                let id = event.async_id();
                let place = self.span(event);
                stand(self.open_async.entry(id).or_default(), place);
            }
            "E" => {
                let place = self.open.get_mut(&event.track()).and_then(Vec::pop);
                self.end(place, event);
            }
            "e" => {
                let open = self.open_async.get_mut(&event.async_id());
                let place = open.and_then(|open| {
                    let name = |i: &usize| self.met[*i].span.name == event.name;
                    let at = open.iter().rposition(name).or(open.len().checked_sub(1))?;
                    Some(open.remove(at))
                });
                self.end(place, event);
            }
            "M" => self.name(&event),
            // Arrows: where they lead is told by the spans.
            "s" | "t" | "f" => {}
            other => *self.passed_over.entry(other.to_owned()).or_default() += 1,
        }
    }

    fn span(&mut self, mut event: Event) -> Option<usize> {
        let Some(at) = event.at_ns() else {
            *self.passed_over.entry(format!("{} without a time", event.ph)).or_default() += 1;
            return None;
        };
        let attributes = event.attributes();
        let track = event.track();
        let dur_ns = event.dur_ns();
        self.last = self.last.max(at.saturating_add(i128::from(dur_ns)));
        let span = Span { name: event.name, category: event.cat, dur_ns, ..Span::default() };
        self.met.push(Met { span, attributes, track, at });
        Some(self.met.len() - 1)
    }

    fn end(&mut self, place: Option<usize>, mut event: Event) {
        let at = event.at_ns().unwrap_or(self.last);
        self.last = self.last.max(at);
        match place.and_then(|i| self.met.get_mut(i)) {
            Some(met) => {
                met.span.dur_ns = u64::try_from(at.saturating_sub(met.at)).unwrap_or(0);
                met.attributes.extend(event.attributes());
            }
            None => self.ends_without_begin += 1,
        }
    }

    fn name(&mut self, event: &Event) {
        let Some(name) = event.named().map(str::to_owned) else { return };
        match event.name.as_str() {
            "process_name" => drop(self.processes.insert(plain(&event.pid), name)),
            "thread_name" => drop(self.threads.insert(event.track(), name)),
            _ => {}
        }
    }

    pub fn finish(mut self) -> Imported {
        let open: Vec<usize> =
            self.open.values().chain(self.open_async.values()).flatten().copied().collect();
        for place in &open {
            let met = &mut self.met[*place];
            met.span.dur_ns = u64::try_from(self.last.saturating_sub(met.at)).unwrap_or(0);
        }
        let mut imported = Imported { notes: self.notes(open.len()), ..Imported::default() };
        let mut ours: BTreeMap<u64, Request> = BTreeMap::new();
        let mut foreign: BTreeMap<Track, Vec<Span>> = BTreeMap::new();
        for met in std::mem::take(&mut self.met) {
            let (whose, span) = self.place(met);
            match whose {
                Whose::Whole(id) => {
                    let request = ours.entry(id).or_default();
                    let spans = std::mem::take(&mut request.spans);
                    *request = of_span(id, span, spans);
                }
                Whose::Stage(id) => {
                    let request = ours.entry(id).or_default();
                    request.id = id;
                    request.spans.push(span);
                }
                Whose::Foreign(track) => foreign.entry(track).or_default().push(span),
            }
        }
        imported.requests = ours.into_values().collect();
        let next = imported.requests.last().map_or(1, |r| r.id.saturating_add(1));
        imported.requests.extend(
            foreign
                .into_iter()
                .enumerate()
                .map(|(i, (track, spans))| of_track(next.saturating_add(i as u64), &track, spans)),
        );
        imported.requests.iter_mut().for_each(Request::settle);
        imported.requests.retain(|r| !r.spans.is_empty() || !r.name.is_empty());
        imported
    }

    /// Whose a span is, and the span itself, its attributes in place.
    fn place(&self, met: Met) -> (Whose, Span) {
        let Met { mut span, mut attributes, track, at } = met;
        let named = self.threads.get(&track).cloned().unwrap_or_else(|| format!("thread {}", track.1));
        let process = self.processes.get(&track.0).cloned().unwrap_or_else(|| format!("process {}", track.0));
        let start = i128::from(self.base_ns).saturating_add(at).clamp(0, i128::from(u64::MAX));
        span.start_ns = start as u64;
        let Some(id) = attributes.iter().find(|(n, _)| n == "request").and_then(|(_, v)| v.uint()) else {
            (span.thread, span.attributes) = (named.clone(), attributes);
            return (Whose::Foreign((process, named)), span);
        };
        span.store = process.strip_prefix(STORE).and_then(|n| n.parse().ok()).unwrap_or(0);
        if span.category == REQUEST {
            span.attributes = attributes;
            return (Whose::Whole(id), span);
        }
        let thread = take_text(&mut attributes, "thread");
        span.thread = if thread.is_empty() { named } else { thread };
        let lane = take_text(&mut attributes, "lane");
        span.lane = if lane == Lane::Replica.name() { Lane::Replica } else { Lane::Main };
        span.source = source(&mut attributes);
        attributes.retain(|(n, _)| !RESERVED.contains(&n.as_str()));
        span.attributes = attributes;
        (Whose::Stage(id), span)
    }

    fn notes(&self, open: usize) -> Vec<String> {
        let mut notes = Vec::new();
        if open > 0 {
            notes.push(format!("{open} spans have no end; they last until the last event of the file"));
        }
        if self.ends_without_begin > 0 {
            notes.push(format!("{} ends have no begin and were passed over", self.ends_without_begin));
        }
        for (phase, n) in &self.passed_over {
            notes.push(format!("{n} events of the phase {phase:?} were passed over"));
        }
        notes
    }
}

fn stand(open: &mut Vec<usize>, place: Option<usize>) {
    if open.len() < MAX_OPEN {
        open.extend(place);
    }
}

fn source(attributes: &mut Attributes) -> Option<Source> {
    let function = take_text(attributes, "function");
    let place = take(attributes, "source")?.to_string();
    let (file, line) = place.rsplit_once(':')?;
    Some(Source { file: file.into(), line: line.parse().ok()?, function })
}

fn of_span(id: u64, span: Span, spans: Vec<Span>) -> Request {
    let mut attributes = span.attributes;
    take(&mut attributes, "request");
    Request {
        id,
        parent: take_uint(&mut attributes, "parent"),
        dropped: take_uint(&mut attributes, "dropped"),
        unfinished: take(&mut attributes, "unfinished").is_some(),
        name: span.name,
        store: span.store,
        start_ns: span.start_ns,
        dur_ns: span.dur_ns,
        attributes,
        spans,
        ..Request::default()
    }
}

/// All spans of one thread of another tool, nested as their times are.
fn of_track(id: u64, (process, thread): &Track, mut spans: Vec<Span>) -> Request {
    spans.sort_by_key(|s| (s.start_ns, std::cmp::Reverse(s.dur_ns)));
    let mut around: Vec<usize> = Vec::new();
    for i in 0..spans.len() {
        while around.last().is_some_and(|p| {
            spans[*p].end_ns() < spans[i].end_ns() || spans[*p].end_ns() <= spans[i].start_ns
        }) {
            around.pop();
        }
        spans[i].parent = around.last().copied();
        around.push(i);
    }
    Request { id, name: format!("{process} / {thread}"), spans, ..Request::default() }
}
