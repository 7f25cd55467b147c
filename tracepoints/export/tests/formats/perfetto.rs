//! Perfetto's protobuf, decoded by the field numbers of perfetto_trace.proto and drawn as a viewer would.
use std::collections::{BTreeMap, HashMap};

use tracepoints_export::{Request, Value, perfetto::Writer};

use crate::{sample, wire::Message};

#[derive(Debug, Default)]
struct Drawn {
    /// By track: name, parent, process name, thread name, whether it is a counter.
    tracks: HashMap<u64, Track>,
    slices: Vec<Slice>,
    /// Track, time, value.
    counters: Vec<(u64, u64, u64)>,
}

#[derive(Clone, Debug, Default)]
struct Track {
    parent: u64,
    name: String,
    process: Option<String>,
    thread: Option<String>,
    counter: bool,
}

#[derive(Clone, Debug, Default)]
struct Slice {
    track: u64,
    name: String,
    category: String,
    start: u64,
    end: Option<u64>,
    depth: usize,
    args: BTreeMap<String, Value>,
    source: Option<(String, String, u64)>,
    starts: Vec<u64>,
    ends: Vec<u64>,
}

pub fn export(requests: &[Request]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    requests.iter().for_each(|r| writer.request(r).unwrap());
    writer.finish().unwrap()
}

#[derive(Default)]
struct Names(HashMap<(u64, u64), Message>);

impl Names {
    fn learn(&mut self, interned: &Message) {
        for kind in [1, 2, 3, 4, 29] {
            for entry in interned.messages(kind) {
                let old = self.0.insert((kind, entry.number(1).unwrap()), entry);
                assert!(old.is_none(), "a number is assigned once");
            }
        }
    }

    fn name(&self, kind: u64, iid: u64) -> String {
        self.0[&(kind, iid)].text(2).unwrap()
    }
}

/// Processes packets in time order, as a viewer sorts them, and nests slices on each track by begin and end.
fn draw(bytes: &[u8]) -> Drawn {
    let mut drawn = Drawn::default();
    let (mut names, mut events) = (Names::default(), Vec::new());
    for (i, packet) in Message::read(bytes).messages(1).into_iter().enumerate() {
        assert_eq!(packet.number(10), Some(1), "one sequence");
        assert_eq!(packet.number(13) == Some(1), i == 0, "state is cleared once, at the start");
        if let Some(interned) = packet.message(12) {
            names.learn(&interned);
        }
        if let Some(track) = packet.message(60) {
            let found = track.message(3).map(|p| p.text(6).unwrap());
            let thread = track.message(4).map(|t| t.text(5).unwrap());
            let parent = track.number(5).unwrap_or(0);
            assert!(parent == 0 || drawn.tracks.contains_key(&parent), "parents come first");
            let counter = track.message(8).is_some();
            let name = track.text(2).unwrap_or_default();
            drawn
                .tracks
                .insert(track.number(1).unwrap(), Track { parent, name, process: found, thread, counter });
        }
        if let Some(event) = packet.message(11) {
            let slice = slice(&event, packet.number(8).unwrap(), &names);
            assert!(drawn.tracks.contains_key(&slice.track), "a track is described before it is used");
            events.push((slice.start, event.number(9).unwrap(), slice, event.number(30)));
        }
    }
    events.sort_by_key(|e| e.0);
    let mut open: HashMap<u64, Vec<usize>> = HashMap::new();
    for (at, kind, slice, value) in events {
        let stack = open.entry(slice.track).or_default();
        match kind {
            1 => {
                stack.push(drawn.slices.len());
                drawn.slices.push(Slice { depth: stack.len(), ..slice });
            }
            2 => drawn.slices[stack.pop().expect("an end has a begin")].end = Some(at),
            4 => drawn.counters.push((slice.track, at, value.unwrap())),
            other => panic!("type {other}"),
        }
    }
    drawn
}

fn slice(event: &Message, start: u64, names: &Names) -> Slice {
    let mut args = BTreeMap::new();
    for arg in event.messages(4) {
        let value = match (arg.number(2), arg.number(3), arg.number(17)) {
            (Some(b), ..) => Value::Bool(b == 1),
            (_, Some(n), _) => Value::Uint(n),
            (.., Some(iid)) => Value::Text(names.name(29, iid)),
            other => panic!("{other:?}"),
        };
        args.insert(names.name(3, arg.number(1).unwrap()), value);
    }
    let source = event.number(34).map(|iid| {
        let place = &names.0[&(4, iid)];
        (place.text(2).unwrap(), place.text(3).unwrap(), place.number(4).unwrap())
    });
    Slice {
        track: event.number(11).unwrap(),
        name: event.number(10).map(|iid| names.name(2, iid)).unwrap_or_default(),
        category: event.numbers(3).first().map(|iid| names.name(1, *iid)).unwrap_or_default(),
        start,
        args,
        source,
        starts: event.fixed(47),
        ends: event.fixed(48),
        ..Slice::default()
    }
}

