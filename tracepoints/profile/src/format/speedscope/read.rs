//! Reads speedscope's JSON.
use ahash::RandomState;
use indexmap::IndexMap;

use super::{
    events::{Edge, replay},
    schema::{File, Part, SharedFrame},
};
use crate::{
    ProfileError,
    format::{fail::fail, fraction, kind::Format, losses::Losses},
    json::{self, Index},
    model::{Frame, FrameId, LabelsId, Profile, StackId, keys},
};

/// Reads sampled and evented profiles; times become ns. Unreadable parts are left out, and counted in the
/// profile's comments.
///
/// # Errors
/// [`ProfileError::Format`] with the line of invalid JSON, or the position of the first sample or event if
/// none can be read.
pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
    let (file, notes): (File, _) = json::document(bytes)
        .map_err(|e| fail(Format::Speedscope, format!("line {} column {}", e.line(), e.column()), e))?;
    let mut units: Vec<Unit> = Vec::new();
    for unit in file.profiles.0.iter().filter_map(|part| part.0.as_ref()).map(unit) {
        if !units.iter().any(|known| known.0 == unit.0) {
            units.push(unit);
        }
    }
    let types: Vec<_> = units.iter().map(|unit| (unit.0, unit.1)).collect();
    let mut profile = Profile::new(&types);
    let shared = file.shared.0.unwrap_or_default();
    let frames = shared.frames.0.into_iter().map(|frame| add(&mut profile, &frame.0.unwrap_or_default()));
    let frames: Vec<FrameId> = frames.collect();
    if file.profiles.0.is_empty() {
        let none = "expected profiles in `profiles`, found none";
        return Err(fail(Format::Speedscope, "the text", notes.first().map_or(none, |note| note)));
    }
    let single = file.profiles.0.len() == 1;
    let mut all: Vec<(LabelsId, usize, Unit, Sums)> = Vec::new();
    let mut losses = Losses::default();
    for (n, part) in file.profiles.0.iter().enumerate() {
        let Some(part) = &part.0 else {
            losses.add("profiles", || format!("profile {n}"), || "it is not an object".into());
            continue;
        };
        // The only profile of a file has the file's name; of several, each is a thread.
        let thread = !(single && file.name == part.name);
        let name = &part.name.0;
        let labels = if thread { profile.text_labels(&[(keys::THREAD, name)]) } else { LabelsId::default() };
        let unit = unit(part);
        let mut reader = Reader { n, part, frames: &frames, losses: &mut losses, sums: Sums::default() };
        reader.sampled(&mut profile);
        reader.evented(&mut profile);
        let sums = reader.sums;
        all.push((labels, n, unit, sums));
    }
    let counts: Vec<f64> =
        all.iter().filter(|part| part.2 == SAMPLES).flat_map(|part| part.3.values().copied()).collect();
    let decimals = fraction::decimals(&counts);
    for (labels, n, unit, sums) in all {
        let scale = if unit == SAMPLES { 10f64.powi(decimals as i32) } else { unit.2 };
        let at = units.iter().position(|known| known.0 == unit.0).unwrap_or(0);
        let mut values = vec![0; units.len()];
        for (stack, sum) in sums {
            values[at] = (sum * scale).round() as i64;
            if values[at] == 0 && sum > 0.0 {
                let why = || format!("its weight is less than one of the unit: {sum}");
                losses.add("stacks", || format!("profile {n}"), why);
            }
            profile.add(stack, labels, &values);
        }
    }
    if let Some(at) = units.iter().position(|unit| *unit == SAMPLES) {
        let unit = profile.value_type(SAMPLES.0, &fraction::unit(SAMPLES.1, decimals));
        profile.set_value_type(at, unit);
    }
    losses.judge(Format::Speedscope, &mut profile, notes)?;
    Ok(profile)
}

/// Values by stack, as in the file: fractions of times and bytes are rounded once, in the sum.
type Sums = IndexMap<StackId, f64, RandomState>;

struct Reader<'a> {
    n: usize,
    part: &'a Part,
    frames: &'a [FrameId],
    losses: &'a mut Losses,
    sums: Sums,
}

