//! CPU samples within the time of requests: what each stage ran, and what it only waited for.
//!
//! A sample says the request's kind and stage, not the request. So each visit to a stage is given the mean CPU time of all
//! visits to it, but never more than it lasted; the rest of its time it waited.
use std::collections::{BTreeMap, HashMap};

use crate::{
    Folded, Operation, Profile,
    model::{FoldOptions, keys},
    wall::{self, WallOptions},
};

/// A request's kind and a stage.
type Place = (String, String);

/// CPU time by kind and stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuTime {
    places: BTreeMap<Place, Folded>,
    /// CPU time of samples that say no stage, in ns.
    pub elsewhere_ns: u64,
}

impl CpuTime {
    /// Takes the samples whose labels say the request's kind and the stage.
    pub fn of(profile: &Profile) -> Self {
        let (value, ns) = weight(profile);
        let mut out = Self::default();
        let mut stacks: HashMap<_, Vec<String>> = HashMap::new();
        let options = FoldOptions { value, roots: Vec::new() };
        for sample in profile.samples() {
            let spent =
                sample.values.get(options.value).and_then(|v| u64::try_from(*v).ok()).unwrap_or(0) * ns;
            let label = |key| profile.label(sample.labels, key).filter(|l| !l.is_empty());
            let (Some(stage), Some(kind)) = (label(keys::STAGE), label(keys::REQUEST)) else {
                out.elsewhere_ns += spent;
                continue;
            };
            let names = || profile.frames_of(sample.stack).iter().map(|f| profile.frame_name(*f)).collect();
            let frames = stacks.entry(sample.stack).or_insert_with(names);
            out.places.entry((kind, stage)).or_default().add(frames.iter(), spent);
        }
        out
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Which weight is taken, and how many ns one of it is: CPU time, else samples of the profile's period.
fn weight(profile: &Profile) -> (usize, u64) {
    let nanoseconds =
        |i: usize| profile.value_types().get(i).is_some_and(|v| profile.text(v.unit) == "nanoseconds");
    if let Some(value) = profile.value_named("cpu").filter(|i| nanoseconds(*i)) {
        return (value, 1);
    }
    (profile.value_named("samples").unwrap_or(0), u64::try_from(profile.period).unwrap_or(0).max(1))
}

/// What a stage's visits of one stack sum to.
#[derive(Default)]
struct Visits {
    count: u64,
    ns: u64,
    /// What their leaf says without CPU samples.
    leaf: String,
    place: Place,
}

/// The stacks of `operations`, with the CPU time of the stages they went through; `all` are the operations of the time
/// that the CPU profile was taken in, `operations` among them.
pub fn stacks(operations: &[Operation], all: &[Operation], cpu: &CpuTime, options: WallOptions) -> Folded {
    let visited = visited(all);
    let mut visits: BTreeMap<Vec<String>, Visits> = BTreeMap::new();
    for operation in operations {
        for segment in &operation.path.segments {
            let (frames, leaf) = wall::frames(operation, segment, options);
            let mut key = frames;
            key.push(leaf.clone());
            let kind = operation.steps[segment.step].kind.clone();
            let of = visits.entry(key).or_insert_with(|| Visits {
                leaf,
                place: (kind, segment.stage.clone()),
                ..Visits::default()
            });
            of.count += 1;
            of.ns += segment.dur_ns;
        }
    }
    let mut out = Folded::default();
    for (mut frames, of) in visits {
        frames.pop();
        spread(&mut out, &frames, &of, cpu, &visited);
    }
    out
}

fn visited(all: &[Operation]) -> HashMap<Place, u64> {
    let mut out = HashMap::new();
    for operation in all {
        for segment in &operation.path.segments {
            let kind = operation.steps[segment.step].kind.clone();
            *out.entry((kind, segment.stage.clone())).or_default() += 1;
        }
    }
    out
}

/// The visits' CPU time to the functions that were met, the rest to the leaf.
fn spread(out: &mut Folded, frames: &[String], of: &Visits, cpu: &CpuTime, visited: &HashMap<Place, u64>) {
    let all = visited.get(&of.place).copied().unwrap_or(0).max(of.count).max(1);
    let met = cpu.places.get(&of.place);
    let total = met.map_or(0, Folded::total);
    let ours = (total as f64 * of.count as f64 / all as f64).min(of.ns as f64);
    let mut left = of.ns;
    for (stack, ns) in met.into_iter().flat_map(Folded::iter) {
        let part = ((ns as f64 / total as f64 * ours) as u64).min(left);
        left -= part;
        let own = frames.iter().map(String::as_str).chain(std::iter::once(ON_CPU)).chain(stack.split(';'));
        out.add(own, part);
    }
    // Of a stage that runs, what no sample met is the thread's time off the CPU.
    let leaf = match of.leaf.strip_prefix("runs: ") {
        Some(thread) if met.is_some() => format!("off CPU: {thread}"),
        _ => of.leaf.clone(),
    };
    out.add(frames.iter().chain(std::iter::once(&leaf)), left);
}

/// The frame below which functions stand.
pub const ON_CPU: &str = "on CPU";

#[cfg(test)]
mod tests {
    use super::*;
    use tracepoints::trace::Step;

    fn operation(id: u64, get_ns: u64) -> Operation {
        let step = |i: usize, stage: &str, at_ns, dur_ns| Step {
            step: i,
            stage: stage.into(),
            kind: "kv_get".into(),
            lane: "main".into(),
            thread: "unified-read-pool-0".into(),
            request: id,
            store: 1,
            at_ns,
            dur_ns,
            ..Step::default()
        };
        let steps = vec![step(0, "read_pool_queue", 0, 500), step(1, "mvcc_get", 500, get_ns)];
        Operation::new(id, "kv_get", 0, steps)
    }

    fn profile(stage: &str, stacks: &[(&[&str], i64)]) -> Profile {
        let mut profile = Profile::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
        for (frames, ns) in stacks {
            let frames: Vec<_> = frames.iter().map(|f| profile.add_function(f)).collect();
            let stack = profile.stack(frames);
            let labels = profile.text_labels(&[(keys::STAGE, stage), (keys::REQUEST, "kv_get")]);
            profile.add(stack, labels, &[1, *ns]);
        }
        let other = profile.add_function("idle");
        let other = profile.stack([other]);
        profile.add(other, Default::default(), &[1, 77]);
        profile
    }

    const WAITS: WallOptions = WallOptions { stores: false, replicas: false, frames: false, waits: true };

    #[test]
    fn a_stage_is_what_it_ran_and_the_rest_it_waited() {
        let cpu = CpuTime::of(&profile("mvcc_get", &[(&["get", "seek"], 300), (&["get", "copy"], 100)]));
        assert_eq!((cpu.elsewhere_ns, cpu.is_empty()), (77, false));
        let all = [operation(1, 1000), operation(2, 3000)];
        let both = stacks(&all, &all, &cpu, WAITS);
        assert_eq!(both.total(), 5000);
        let shown: Vec<_> = both.iter().collect();
        assert_eq!(
            shown,
            [
                ("kv_get;mvcc_get;off CPU: unified-read-pool", 3600),
                ("kv_get;mvcc_get;on CPU;get;copy", 100),
                ("kv_get;mvcc_get;on CPU;get;seek", 300),
                ("kv_get;read_pool_queue;waits: queue, unified-read-pool", 1000),
            ]
        );
        // One of two visits has half of the CPU time, however long it was.
        let slow = stacks(&all[1..], &all, &cpu, WAITS);
        assert_eq!(slow.iter().filter(|(s, _)| s.contains(ON_CPU)).map(|(_, n)| n).sum::<u64>(), 200);
        assert_eq!(slow.total(), 3500);
    }

    #[test]
    fn cpu_time_is_never_more_than_the_stage_lasted() {
        let cpu = CpuTime::of(&profile("mvcc_get", &[(&["get"], 1_000_000)]));
        let all = [operation(1, 1000)];
        let joined = stacks(&all, &all, &cpu, WAITS);
        assert_eq!(joined.total(), 1500);
        assert!(joined.iter().any(|s| s == ("kv_get;mvcc_get;on CPU;get", 1000)));
        let none = CpuTime::of(&profile("other", &[]));
        assert_eq!(stacks(&all, &all, &none, WAITS), wall::operation(&all[0], WAITS));
    }
}
