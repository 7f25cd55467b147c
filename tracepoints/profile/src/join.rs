//! Joins CPU samples with requests: the functions each stage ran, and the time it only waited.
//!
//! A sample with a request id counts for that request. A sample with only kind and stage counts for all
//! visits of the recording: each visit gets the mean. No visit gets more than its duration; the rest of its
//! time counts as waiting.
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
    /// CPU time of samples without a request id.
    places: BTreeMap<Place, Folded>,
    /// CPU time of the other samples, by request.
    requests: HashMap<u64, BTreeMap<Place, Folded>>,
    /// CPU time of samples without a stage, in ns.
    pub elsewhere_ns: u64,
}

impl CpuTime {
    /// Takes the samples whose labels have the request's kind and the stage.
    pub fn from_profile(profile: &Profile) -> Self {
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

    /// Whether no sample was joined.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty() && self.requests.is_empty()
    }

    /// Returns the functions sampled in these requests, by place.
    fn own(&self, operations: &[Operation]) -> BTreeMap<Place, Folded> {
        let requests: BTreeSet<(u64, &str)> =
            operations.iter().flat_map(|o| &o.steps).map(|s| (s.request, s.kind.as_str())).collect();
        let mut out: BTreeMap<Place, Folded> = BTreeMap::new();
        for (id, kind) in requests {
            let sampled = self.requests.get(&id).into_iter().flatten();
            // A request of another recording may have the same id.
            for (place, folded) in sampled.filter(|(place, _)| place.0 == kind) {
                out.entry(place.clone()).or_default().merge(folded);
            }
        }
        out
    }

    /// Returns the functions sampled at a place, for any request.
    fn any_request(&self, place: &Place) -> Folded {
        let mut out = self.places.get(place).cloned().unwrap_or_default();
        self.requests.values().filter_map(|places| places.get(place)).for_each(|f| out.merge(f));
        out
    }
}

/// Returns kind and stage of a sample, and its request.
fn at(profile: &Profile, labels: LabelsId) -> Option<(Place, Option<u64>)> {
    let label = |key| profile.label(labels, key).filter(|l| !l.is_empty());
    let place = (label(keys::REQUEST)?, label(keys::STAGE)?);
    Some((place, label(keys::REQUEST_ID).and_then(|id| id.parse().ok())))
}

/// Returns the index of the value to use, and its ns per unit: CPU time, else samples of the profile's
/// period.
fn weight(profile: &Profile) -> (usize, u64) {
    let nanoseconds =
        |i: usize| profile.value_types().get(i).is_some_and(|v| profile.text(v.unit) == "nanoseconds");
    if let Some(value) = profile.value_named("cpu").filter(|i| nanoseconds(*i)) {
        return (value, 1);
    }
    (profile.value_named("samples").unwrap_or(0), u64::try_from(profile.period).unwrap_or(0).max(1))
}

/// Sum of a stage's visits with one stack.
#[derive(Default)]
struct Visits {
    count: u64,
    ns: u64,
    /// The leaf without CPU samples.
    leaf: String,
    place: Place,
}

/// Returns the stacks of `operations`, with the CPU time of their stages; `all` are the operations during the
/// CPU profile, including `operations`.
///
/// For a single request without samples, a stage shows the average of its kind, marked as such.
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
    /// Functions sampled in the operations themselves.
    own: BTreeMap<Place, Folded>,
    /// The operations' time by place, in ns.
    here: HashMap<Place, u64>,
    /// Time of all operations' visits by place, in ns.
    visited: HashMap<Place, u64>,
    /// Whether there is only one operation.
    alone: bool,
}

