//! Reads pprof's protobuf.
use std::collections::{HashMap, hash_map::Entry};

use ahash::RandomState;

use super::{
    TIME_LABEL,
    decode::{Decoded, decode},
    prune::{self, Pruned, Pruning},
    schema,
};
use crate::{
    ProfileError,
    format::{fail::fail, kind::Format, skipped::Skipped},
    model::{
        Frame, FrameId, Label, LabelValue, LabelsId, Module, ModuleId, Profile, StackId, StrId, ValueType,
    },
};

/// Reads pprof's protobuf, plain or compressed. A sample with an invalid location is left out; an invalid
/// function, mapping or text is unknown. The comments give their numbers.
///
/// # Errors
/// [`ProfileError::Format`] with the first invalid byte, if no sample can be read.
pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
    let plain = tracepoints_input::plain(bytes)?;
    let decoded = decode(&plain.bytes);
    let mut reader = Reader::new(&decoded.profile);
    reader.read();
    let Reader { mut profile, skipped, missing, odd, shortened, twice, .. } = reader;
    if profile.is_empty()
        && let Some(error) = error(&decoded, &skipped, plain.bytes.len())
    {
        return Err(error);
    }
    profile.comments.extend(plain.notes);
    profile.comments.extend(damage(&decoded));
    let odd_texts =
        decoded.profile.string_table.iter().filter(|text| std::str::from_utf8(text).is_err()).count();
    if odd_texts > 0 {
        let what = "names are not UTF-8: their invalid bytes are left out and shown as U+FFFD";
        profile.comments.push(format!("{odd_texts} {what}"));
    }
    profile.comments.extend(skipped.report("sample"));
    profile.comments.extend(missing.map(|(n, first)| {
        format!("{n} references are invalid, the first is {first}: the names are left out as unknown")
    }));
    if twice > 0 {
        let what =
            "functions or locations have the id of an earlier one, as in joined files: they are left out";
        profile.comments.push(format!("{twice} {what}"));
    }
    if shortened > 0 {
        let (s, end) = if shortened == 1 { ("", "ends") } else { ("s", "end") };
        let what = "the functions that it calls are left out, as the profile's drop_frames asks";
        profile.comments.push(format!("{shortened} sample{s} {end} at a caller: {what}"));
    }
    if odd > 0 {
        let what = "samples have another number of values than there are types: missing ones are 0, others are left out";
        profile.comments.push(format!("{odd} {what}"));
    }
    Ok(profile)
}

/// Returns why there is no sample; `None` for an intact profile without samples.
fn error(decoded: &Decoded, skipped: &Skipped, len: usize) -> Option<ProfileError> {
    let known =
        |at: usize| fail(Format::Pprof, format!("byte {at} of {len}"), "no field of a profile begins there");
    decoded.cut.map(known).or_else(|| {
        let damaged = decoded.skipped.error(Format::Pprof, "the field at byte");
        damaged.or_else(|| skipped.error(Format::Pprof, "sample"))
    })
}

fn damage(decoded: &Decoded) -> Vec<String> {
    let cut = decoded
        .cut
        .map(|at| format!("the profile is damaged or cut short at byte {at}: the rest is left out"));
    cut.into_iter().chain(decoded.skipped.report("field at byte")).collect()
}

struct Reader<'a> {
    raw: &'a schema::Profile,
    profile: Profile,
    texts: Vec<StrId>,
    modules: HashMap<u64, ModuleId, RandomState>,
    /// Frames of each location, the outermost first.
    locations: HashMap<u64, Vec<FrameId>, RandomState>,
    skipped: Skipped,
    /// Number of invalid references, and the first one.
    missing: Option<(u64, String)>,
    /// Number of samples with too many or too few values.
    odd: u64,
    /// Locations whose functions are left out, by `drop_frames`.
    pruned: HashMap<u64, Pruned, RandomState>,
    /// Number of samples without some of their frames for that reason.
    shortened: u64,
    /// Number of functions and locations that differ from an earlier one with their id.
    twice: u64,
}

impl<'a> Reader<'a> {
    fn new(raw: &'a schema::Profile) -> Self {
        let text = |i: i64| usize::try_from(i).ok().filter(|i| *i > 0).and_then(|i| raw.string_table.get(i));
        let text = |i: i64| text(i).map(|t| String::from_utf8_lossy(t).into_owned()).unwrap_or_default();
        let mut types: Vec<_> = raw.sample_type.iter().map(|t| (text(t.kind), text(t.unit))).collect();
        // Without types, values are counts of samples.
        let width = raw.sample.iter().map(|s| s.value.len()).max().unwrap_or(0);
        if types.is_empty() && width > 1 {
            types = (1..=width).map(|i| (format!("value {i}"), "count".to_owned())).collect();
        }
        let types: Vec<_> = types.iter().map(|(kind, unit)| (kind.as_str(), unit.as_str())).collect();
        let mut profile = Profile::new(&types);
        // Text 0 means no text, regardless of its contents.
        let other = raw.string_table.iter().skip(1);
        let mut texts = vec![StrId::default()];
        texts.extend(other.map(|text| profile.intern(&String::from_utf8_lossy(text))));
        let (modules, locations, skipped, missing) = Default::default();
        let pruned = HashMap::default();
        Self {
            raw,
            profile,
            texts,
            modules,
            locations,
            skipped,
            missing,
            odd: 0,
            pruned,
            shortened: 0,
            twice: 0,
        }
    }

