//! CPU samples within the time of requests: what each stage ran, and what it only waited for.
//!
//! A sample that says which request it is of counts for that one. One that only says kind and stage counts for all visits
//! of the recording: each visit is given their mean. Neither is given more than the visit lasted; the rest of its time
//! it waited.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    Folded, Operation, Profile,
    model::{FoldOptions, LabelsId, keys},
    wall::{self, WallOptions},
};

/// A request's kind and a stage.
type Place = (String, String);

/// CPU time by kind and stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpuTime {
    /// Of samples that do not say which request they are of.
    places: BTreeMap<Place, Folded>,
    /// Of the others, by request.
    requests: HashMap<u64, BTreeMap<Place, Folded>>,
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
            let Some((place, request)) = at(profile, sample.labels) else {
                out.elsewhere_ns += spent;
                continue;
            };
            let names = || profile.frames_of(sample.stack).iter().map(|f| profile.frame_name(*f)).collect();
            let frames = stacks.entry(sample.stack).or_insert_with(names);
            let places = match request {
                Some(id) => out.requests.entry(id).or_default(),
                None => &mut out.places,
            };
            places.entry(place).or_default().add(frames.iter(), spent);
        }
        out
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.requests.is_empty()
    }

    /// What samples of these very requests met, by place.
    fn own(&self, operations: &[Operation]) -> BTreeMap<Place, Folded> {
        let requests: BTreeSet<(u64, &str)> =
            operations.iter().flat_map(|o| &o.steps).map(|s| (s.request, s.kind.as_str())).collect();
        let mut out: BTreeMap<Place, Folded> = BTreeMap::new();
        for (id, kind) in requests {
            let met = self.requests.get(&id).into_iter().flatten();
            // Another recording's request may have the same number.
            for (place, folded) in met.filter(|(place, _)| place.0 == kind) {
                out.entry(place.clone()).or_default().merge(folded);
            }
        }
        out
    }

    /// All that was met at a place, whosever it was.
    fn anybody(&self, place: &Place) -> Folded {
        let mut out = self.places.get(place).cloned().unwrap_or_default();
        self.requests.values().filter_map(|places| places.get(place)).for_each(|f| out.merge(f));
        out
    }
}

