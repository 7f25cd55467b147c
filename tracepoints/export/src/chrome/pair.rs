//! Pairs begins with ends in the order of their times: files may have events in any order.
use std::collections::{BTreeMap, HashMap};

use super::event::{AsyncId, Event, Time};
use crate::model::{Attributes, Span};

/// A thread, by the process and thread numbers or names in the file.
pub(super) type Track = (String, String);

/// Maximum number of open spans searched for the begin of an end; deeper nesting is damage.
const MAX_OPEN: usize = 4096;

#[derive(Debug)]
pub(super) struct ReadSpan {
    pub span: Span,
    pub attributes: Attributes,
    pub track: Track,
    /// Begin in ns, before the base is added.
    pub at: i128,
}

/// A sequence of nested begins and ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Line {
    Thread(Track),
    /// Category and id; the process too if the id is local to it.
    Async(String, AsyncId, String),
}

#[derive(Debug)]
enum Edge {
    /// Begin of the span at this index.
    Begin(usize),
    End {
        name: String,
        pid: String,
        attributes: Attributes,
    },
}

/// Number of occurrences, and the offset of the first.
type Count = (u64, usize);

#[derive(Debug, Default)]
pub(super) struct Pairs {
    pub spans: Vec<ReadSpan>,
    pub processes: HashMap<String, String>,
    pub threads: HashMap<Track, String>,
    edges: HashMap<Line, Vec<(i128, Edge)>>,
    last: i128,
    odd: BTreeMap<String, Count>,
    pub arrows: u64,
}

impl Pairs {
    pub fn push(&mut self, event: Event) {
        match event.ph.as_str() {
            "X" => self.complete(event),
            "i" | "I" | "n" | "R" | "T" | "p" => drop(self.span(event, 0)),
            "B" => self.begin(Line::Thread(track(&event)), event),
            "E" => self.end(Line::Thread(track(&event)), event),
            "b" | "S" => self.begin(async_line(&event), event),
            "e" | "F" => self.end(async_line(&event), event),
            "M" => self.name(&event),
            // Skipped: an arrow follows from its spans.
            "s" | "t" | "f" => self.arrows += 1,
            other => {
                let what = match other {
                    "C" => "C (counters)",
                    "P" => "P (CPU samples)",
                    "N" | "O" | "D" => "N, O, D (objects)",
                    "v" | "V" => "v, V (memory dumps)",
                    "c" => "c (clock marks)",
                    "(" | ")" => "( and ) (contexts)",
                    other => &format!("{other:?}"),
                };
                self.odd(format!("events of the phase {what} were skipped"), event.offset);
            }
        }
    }

    fn odd(&mut self, what: impl Into<String>, offset: usize) {
        self.odd.entry(what.into()).or_insert((0, offset)).0 += 1;
    }