impl Drawn {
    /// Returns the process and the thread of a track.
    fn home(&self, mut track: u64) -> (String, String) {
        let mut thread = self.tracks[&track].name.clone();
        loop {
            let at = &self.tracks[&track];
            if let Some(name) = &at.thread {
                thread.clone_from(name);
            }
            match &at.process {
                Some(process) => return (process.clone(), thread),
                None => track = at.parent,
            }
        }
    }
}

#[test]
fn every_span_is_a_slice_on_its_thread_and_nests_right() {
    let requests = sample::requests();
    let drawn = draw(&export(requests));
    let spans: usize = requests.iter().map(|r| r.spans.len() + 1).sum();
    assert_eq!(drawn.slices.len(), spans);
    assert!(drawn.slices.iter().all(|s| s.depth == 1), "spans that overlap have rows of their own");
    for request in requests {
        for span in &request.spans {
            let same = |s: &&Slice| {
                let args_match = span.attributes.iter().all(|(n, v)| s.args.get(n) == Some(v));
                (s.name.as_str(), s.category.as_str()) == (&span.name, &span.category)
                    && (s.start, s.end) == (span.start_ns, Some(span.end_ns()))
                    && s.args["request"] == Value::Uint(request.id)
                    && args_match
                    && drawn.home(s.track) == (format!("store {}", span.store), span.thread.clone())
            };
            let found: Vec<&Slice> = drawn.slices.iter().filter(same).collect();
            assert_eq!(found.len(), 1, "{span:#?}");
            let place = found[0].source.clone().unwrap();
            let source = span.source.clone().unwrap();
            assert_eq!(place, (source.file, source.function, u64::from(source.line)));
        }
        let whole = drawn.slices.iter().find(|s| {
            s.category == "request" && s.args["request"] == Value::Uint(request.id) && s.name == request.name
        });
        let whole = whole.unwrap();
        assert_eq!((whole.start, whole.end), (request.start_ns, Some(request.end_ns())));
        assert_eq!(drawn.home(whole.track).1, "requests");
    }
}

#[test]
fn arrows_lead_from_thread_to_thread_and_to_each_store() {
    let requests = sample::requests();
    let drawn = draw(&export(requests));
    let mut ways = Vec::new();
    for from in &drawn.slices {
        for id in &from.starts {
            let to: Vec<&Slice> = drawn.slices.iter().filter(|s| s.ends.contains(id)).collect();
            assert_eq!(to.len(), 1, "an arrow has one end");
            assert_eq!(from.args["request"], to[0].args["request"]);
            assert!(from.start <= to[0].start);
            if from.args["request"] == Value::Uint(requests[0].id) {
                ways.push((from.name.clone(), to[0].name.clone(), drawn.home(to[0].track).0));
            }
        }
    }
    ways.sort();
    let want = [
        ("raft_propose", "apply_done", "store 1"),
        ("raft_propose", "follower_append", "store 2"),
        ("raft_propose", "follower_append", "store 3"),
        ("raft_propose", "grpc_reply", "store 1"),
        ("raw_put", "grpc_receive", "store 1"),
    ];
    let mut want: Vec<_> = want.map(|(a, b, c)| (a.into(), b.into(), c.into())).to_vec();
    want.push(("grpc_receive".into(), "raft_propose".into(), "store 1".into()));
    want.sort();
    assert_eq!(ways, want);
}

#[test]
fn raft_indexes_are_counters_and_a_batch_counts_once() {
    let drawn = draw(&export(sample::requests()));
    let mut points: Vec<(String, String, u64)> = drawn
        .counters
        .iter()
        .map(|(track, _, value)| {
            assert!(drawn.tracks[track].counter);
            (drawn.tracks[track].name.clone(), drawn.home(drawn.tracks[track].parent).0, *value)
        })
        .collect();
    points.sort();
    let want = [
        ("region 7 appended", "store 2", 2),
        ("region 7 appended", "store 3", 2),
        ("region 7 applied", "store 1", 2),
        ("region 7 proposed", "store 1", 1),
        ("region 7 proposed", "store 1", 2),
    ];
    assert_eq!(points, want.map(|(a, b, n)| (a.into(), b.into(), n)));
}

/// Writes the sample for tests/perfetto_check.py: `PERFETTO_SAMPLE=DIR cargo test -p tracepoints-export`.
#[test]
fn a_sample_is_written_for_perfettos_schema_check() {
    let dir = tempfile::tempdir().unwrap();
    let asked = std::env::var_os("PERFETTO_SAMPLE").map(std::path::PathBuf::from);
    let dir = asked.unwrap_or_else(|| dir.path().into());
    let requests = sample::requests();
    std::fs::write(dir.join("sample.perfetto-trace"), export(requests)).unwrap();
    let chrome = crate::chrome::export(requests);
    std::fs::write(dir.join("sample.json"), &chrome).unwrap();
    assert!(!chrome.is_empty());
}
