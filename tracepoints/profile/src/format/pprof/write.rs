//! Writes a profile as pprof's protobuf.
use std::{collections::HashMap, io::Write as _};

use ahash::RandomState;
use flate2::{Compression, write::GzEncoder};
use prost::Message;

use super::{TIME_LABEL, schema};
use crate::model::{FrameId, Label, LabelValue, Profile, Sample, StackId, StrId, ValueType};

/// Writes plain protobuf.
pub fn write(profile: &Profile) -> Vec<u8> {
    Writer::new(profile).finish().encode_to_vec()
}

/// Writes gzipped protobuf, the usual form of pprof's files.
pub fn write_gzip(profile: &Profile) -> Vec<u8> {
    let plain = write(profile);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    let written = gzip.write_all(&plain).and_then(|()| gzip.finish());
    written.unwrap_or(plain)
}

struct Writer<'a> {
    profile: &'a Profile,
    out: schema::Profile,
    functions: HashMap<schema::Function, u64, RandomState>,
    locations: HashMap<Vec<FrameId>, u64, RandomState>,
    stacks: HashMap<StackId, Vec<u64>, RandomState>,
    time_label: i64,
    ns: i64,
}

fn text(id: StrId) -> i64 {
    id.index() as i64
}

fn value_type(value: &ValueType) -> schema::ValueType {
    schema::ValueType { kind: text(value.kind), unit: text(value.unit) }
}

impl<'a> Writer<'a> {
    fn new(profile: &'a Profile) -> Self {
        let mut out = schema::Profile {
            sample_type: profile.value_types().iter().map(value_type).collect(),
            string_table: profile.strings().map(|text| text.as_bytes().to_vec()).collect(),
            time_nanos: profile.time_ns,
            duration_nanos: profile.duration_ns,
            period_type: profile.period_type.as_ref().map(value_type),
            period: profile.period,
            default_sample_type: profile.value_types().get(profile.default_value).map_or(0, |v| text(v.kind)),
            ..schema::Profile::default()
        };
        let mut more = |text: &str| {
            out.string_table.push(text.as_bytes().to_vec());
            out.string_table.len() as i64 - 1
        };
        let comments = profile.comments.iter().map(|text| more(text)).collect();
        let (time_label, ns) =
            if profile.is_timed() { (more(TIME_LABEL), more("nanoseconds")) } else { (0, 0) };
        out.comment = comments;
        let (functions, locations, stacks) = Default::default();
        Self { profile, out, functions, locations, stacks, time_label, ns }
    }

    fn finish(mut self) -> schema::Profile {
        for sample in self.profile.samples() {
            let sample = self.sample(&sample);
            self.out.sample.push(sample);
        }
        self.mappings();
        self.out
    }

    fn sample(&mut self, sample: &Sample<'_>) -> schema::Sample {
        let mut label: Vec<_> = self.profile.labels_of(sample.labels).iter().map(to_label).collect();
        if let Some(time) = sample.time_ns {
            let number = self.profile.time_ns.saturating_add_unsigned(time);
            label.push(schema::Label { key: self.time_label, number, unit: self.ns, text: 0 });
        }
        let location_id = match self.stacks.get(&sample.stack) {
            Some(known) => known.clone(),
            None => {
                let ids = self.stack(sample.stack);
                self.stacks.insert(sample.stack, ids.clone());
                ids
            }
        };
        schema::Sample { location_id, value: sample.values.to_vec(), label }
    }

    /// Returns locations from the innermost; inlined frames share the location of their physical function.
    fn stack(&mut self, stack: StackId) -> Vec<u64> {
        let (mut ids, mut inlined) = (Vec::new(), Vec::new());
        for frame in self.profile.walk(stack) {
            inlined.push(frame);
            if !self.profile.frame(frame).inlined {
                ids.push(self.location(std::mem::take(&mut inlined)));
            }
        }
        // The outermost frame claims to be inlined: its caller was not recorded.
        if !inlined.is_empty() {
            ids.push(self.location(inlined));
        }
        ids
    }

    fn location(&mut self, frames: Vec<FrameId>) -> u64 {
        if let Some(id) = self.locations.get(&frames) {
            return *id;
        }
        let id = self.out.location.len() as u64 + 1;
        let host = self.profile.frame(frames[frames.len() - 1]);
        let location = schema::Location {
            id,
            mapping_id: host.module.map_or(0, |m| m.index() as u64 + 1),
            address: host.address,
            line: frames.iter().filter_map(|frame| self.line(*frame)).collect(),
        };
        self.out.location.push(location);
        self.locations.insert(frames, id);
        id
    }

    /// Makes a line; `None` for a frame with only an address.
    fn line(&mut self, frame: FrameId) -> Option<schema::Line> {
        let frame = self.profile.frame(frame);
        if (frame.function, frame.file, frame.line) == (StrId::default(), StrId::default(), 0)
            && !frame.inlined
            && (frame.address != 0 || frame.module.is_some())
        {
            return None;
        }
        let function = schema::Function {
            id: 0,
            name: text(frame.function),
            system_name: text(frame.system_name),
            filename: text(frame.file),
        };
        let next = self.out.function.len() as u64 + 1;
        let id = *self.functions.entry(function).or_insert(next);
        if id == next {
            self.out.function.push(schema::Function { id, ..function });
        }
        Some(schema::Line { function_id: id, line: frame.line.into(), column: frame.column.into() })
    }

    fn mappings(&mut self) {
        for (i, module) in self.profile.modules().enumerate() {
            let id = i as u64 + 1;
            let mut lines = self.out.location.iter().filter(|l| l.mapping_id == id).map(|l| &l.line);
            let has_functions = lines.clone().any(|l| !l.is_empty());
            self.out.mapping.push(schema::Mapping {
                id,
                start: module.start,
                limit: module.end,
                offset: module.offset,
                filename: text(module.path),
                build_id: text(module.build_id),
                has_functions,
                has_filenames: has_functions,
                has_line_numbers: lines.clone().flatten().any(|l| l.line != 0),
                has_inline_frames: lines.any(|l| l.len() > 1),
            });
        }
    }
}

fn to_label(label: &Label) -> schema::Label {
    let key = text(label.key);
    match label.value {
        LabelValue::Text(value) => schema::Label { key, text: text(value), ..schema::Label::default() },
        LabelValue::Number(number, unit) => schema::Label { key, number, unit: text(unit), text: 0 },
    }
}