/// Kind and stage of a sample, and its request.
fn at(profile: &Profile, labels: LabelsId) -> Option<(Place, Option<u64>)> {
    let label = |key| profile.label(labels, key).filter(|l| !l.is_empty());
    let place = (label(keys::REQUEST)?, label(keys::STAGE)?);
    Some((place, label(keys::REQUEST_ID).and_then(|id| id.parse().ok())))
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
///
/// Of a single request that no sample met, a stage shows what its kind ran there on average, and says so.
pub fn stacks(operations: &[Operation], all: &[Operation], cpu: &CpuTime, options: WallOptions) -> Folded {
    let mut visits: BTreeMap<Vec<String>, Visits> = BTreeMap::new();
    let mut here: HashMap<Place, u64> = HashMap::new();
    for operation in operations {
        for segment in &operation.path.segments {
            let (frames, leaf) = wall::frames(operation, segment, options);
            let mut key = frames;
            key.push(leaf.clone());
            let place = (operation.steps[segment.step].kind.clone(), segment.stage.clone());
            *here.entry(place.clone()).or_default() += segment.dur_ns;
            let of = visits.entry(key).or_insert_with(|| Visits { leaf, place, ..Visits::default() });
            of.count += 1;
            of.ns += segment.dur_ns;
        }
    }
    let joined =
        Joined { cpu, own: cpu.own(operations), here, visited: visited(all), alone: operations.len() == 1 };
    let mut out = Folded::default();
    for (mut frames, of) in visits {
        frames.pop();
        joined.spread(&mut out, &frames, &of);
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

struct Joined<'a> {
    cpu: &'a CpuTime,
    /// What samples of the operations themselves met.
    own: BTreeMap<Place, Folded>,
    /// The operations' time by place, in ns.
    here: HashMap<Place, u64>,
    /// Visits of all operations by place.
    visited: HashMap<Place, u64>,
    /// There is one operation only.
    alone: bool,
}

impl Joined<'_> {
    /// The visits' CPU time to the functions that were met, the rest to the leaf.
    fn spread(&self, out: &mut Folded, frames: &[String], of: &Visits) {
        let own = self.own.get(&of.place);
        let share = of.ns as f64 / self.here.get(&of.place).copied().unwrap_or(0).max(1) as f64;
        let visits = self.visited.get(&of.place).copied().unwrap_or(0).max(of.count).max(1);
        let mean = of.count as f64 / visits as f64;
        let mut parts: Vec<(&str, Folded, f64)> = Vec::new();
        parts.extend(own.map(|met| (ON_CPU, met.clone(), share)));
        parts.extend(self.cpu.places.get(&of.place).map(|met| (ON_CPU, met.clone(), mean)));
        if self.alone && parts.is_empty() {
            parts.push((ON_AVERAGE, self.cpu.anybody(&of.place), mean));
        }
        parts.retain(|(_, met, _)| met.total() > 0);
        let mut left = of.ns;
        for (frame, met, share) in &parts {
            let ours = (met.total() as f64 * share).min(left as f64);
            for (stack, ns) in met.iter() {
                let part = ((ns as f64 / met.total() as f64 * ours) as u64).min(left);
                left -= part;
                let stack = frames.iter().map(String::as_str).chain([*frame]).chain(stack.split(';'));
                out.add(stack, part);
            }
        }
        // Of a stage that runs, what no sample met is the thread's time off the CPU.
        let leaf = match of.leaf.strip_prefix("runs: ") {
            Some(thread) if !parts.is_empty() => format!("off CPU: {thread}"),
            _ => of.leaf.clone(),
        };
        out.add(frames.iter().chain([&leaf]), left);
    }
}

/// The frame below which functions stand.
pub const ON_CPU: &str = "on CPU";
/// The same where no sample met the request itself.
pub const ON_AVERAGE: &str = "on CPU, as requests of its type are on average";

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

    /// Samples of one request each.
    fn numbered(samples: &[(u64, &str, &str, i64)]) -> Profile {
        let mut profile = Profile::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
        for (id, stage, frame, ns) in samples {
            let function = profile.add_function(frame);
            let stack = profile.stack([function]);
            let mut labels =
                vec![profile.text_label(keys::STAGE, stage), profile.text_label(keys::REQUEST, "kv_get")];
            labels.push(profile.number_label(keys::REQUEST_ID, *id as i64, ""));
            let labels = profile.labels(&labels);
            profile.add(stack, labels, &[1, *ns]);
        }
        profile
    }

    #[test]
    fn a_request_shows_its_own_samples_and_a_cohort_those_of_its_requests() {
        let cpu = CpuTime::of(&numbered(&[(1, "mvcc_get", "scan", 900), (2, "mvcc_get", "seek", 200)]));
        assert!(!cpu.is_empty());
        let all = [operation(1, 1000), operation(2, 3000), operation(3, 1000)];
        let shown = |ops: &[Operation]| -> Vec<(String, u64)> {
            let joined = stacks(ops, &all, &cpu, WAITS);
            joined.iter().filter(|(s, _)| s.contains("mvcc_get")).map(|(s, n)| (s.to_owned(), n)).collect()
        };
        let of = |stack: &str, ns| (format!("kv_get;mvcc_get;{stack}"), ns);
        let off = |ns| of("off CPU: unified-read-pool", ns);
        assert_eq!(shown(&all[..1]), [off(100), of("on CPU;scan", 900)]);
        assert_eq!(shown(&all[1..2]), [off(2800), of("on CPU;seek", 200)]);
        // Nobody met the third: a mean of all three visits, and it says that it is one.
        let average = |frame, ns| of(&format!("{ON_AVERAGE};{frame}"), ns);
        assert_eq!(shown(&all[2..]), [off(634), average("scan", 300), average("seek", 66)]);
        // Together it is what was sampled.
        assert_eq!(shown(&all), [off(3900), of("on CPU;scan", 900), of("on CPU;seek", 200)]);
        assert_eq!(shown(&all[1..]), [off(3800), of("on CPU;seek", 200)]);
        // A request of another type has the number by chance.
        let mut other = operation(1, 1000);
        other.steps.iter_mut().for_each(|s| s.kind = "raw_get".into());
        let joined = stacks(&[other.clone(), other], &all, &cpu, WAITS);
        assert!(joined.iter().all(|(s, _)| !s.contains("scan")), "{:?}", joined.lines());
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
