//! Reads profiles in a trace: `Profile` begins one, `ProfileChunk` events with the same process and id
//! continue it; `CpuProfile` contains a whole one.
use std::collections::{BTreeMap, HashMap};

use super::{
    Times, Tree,
    schema::{Event, Node},
    thread,
};
use crate::{
    format::losses::Losses,
    json::{Number, Object},
    model::Profile,
};

/// Process and id of a profile.
type Key = (String, String);

#[derive(Default)]
struct Whole {
    tid: String,
    start: Option<f64>,
    end: Option<f64>,
    nodes: Vec<Object<Node>>,
    samples: Vec<Number>,
    deltas: Vec<Number>,
}

pub(super) fn read(profile: &mut Profile, events: Vec<Object<Event>>, losses: &mut Losses) {
    let mut wholes: BTreeMap<Key, Whole> = BTreeMap::new();
    let mut threads: HashMap<(String, String), String> = HashMap::new();
    for event in events.into_iter().filter_map(|event| event.0) {
        let Some(args) = event.args.0 else { continue };
        match event.name.0.as_str() {
            "thread_name" => drop(threads.insert((event.pid.0, event.tid.0), args.name.0)),
            "Profile" | "ProfileChunk" | "CpuProfile" => {
                let Some(data) = args.data.0 else { continue };
                let whole = wholes.entry((event.pid.0, event.id.0)).or_default();
                // A thread of the profiler writes the chunks; only the first event names the sampled thread.
                if event.name.0 != "ProfileChunk" || whole.tid.is_empty() {
                    whole.tid = event.tid.0;
                }
                let part = data.cpu_profile.0.unwrap_or_default();
                whole.start = whole.start.or(data.start_time.0).or(part.start_time.0);
                whole.end = data.end_time.0.or(part.end_time.0).or(whole.end);
                whole.nodes.extend(part.nodes.0);
                whole.samples.extend(part.samples.0);
                whole.deltas.extend(data.time_deltas.0.into_iter().chain(part.time_deltas.0));
            }
            _ => {}
        }
    }
    for ((pid, _), whole) in wholes {
        let tree = Tree::from_nodes(profile, whole.nodes, Object::default(), losses);
        let known = threads.get(&(pid, whole.tid.clone())).filter(|name| !name.is_empty());
        let labels = thread(profile, &known.cloned().unwrap_or_else(|| format!("thread {}", whole.tid)));
        let times = Times { start: whole.start, end: whole.end, deltas: &whole.deltas, stamps: &[] };
        tree.samples(profile, &whole.samples, &times, labels, losses);
    }
}
