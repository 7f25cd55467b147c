//! Assigns spans to requests: ours by id, those of other tools by thread.
use std::collections::{BTreeMap, HashMap, btree_map::Entry};

use super::{
    REQUEST, RESERVED, STAGE, STORE, WITHIN, escaped,
    frames::{Frames, STACK},
    pair::{Pairs, ReadSpan, Track},
};
use crate::{
    Imported,
    model::{Attributes, Lane, Request, Source, Span, Value, take, take_text, take_uint},
};

/// The document's own attributes.
#[derive(Debug, Default)]
pub(super) struct About {
    /// Origin of the times, in Unix ns.
    pub base_ns: u64,
    /// Whether this toolkit wrote the document.
    pub ours: bool,
    pub frames: Frames,
}

enum Owner {
    /// The request as a whole.
    Whole(u64),
    Stage(u64),
    /// Another tool's.
    Foreign(Track),
}

/// A stage and the number of its parent span, as our writer counts them.
type Numbered = (Span, Option<u64>);

pub(super) fn assemble(mut pairs: Pairs, about: &About) -> Imported {
    let notes = pairs.join();
    let mut imported = Imported { notes, ..Imported::default() };
    if pairs.arrows > 0 && !about.ours {
        imported.notes.push(format!("{} arrows between spans (phases s, t, f) were skipped", pairs.arrows));
    }
    imported.notes.extend(move_after_origin(&mut pairs, about));
    let mut ours: BTreeMap<u64, Request> = BTreeMap::new();
    let mut stages: BTreeMap<u64, Vec<Numbered>> = BTreeMap::new();
    let mut foreign: HashMap<Track, Vec<Span>> = HashMap::new();
    let mut twice = 0;
    for read in std::mem::take(&mut pairs.spans) {
        let (owner, span, within) = place(&pairs, about, read);
        match owner {
            Owner::Whole(id) => match ours.entry(id) {
                Entry::Vacant(new) => {
                    new.insert(of_span(id, span));
                }
                Entry::Occupied(_) => twice += 1,
            },
            Owner::Stage(id) => stages.entry(id).or_default().push((span, within)),
            Owner::Foreign(track) => foreign.entry(track).or_default().push(span),
        }
    }
    if twice > 0 {
        imported.notes.push(format!(
            "{twice} requests have the id of an earlier one, as in joined files; their stages were added to it"
        ));
    }
    for (id, stages) in stages {
        let request = ours.entry(id).or_insert_with(|| Request { id, ..Request::default() });
        request.spans = nested(stages);
    }
    let next = ours.last_key_value().map_or(1, |(id, _)| id.saturating_add(1));
    imported.requests = ours.into_values().collect();
    imported.requests.extend(of_tracks(&pairs, foreign, next));
    imported.requests.iter_mut().for_each(Request::settle);
    imported
}

/// Moves all spans so that none begins before the origin of the times; returns a note.
fn move_after_origin(pairs: &mut Pairs, about: &About) -> Option<String> {
    let first = pairs.spans.iter().map(|read| read.at).min()?.saturating_add(i128::from(about.base_ns));
    if first >= 0 {
        return None;
    }
    for read in &mut pairs.spans {
        read.at = read.at.saturating_sub(first);
    }
    let ms = -first as f64 / 1e6;
    Some(format!("some times are negative; all were moved by {ms} ms, so that the first one is 0"))
}

/// Replaces a stack's id with the names of its frames.
fn resolve(frames: &Frames, attributes: &mut Attributes) {
    for (_, value) in attributes.iter_mut().filter(|(name, _)| name == STACK) {
        if let Some(stack) = value.text().and_then(|id| frames.stack(id)) {
            *value = Value::Text(stack);
        }
    }
}