impl Reader<'_> {
    fn frame(&self, index: Index) -> Result<FrameId, String> {
        let at = index.0.ok_or("it has no frame")?;
        self.frames.get(at).copied().ok_or_else(|| format!("there is no frame {at}"))
    }

    fn sampled(&mut self, profile: &mut Profile) {
        let n = self.n;
        for (i, sample) in self.part.samples.0.iter().enumerate() {
            let frames: Result<Vec<FrameId>, String> =
                sample.0.iter().map(|frame| self.frame(*frame)).collect();
            // Without weights each sample counts one; the unit of such a profile is samples.
            let weight = if self.part.weights.0.is_empty() { Some(1.0) } else { weight(self.part, i) };
            match (frames, weight.filter(|weight| *weight >= 0.0)) {
                (Ok(frames), Some(weight)) => {
                    let stack = profile.stack(frames);
                    *self.sums.entry(stack).or_default() += weight;
                }
                (frames, _) => {
                    let why = || frames.err().unwrap_or_else(|| "it has no weight, or a negative one".into());
                    self.losses.add("samples", || format!("profile {n} sample {i}"), why);
                }
            }
        }
    }

    fn evented(&mut self, profile: &mut Profile) {
        let mut edges = self.edges();
        if edges.is_empty() {
            return;
        }
        // Events at one time keep their order in the file.
        edges.sort_by(|a, b| a.at.total_cmp(&b.at));
        let end = self.part.end_value.0.unwrap_or(f64::NEG_INFINITY);
        let sums = &mut self.sums;
        let odd = replay(profile, &edges, end, |_, stack, time| *sums.entry(stack).or_default() += time);
        let n = self.n;
        for (count, what, why) in [
            (odd.without_begin, "ends of frames that are not open are left out", "the frame is not open"),
            (odd.crossed, "frames end before a frame that they called", "both last as their events say"),
            (odd.without_end, "frames have no end", "they last until the end of the profile"),
        ] {
            self.losses.odd(what, count, || format!("profile {n}"), why);
        }
    }

    fn edges(&mut self) -> Vec<Edge> {
        let mut edges = Vec::with_capacity(self.part.events.0.len());
        for (i, event) in self.part.events.0.iter().enumerate() {
            let edge = || {
                let event = event.0.as_ref().ok_or("it is not an object")?;
                let enter = match event.kind.0.as_str() {
                    "O" => true,
                    "C" => false,
                    other => return Err(format!("expected the type O or C, found {other:?}")),
                };
                let at = event.at.0.ok_or("it has no time")?;
                Ok::<Edge, String>(Edge { at, enter, frame: self.frame(event.frame)? })
            };
            match edge() {
                Ok(edge) => edges.push(edge),
                Err(why) => {
                    let n = self.n;
                    self.losses.add("events", || format!("profile {n} event {i}"), || why);
                }
            }
        }
        edges
    }
}

fn weight(part: &Part, i: usize) -> Option<f64> {
    part.weights.0.get(i).and_then(|weight| weight.0)
}

fn add(profile: &mut Profile, frame: &SharedFrame) -> FrameId {
    let function = profile.intern(&frame.name.0);
    let file = profile.intern(&frame.file.0);
    let number = |index: Index| index.0.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let (line, column) = (number(frame.line), number(frame.col));
    profile.add_frame(Frame { function, file, line, column, ..Frame::default() })
}

/// Kind, unit, and conversion factor.
type Unit = (&'static str, &'static str, f64);

const SAMPLES: Unit = ("samples", "count", 1.0);

fn unit(part: &Part) -> Unit {
    // Samples without weights are counted, regardless of the weights' unit.
    if !part.samples.0.is_empty() && part.weights.0.is_empty() {
        return SAMPLES;
    }
    match part.unit.0.as_str() {
        "bytes" => ("space", "bytes", 1.0),
        "nanoseconds" => ("time", "nanoseconds", 1.0),
        "microseconds" => ("time", "nanoseconds", 1e3),
        "milliseconds" => ("time", "nanoseconds", 1e6),
        "seconds" => ("time", "nanoseconds", 1e9),
        _ => SAMPLES,
    }
}
