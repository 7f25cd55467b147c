//! pprof's protobuf as a profile.
use std::{collections::HashMap, io::Read as _};

use ahash::RandomState;
use flate2::read::MultiGzDecoder;
use prost::Message;

use super::{TIME_LABEL, locate::first_bad_field, schema};
use crate::{
    ProfileError,
    format::{Format, fail},
    model::{Frame, FrameId, Label, LabelValue, Module, ModuleId, Profile, StrId, ValueType},
};

/// A file that unpacks to more than this is taken for a bomb.
const MAX_UNPACKED: u64 = 2 << 30;

/// Reads pprof's protobuf, plain or in gzip.
///
/// # Errors
/// [`ProfileError::Format`] with the offset at which it stops to be one, or with what refers to something missing.
pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
    if bytes.starts_with(b"\x1f\x8b") {
        return parse(&unzip(bytes)?);
    }
    parse(bytes)
}

/// Unpacks gzip.
pub(crate) fn unzip(bytes: &[u8]) -> Result<Vec<u8>, ProfileError> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(MAX_UNPACKED + 1)
        .read_to_end(&mut plain)
        .map_err(|e| fail(Format::Gzip, format!("after {} unpacked bytes", plain.len()), e))?;
    if plain.len() as u64 > MAX_UNPACKED {
        return Err(fail(Format::Gzip, "the whole", "it unpacks to more than 2 GiB"));
    }
    Ok(plain)
}

fn parse(bytes: &[u8]) -> Result<Profile, ProfileError> {
    let raw = schema::Profile::decode(bytes)
        .map_err(|e| fail(Format::Pprof, format!("byte {}", first_bad_field(bytes)), e))?;
    Reader::new(&raw)?.read()
}

struct Reader<'a> {
    raw: &'a schema::Profile,
    profile: Profile,
    texts: Vec<StrId>,
    modules: HashMap<u64, ModuleId, RandomState>,
    /// Frames of each location, the outermost first.
    locations: HashMap<u64, Vec<FrameId>, RandomState>,
}

impl<'a> Reader<'a> {
    fn new(raw: &'a schema::Profile) -> Result<Self, ProfileError> {
        let at = |i: i64| usize::try_from(i).ok().and_then(|i| raw.string_table.get(i));
        let text = |i: i64, what: &str, n: usize| match at(i) {
            Some(text) => Ok(text.as_str()),
            None if i == 0 => Ok(""),
            None => Err(fail(Format::Pprof, format!("{what} {n}"), format!("there is no string {i}"))),
        };
        let mut types = Vec::new();
        for (n, value) in raw.sample_type.iter().enumerate() {
            types.push((text(value.kind, "sample type", n)?, text(value.unit, "sample type", n)?));
        }
        let mut profile = Profile::new(&types);
        let texts = raw.string_table.iter().map(|text| profile.intern(text)).collect();
        Ok(Self { raw, profile, texts, modules: HashMap::default(), locations: HashMap::default() })
    }

    fn text(&self, at: i64, what: &str, n: impl std::fmt::Display) -> Result<StrId, ProfileError> {
        let found = usize::try_from(at).ok().and_then(|at| self.texts.get(at).copied());
        match found {
            Some(id) => Ok(id),
            None if at == 0 => Ok(StrId::default()),
            None => Err(fail(Format::Pprof, format!("{what} {n}"), format!("there is no string {at}"))),
        }
    }

    fn read(mut self) -> Result<Profile, ProfileError> {
        let raw = self.raw;
        (self.profile.time_ns, self.profile.duration_ns) = (raw.time_nanos, raw.duration_nanos);
        self.profile.period = raw.period;
        if let Some(t) = &raw.period_type {
            let (kind, unit) = (self.text(t.kind, "period type", "")?, self.text(t.unit, "period type", "")?);
            self.profile.period_type = Some(ValueType { kind, unit });
        }
        for (n, comment) in raw.comment.iter().enumerate() {
            let id = self.text(*comment, "comment", n)?;
            let text = self.profile.text(id).to_owned();
            self.profile.comments.push(text);
        }
        self.mappings()?;
        self.locations()?;
        for (n, sample) in raw.sample.iter().enumerate() {
            self.sample(n, sample)?;
        }
        Ok(self.profile)
    }

    fn mappings(&mut self) -> Result<(), ProfileError> {
        for mapping in &self.raw.mapping {
            let path = self.text(mapping.filename, "mapping", mapping.id)?;
            let build_id = self.text(mapping.build_id, "mapping", mapping.id)?;
            let (start, end, offset) = (mapping.start, mapping.limit, mapping.offset);
            let module = self.profile.module(Module { path, build_id, start, end, offset });
            self.modules.insert(mapping.id, module);
        }
        Ok(())
    }

    fn locations(&mut self) -> Result<(), ProfileError> {
        let functions: HashMap<u64, &schema::Function, RandomState> =
            self.raw.function.iter().map(|f| (f.id, f)).collect();
        for location in &self.raw.location {
            let module = self.modules.get(&location.mapping_id).copied();
            let base = Frame { module, address: location.address, ..Frame::default() };
            let mut frames = Vec::with_capacity(location.line.len().max(1));
            for line in location.line.iter().rev() {
                let mut frame = Frame { inlined: !frames.is_empty(), ..base };
                if let Some(f) = functions.get(&line.function_id) {
                    frame.function = self.text(f.name, "function", f.id)?;
                    frame.system_name = self.text(f.system_name, "function", f.id)?;
                    frame.file = self.text(f.filename, "function", f.id)?;
                } else if line.function_id != 0 {
                    let what = format!("there is no function {}", line.function_id);
                    return Err(fail(Format::Pprof, format!("location {}", location.id), what));
                }
                frame.line = u32::try_from(line.line).unwrap_or(0);
                frame.column = u32::try_from(line.column).unwrap_or(0);
                frames.push(self.profile.add_frame(frame));
            }
            if frames.is_empty() {
                frames.push(self.profile.add_frame(base));
            }
            self.locations.insert(location.id, frames);
        }
        Ok(())
    }

    fn sample(&mut self, n: usize, sample: &schema::Sample) -> Result<(), ProfileError> {
        let mut stack = crate::model::StackId::ROOT;
        for id in sample.location_id.iter().rev() {
            let Some(frames) = self.locations.get(id) else {
                return Err(fail(Format::Pprof, format!("sample {n}"), format!("there is no location {id}")));
            };
            stack = frames.iter().fold(stack, |caller, frame| self.profile.push(caller, *frame));
        }
        let (mut labels, mut time) = (Vec::new(), None);
        for label in &sample.label {
            let key = self.text(label.key, "label of sample", n)?;
            if self.profile.text(key) == TIME_LABEL && label.number != 0 {
                time = u64::try_from(label.number.saturating_sub(self.raw.time_nanos)).ok();
                continue;
            }
            let value = match label.text {
                0 => LabelValue::Number(label.number, self.text(label.unit, "label of sample", n)?),
                text => LabelValue::Text(self.text(text, "label of sample", n)?),
            };
            labels.push(Label { key, value });
        }
        let labels = self.profile.labels(&labels);
        match time {
            Some(time) => self.profile.add_at(time, stack, labels, &sample.value),
            None => self.profile.add(stack, labels, &sample.value),
        }
        Ok(())
    }
}