/// Returns the owner of a span, the span with its attributes, and the number of its parent span.
fn place(pairs: &Pairs, about: &About, read: ReadSpan) -> (Owner, Span, Option<u64>) {
    let ReadSpan { mut span, mut attributes, track, at } = read;
    let start = i128::from(about.base_ns).saturating_add(at).clamp(0, i128::from(u64::MAX));
    span.start_ns = start as u64;
    let id = attributes.iter().find(|(n, _)| n == "request").and_then(|(_, v)| v.uint());
    let Some(id) = id.filter(|_| about.ours) else {
        resolve(&about.frames, &mut attributes);
        (span.thread, span.attributes) = (thread(pairs, &track), attributes);
        return (Owner::Foreign(track), span, None);
    };
    let process = process(pairs, &track);
    span.store = process.strip_prefix(STORE).and_then(|n| n.parse().ok()).unwrap_or(0);
    if span.category == REQUEST && take(&mut attributes, STAGE).is_none() {
        span.attributes = attributes;
        return (Owner::Whole(id), span, None);
    }
    span.thread = match take(&mut attributes, "thread") {
        Some(thread) => thread.to_string(),
        None => thread(pairs, &track),
    };
    let lane = take_text(&mut attributes, "lane");
    span.lane = if lane == Lane::Replica.name() { Lane::Replica } else { Lane::Main };
    span.source = source(&mut attributes);
    let within = take(&mut attributes, WITHIN).and_then(|n| n.uint());
    span.attributes = own(attributes);
    (Owner::Stage(id), span, within)
}

/// Removes our own attributes; restores the names of escaped ones.
fn own(attributes: Attributes) -> Attributes {
    let kept = attributes.into_iter().filter(|(name, _)| !RESERVED.contains(&name.as_str()));
    kept.map(|(name, value)| (escaped::undo(name), value)).collect()
}

fn process(pairs: &Pairs, track: &Track) -> String {
    pairs.processes.get(&track.0).cloned().unwrap_or_else(|| format!("process {}", track.0))
}

fn thread(pairs: &Pairs, track: &Track) -> String {
    pairs.threads.get(track).cloned().unwrap_or_else(|| format!("thread {}", track.1))
}

fn source(attributes: &mut Attributes) -> Option<Source> {
    let function = take_text(attributes, "function");
    let place = take(attributes, "source")?.to_string();
    let (file, line) = place.rsplit_once(':')?;
    Some(Source { file: file.into(), line: line.parse().ok()?, function })
}

fn of_span(id: u64, span: Span) -> Request {
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
        attributes: own(attributes),
        ..Request::default()
    }
}

/// Nests the stages of one request, given in writing order, below their parents.
fn nested(stages: Vec<Numbered>) -> Vec<Span> {
    let within = |n: Option<u64>| usize::try_from(n?.checked_sub(1)?).ok();
    let len = stages.len();
    let with_parent = |(span, n): Numbered| Span { parent: within(n).filter(|p| *p < len), ..span };
    stages.into_iter().map(with_parent).collect()
}

/// Makes the requests of other tools: one per thread. Two threads with one name stay separate.
fn of_tracks(pairs: &Pairs, tracks: HashMap<Track, Vec<Span>>, first: u64) -> Vec<Request> {
    let name = |track: &Track| format!("{} / {}", process(pairs, track), thread(pairs, track));
    let mut names: HashMap<String, u64> = HashMap::new();
    tracks.keys().for_each(|track| *names.entry(name(track)).or_default() += 1);
    let mut tracks: Vec<_> = tracks.into_iter().collect();
    // Sorted by name, then by number.
    let number = |text: &str| (text.parse::<u64>().unwrap_or(u64::MAX), text.to_owned());
    tracks.sort_by_cached_key(|(track, _)| (name(track), number(&track.0), number(&track.1)));
    let request = |(i, (track, spans)): (usize, (Track, Vec<Span>))| {
        let mut name = name(&track);
        if names.get(&name).is_some_and(|n| *n > 1) {
            name = format!("{name} (pid {}, tid {})", track.0, track.1);
        }
        of_track(first.saturating_add(i as u64), name, spans)
    };
    tracks.into_iter().enumerate().map(request).collect()
}

/// Makes a request of all spans of one thread of another tool, nested by their times.
fn of_track(id: u64, name: String, mut spans: Vec<Span>) -> Request {
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
    Request { id, name, spans, ..Request::default() }
}