impl Joined<'_> {
    /// Distributes the visits' CPU time over the sampled functions, and the rest to the leaf.
    fn spread(&self, out: &mut Folded, frames: &[String], of: &Visits) {
        let own = self.own.get(&of.place);
        let share = of.ns as f64 / self.here.get(&of.place).copied().unwrap_or(0).max(1) as f64;
        let visits = self.visited.get(&of.place).copied().unwrap_or(0).max(of.count).max(1);
        let mean = of.count as f64 / visits as f64;
        let mut parts: Vec<(&str, Folded, f64)> = Vec::new();
        parts.extend(own.map(|found| (ON_CPU, found.clone(), share)));
        parts.extend(self.cpu.places.get(&of.place).map(|found| (ON_CPU, found.clone(), mean)));
        if self.alone && parts.is_empty() {
            parts.push((ON_AVERAGE, self.cpu.any_request(&of.place), mean));
        }
        parts.retain(|(_, found, _)| found.total() > 0);
        let mut left = of.ns;
        for (frame, found, share) in &parts {
            let ours = (found.total() as f64 * share).min(left as f64);
            for (stack, ns) in found.iter() {
                let part = ((ns as f64 / found.total() as f64 * ours) as u64).min(left);
                left -= part;
                let stack = frames.iter().map(String::as_str).chain([*frame]).chain(stack.split(';'));
                out.add(stack, part);
            }
        }
        // In a running stage, time without samples is the thread's time off the CPU.
        let leaf = match of.leaf.strip_prefix("runs: ") {
            Some(thread) if !parts.is_empty() => format!("off CPU: {thread}"),
            _ => of.leaf.clone(),
        };
        out.add(frames.iter().chain([&leaf]), left);
    }
}

/// The frame above the functions.
pub const ON_CPU: &str = "on CPU";
/// The frame above the functions if the request itself has no samples.
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

    /// Makes samples of one request each.
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
    fn requests_and_cohorts_show_their_own_samples() {
        let cpu =
            CpuTime::from_profile(&numbered(&[(1, "mvcc_get", "scan", 900), (2, "mvcc_get", "seek", 200)]));
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
        // The third request has no samples: it shows the mean of all three visits, marked as such.
        let average = |frame, ns| of(&format!("{ON_AVERAGE};{frame}"), ns);
        assert_eq!(shown(&all[2..]), [off(634), average("scan", 300), average("seek", 66)]);
        // The sum is the sampled time.
        assert_eq!(shown(&all), [off(3900), of("on CPU;scan", 900), of("on CPU;seek", 200)]);
        assert_eq!(shown(&all[1..]), [off(3800), of("on CPU;seek", 200)]);
        // A request of another kind that happens to have the same id.
        let mut other = operation(1, 1000);
        other.steps.iter_mut().for_each(|s| s.kind = "raw_get".into());
        let joined = stacks(&[other.clone(), other], &all, &cpu, WAITS);
        assert!(joined.iter().all(|(s, _)| !s.contains("scan")), "{:?}", joined.lines());
    }

    const WAITS: WallOptions = WallOptions { stores: false, replicas: false, frames: false, waits: true };

    #[test]
    fn a_stage_splits_into_running_and_waiting() {
        let cpu =
            CpuTime::from_profile(&profile("mvcc_get", &[(&["get", "seek"], 300), (&["get", "copy"], 100)]));
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
        // One of two visits gets half of the CPU time, regardless of its duration.
        let slow = stacks(&all[1..], &all, &cpu, WAITS);
        assert_eq!(slow.iter().filter(|(s, _)| s.contains(ON_CPU)).map(|(_, n)| n).sum::<u64>(), 200);
        assert_eq!(slow.total(), 3500);
    }

    #[test]
    fn cpu_time_never_exceeds_the_stages_duration() {
        let cpu = CpuTime::from_profile(&profile("mvcc_get", &[(&["get"], 1_000_000)]));
        let all = [operation(1, 1000)];
        let joined = stacks(&all, &all, &cpu, WAITS);
        assert_eq!(joined.total(), 1500);
        assert!(joined.iter().any(|s| s == ("kv_get;mvcc_get;on CPU;get", 1000)));
        let none = CpuTime::from_profile(&profile("other", &[]));
        assert_eq!(stacks(&all, &all, &none, WAITS), wall::operation(&all[0], WAITS));
    }
}