    fn read(&mut self) {
        let raw = self.raw;
        (self.profile.time_ns, self.profile.duration_ns) = (raw.time_nanos, raw.duration_nanos);
        self.profile.period = raw.period;
        self.profile.period_type =
            raw.period_type.as_ref().map(|t| ValueType { kind: self.text(t.kind), unit: self.text(t.unit) });
        self.default_value();
        for comment in &raw.comment {
            let id = self.text(*comment);
            let text = self.profile.text(id).to_owned();
            self.profile.comments.push(text);
        }
        self.mappings();
        self.locations();
        self.prune();
        for (n, sample) in raw.sample.iter().enumerate() {
            self.sample(n as u64 + 1, sample);
        }
    }

    /// Returns the default value named in the file, else the last one, as `profile.proto` defines.
    fn default_value(&mut self) {
        let name = self.text(self.raw.default_sample_type);
        let types = self.profile.value_types();
        let named = types.iter().position(|t| t.kind == name && name != StrId::default());
        self.profile.default_value = named.unwrap_or(types.len().saturating_sub(1));
    }

    fn text(&mut self, at: i64) -> StrId {
        match usize::try_from(at).ok().and_then(|at| self.texts.get(at)) {
            Some(id) => *id,
            None => {
                self.is_missing(|| format!("string {at}"));
                StrId::default()
            }
        }
    }

    fn is_missing(&mut self, what: impl FnOnce() -> String) {
        self.missing.get_or_insert_with(|| (0, what())).0 += 1;
    }

    fn mappings(&mut self) {
        for mapping in &self.raw.mapping {
            let (path, build_id) = (self.text(mapping.filename), self.text(mapping.build_id));
            let (start, end, offset) = (mapping.start, mapping.limit, mapping.offset);
            let module = self.profile.module(Module { path, build_id, start, end, offset });
            self.modules.entry(mapping.id).or_insert(module);
        }
    }

    fn locations(&mut self) {
        let mut functions: HashMap<u64, &schema::Function, RandomState> = HashMap::default();
        let mut twice = 0;
        // Of two functions with one id, the first counts.
        for function in &self.raw.function {
            let first = *functions.entry(function.id).or_insert(function);
            twice += u64::from(first != function);
        }
        for location in &self.raw.location {
            let module = self.modules.get(&location.mapping_id).copied();
            if module.is_none() && location.mapping_id != 0 {
                self.is_missing(|| format!("mapping {}", location.mapping_id));
            }
            let base = Frame { module, address: location.address, ..Frame::default() };
            let mut frames = Vec::with_capacity(location.line.len().max(1));
            for line in location.line.iter().rev() {
                let mut frame = Frame { inlined: !frames.is_empty(), ..base };
                if let Some(f) = functions.get(&line.function_id) {
                    frame.function = self.text(f.name);
                    frame.system_name = self.text(f.system_name);
                    frame.file = self.text(f.filename);
                    if frame.function == StrId::default() {
                        frame.function = frame.system_name;
                    }
                } else if line.function_id != 0 {
                    self.is_missing(|| format!("function {}", line.function_id));
                }
                frame.line = u32::try_from(line.line).unwrap_or(0);
                frame.column = u32::try_from(line.column).unwrap_or(0);
                frames.push(self.profile.add_frame(frame));
            }
            if frames.is_empty() {
                frames.push(self.profile.add_frame(base));
            }
            match self.locations.entry(location.id) {
                Entry::Vacant(new) => {
                    new.insert(frames);
                }
                Entry::Occupied(first) => twice += u64::from(*first.get() != frames),
            }
        }
        self.twice = twice;
    }

    /// Applies the profile's `drop_frames` to its locations.
    fn prune(&mut self) {
        let (drop, keep) = (self.text(self.raw.drop_frames), self.text(self.raw.keep_frames));
        let pruning = match Pruning::new(self.profile.text(drop), self.profile.text(keep)) {
            Ok(Some(pruning)) => pruning,
            Ok(None) => return,
            Err(e) => {
                let why = e.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
                let what = format!("no frame is dropped: the profile's expression is left out: {why}");
                return self.profile.comments.push(what);
            }
        };
        for (id, frames) in &mut self.locations {
            let names = frames.iter().map(|frame| self.profile.text(self.profile.frame(*frame).function));
            let Some(pruned) = pruning.of_location(names) else { continue };
            if let Pruned::From(place) = pruned {
                frames.truncate(place);
            }
            self.pruned.insert(*id, pruned);
        }
    }

    fn sample(&mut self, n: u64, sample: &schema::Sample) {
        let mut stack = StackId::ROOT;
        let kept = prune::kept(&sample.location_id, |id| self.pruned.get(&id).copied());
        self.shortened += u64::from(kept.len() < sample.location_id.len());
        for id in kept.iter().rev() {
            let Some(frames) = self.locations.get(id) else {
                return self.skipped.add(n, || format!("there is no location {id}"));
            };
            stack = frames.iter().fold(stack, |caller, frame| self.profile.push(caller, *frame));
        }
        self.odd += u64::from(sample.value.len() != self.profile.value_types().len());
        let (labels, time) = self.labels(sample);
        match time {
            Some(time) => self.profile.add_at(time, stack, labels, &sample.value),
            None => self.profile.add(stack, labels, &sample.value),
        }
    }

    fn labels(&mut self, sample: &schema::Sample) -> (LabelsId, Option<u64>) {
        let (mut labels, mut time) = (Vec::new(), None);
        for label in &sample.label {
            let key = self.text(label.key);
            if self.profile.text(key) == TIME_LABEL && label.number != 0 {
                time = u64::try_from(label.number.saturating_sub(self.raw.time_nanos)).ok();
                continue;
            }
            let value = match label.text {
                0 => LabelValue::Number(label.number, self.text(label.unit)),
                text => LabelValue::Text(self.text(text)),
            };
            labels.push(Label { key, value });
        }
        (self.profile.labels(&labels), time)
    }
}