    fn complete(&mut self, event: Event) {
        let given = if event.dur == Time::Absent { event.tdur } else { event.dur };
        let odd = match given {
            Time::At(ns) if ns >= 0 => None,
            Time::At(_) => Some("spans have a negative duration; they were read with none"),
            Time::Absent => Some("spans (phase X) have no duration; they were read with none"),
            Time::Odd => {
                Some("spans have a duration that is not a number or is too large; they were read with none")
            }
        };
        let offset = event.offset;
        let dur_ns = given.ns().and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0);
        if let (Some(_), Some(odd)) = (self.span(event, dur_ns), odd) {
            self.odd(odd, offset);
        }
    }

    /// Keeps a span; returns its index.
    fn span(&mut self, mut event: Event, dur_ns: u64) -> Option<usize> {
        let Time::At(at) = event.ts else {
            self.odd("events without a time were skipped", event.offset);
            return None;
        };
        let mut attributes = event.attributes();
        if !event.stack.is_null() {
            attributes.push((super::frames::STACK.into(), super::frames::reference(&event.stack)));
        }
        self.last = self.last.max(at.saturating_add(i128::from(dur_ns)));
        let track = track(&event);
        let span = Span { name: event.name, category: event.cat, dur_ns, ..Span::default() };
        self.spans.push(ReadSpan { span, attributes, track, at });
        Some(self.spans.len() - 1)
    }

    fn begin(&mut self, line: Line, event: Event) {
        if let Some(place) = self.span(event, 0) {
            let at = self.spans[place].at;
            self.edges.entry(line).or_default().push((at, Edge::Begin(place)));
        }
    }

    fn end(&mut self, line: Line, mut event: Event) {
        let edges = self.edges.entry(line).or_default();
        // An end without a time belongs at its position in the file.
        let at = event.ts.ns().or_else(|| edges.last().map(|(at, _)| *at));
        let Some(at) = at else {
            return self.odd("events without a time were skipped", event.offset);
        };
        let attributes = event.attributes();
        edges.push((at, Edge::End { name: event.name, pid: event.pid, attributes }));
        self.last = self.last.max(at);
    }

    fn name(&mut self, event: &Event) {
        let Some(name) = event.named() else { return };
        match event.name.as_str() {
            "process_name" => drop(self.processes.insert(event.pid.clone(), name)),
            "thread_name" => drop(self.threads.insert(track(event), name)),
            _ => {}
        }
    }

    /// Assigns its end to each span. Call it once, after the last event.
    pub fn join(&mut self) -> Vec<String> {
        let (mut open, mut ends) = (0, 0);
        for mut edges in std::mem::take(&mut self.edges).into_values() {
            edges.sort_by_key(|(at, _)| *at);
            let mut line = OpenLine { spans: &mut self.spans, open: Vec::new() };
            ends += line.run(edges);
            open += line.open.len();
            let left = line.open;
            left.into_iter().for_each(|place| last_until(&mut self.spans[place], self.last));
        }
        self.notes(open, ends)
    }

    fn notes(&self, open: usize, ends: u64) -> Vec<String> {
        let mut notes = Vec::new();
        if open > 0 {
            notes.push(format!("{open} spans have no end; they last until the last event of the file"));
        }
        if ends > 0 {
            notes.push(format!("{ends} ends have no start and were skipped"));
        }
        for (what, (n, first)) in &self.odd {
            notes.push(format!("{n} {what}; the first is at offset {first}"));
        }
        notes
    }
}

fn track(event: &Event) -> Track {
    (event.pid.clone(), event.tid.clone())
}

fn async_line(event: &Event) -> Line {
    let process = if event.id.local { event.pid.clone() } else { String::new() };
    Line::Async(event.cat.clone(), event.id.clone(), process)
}

fn last_until(span: &mut ReadSpan, end: i128) {
    span.span.dur_ns = u64::try_from(end.saturating_sub(span.at)).unwrap_or(0);
}

/// One thread or asynchronous operation while its edges are processed.
struct OpenLine<'a> {
    spans: &'a mut Vec<ReadSpan>,
    /// Indexes of the open spans.
    open: Vec<usize>,
}

impl OpenLine<'_> {
    /// Returns the number of ends without a begin.
    fn run(&mut self, edges: Vec<(i128, Edge)>) -> u64 {
        let (mut lost, mut now) = (0, i128::MIN);
        // Ends whose begin has the same time, but comes later in the file.
        let mut early: Vec<Edge> = Vec::new();
        for (at, edge) in edges {
            if at > now {
                lost += self.late(now, &mut early);
                now = at;
            }
            match edge {
                Edge::Begin(place) => self.open.push(place),
                end => early.extend(self.end(at, end)),
            }
        }
        lost + self.late(now, &mut early)
    }

    fn late(&mut self, at: i128, early: &mut Vec<Edge>) -> u64 {
        early.drain(..).filter_map(|end| self.end(at, end)).count() as u64
    }

    /// Ends the matching open span; returns the edge if none matches.
    fn end(&mut self, at: i128, edge: Edge) -> Option<Edge> {
        let Edge::End { name, pid, attributes } = edge else { return None };
        let Some(found) = self.find(&name, &pid) else { return Some(Edge::End { name, pid, attributes }) };
        let span = &mut self.spans[self.open.remove(found)];
        last_until(span, at);
        span.attributes.extend(attributes);
        None
    }

    /// Finds the innermost open span of this name, preferably of the same process; any name if the end has
    /// none.
    fn find(&self, name: &str, pid: &str) -> Option<usize> {
        let from = self.open.len().saturating_sub(MAX_OPEN);
        let named = |i: &usize| name.is_empty() || self.spans[self.open[*i]].span.name == name;
        let mut fits = (from..self.open.len()).rev().filter(named).peekable();
        let innermost = *fits.peek()?;
        Some(fits.find(|i| self.spans[self.open[*i]].track.0 == pid).unwrap_or(innermost))
    }
}
