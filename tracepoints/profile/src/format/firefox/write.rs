//! Writes a profile in Firefox's form: one of its threads for each thread, a category for each stage.
use std::{collections::BTreeMap, hash::Hash};

use ahash::RandomState;
use indexmap::{IndexMap, IndexSet};
use serde_json::{Value, json};

use super::schema::{
    FrameTable, FuncTable, Lib, ResourceTable, Samples, StackTable, Tables, Thread, VERSION,
};
use crate::model::{FrameId, LabelValue, LabelsId, ModuleId, Profile, Sample, StackId, keys};

const COLORS: [&str; 9] =
    ["blue", "green", "orange", "purple", "yellow", "red", "lightblue", "brown", "magenta"];

type Table<T> = IndexSet<T, RandomState>;

/// Writes one kind of value. Samples without a time follow one another; the duration of each is its weight.
pub fn write(profile: &Profile, value: usize, name: &str) -> String {
    let mut categories: Table<String> = Table::from_iter(["Other".to_owned()]);
    let mut threads: BTreeMap<(String, String, String), ThreadWriter<'_>> = BTreeMap::new();
    for sample in profile.samples() {
        let weight = sample.values.get(value).copied().unwrap_or(0);
        if weight <= 0 {
            continue;
        }
        let of = |key| profile.label(sample.labels, key).unwrap_or_default();
        let category = match of(keys::STAGE) {
            stage if stage.is_empty() => 0,
            stage => categories.insert_full(stage).0,
        };
        let thread = threads.entry((of(keys::PID), of(keys::THREAD), of(keys::TID)));
        let thread = thread.or_insert_with(|| ThreadWriter::new(profile, sample.labels));
        thread.add(&sample, weight, category);
    }
    let interval = interval_ms(profile);
    let (weight_type, one) = (weight_type(profile, value), 10f64.powi(profile.decimals(value) as i32));
    let threads: Vec<Thread> =
        threads.into_values().map(|thread| thread.finish(name, interval, weight_type, one)).collect();
    let file = json!({
        "meta": meta(profile, name, interval, &categories),
        "libs": profile.modules().map(|m| lib(profile, m)).collect::<Vec<_>>(),
        "threads": threads,
        "pages": [], "profilerOverhead": [], "counters": [],
    });
    file.to_string()
}

fn interval_ms(profile: &Profile) -> f64 {
    let ns = profile.period_type.is_some_and(|t| profile.text(t.unit) == "nanoseconds");
    if ns && profile.period > 0 { profile.period as f64 / 1e6 } else { 1.0 }
}

fn weight_type(profile: &Profile, value: usize) -> &'static str {
    match profile.value_types().get(value).map_or("", |v| profile.text(v.unit)) {
        "nanoseconds" | "microseconds" | "milliseconds" | "seconds" => "tracing-ms",
        "bytes" => "bytes",
        _ => "samples",
    }
}

fn meta(profile: &Profile, name: &str, interval: f64, categories: &Table<String>) -> Value {
    let color = |i: usize| if i == 0 { "grey" } else { COLORS[(i - 1) % COLORS.len()] };
    let categories = categories.iter().enumerate();
    let categories: Vec<_> = categories
        .map(|(i, name)| json!({ "name": name, "color": color(i), "subcategories": ["Other"] }))
        .collect();
    json!({
        "version": 24, "preprocessedProfileVersion": VERSION, "processType": 0,
        "product": name, "startTime": profile.time_ns as f64 / 1e6, "interval": interval,
        "stackwalk": 1, "debug": false, "symbolicated": true, "usesOnlyOneStackType": true,
        "doesNotUseFrameImplementation": true, "sourceCodeIsNotOnSearchfox": true,
        "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns" },
        "categories": categories, "markerSchema": [], "pausedRanges": [],
        "extensions": { "length": 0, "id": [], "name": [], "baseURL": [] },
    })
}

fn lib(profile: &Profile, module: &crate::model::Module) -> Lib {
    let path = profile.text(module.path).to_owned();
    let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    let build_id = profile.text(module.build_id);
    Lib {
        arch: None,
        debug_name: name.clone(),
        debug_path: path.clone(),
        // The key for symbol servers, 32 digits of an identifier and the age; empty if there is none.
        breakpad_id: if build_id.is_empty() {
            String::new()
        } else {
            format!("{build_id:0<32.32}0").to_uppercase()
        },
        code_id: (!build_id.is_empty()).then(|| build_id.to_owned()),
        name,
        path,
    }
}

/// Collects the tables of one thread.
struct ThreadWriter<'a> {
    profile: &'a Profile,
    labels: LabelsId,
    strings: Table<String>,
    funcs: Table<(usize, i64, Option<usize>)>,
    frames: Table<(FrameId, usize)>,
    frame_funcs: Vec<usize>,
    stacks: IndexMap<(StackId, usize), (Option<usize>, usize), RandomState>,
    resources: Table<ModuleId>,
    resource_names: Vec<usize>,
    /// Time if known, stack, weight.
    samples: Vec<(Option<u64>, Option<usize>, i64)>,
}

fn put<T: Hash + Eq>(table: &mut Table<T>, row: T) -> usize {
    table.insert_full(row).0
}

impl<'a> ThreadWriter<'a> {
    fn new(profile: &'a Profile, labels: LabelsId) -> Self {
        Self {
            profile,
            labels,
            strings: Table::default(),
            funcs: Table::default(),
            frames: Table::default(),
            frame_funcs: Vec::new(),
            stacks: IndexMap::default(),
            resources: Table::default(),
            resource_names: Vec::new(),
            samples: Vec::new(),
        }
    }

    fn add(&mut self, sample: &Sample<'_>, weight: i64, category: usize) {
        let stack = self.stack(sample.stack, category);
        self.samples.push((sample.time_ns, stack, weight));
    }

    fn stack(&mut self, stack: StackId, category: usize) -> Option<usize> {
        // Up from the innermost frame to a known one, then down again: stacks may be too deep for recursion.
        let (mut at, mut missing) = (stack, Vec::new());
        let mut prefix = loop {
            if let Some(known) = self.stacks.get_index_of(&(at, category)) {
                break Some(known);
            }
            let Some((caller, frame)) = self.profile.node(at) else { break None };
            missing.push((at, frame));
            at = caller;
        };
        for (node, frame) in missing.into_iter().rev() {
            let frame = self.frame(frame, category);
            prefix = Some(self.stacks.insert_full((node, category), (prefix, frame)).0);
        }
        prefix
    }

    fn frame(&mut self, id: FrameId, category: usize) -> usize {
        let (at, new) = self.frames.insert_full((id, category));
        if new {
            let frame = self.profile.frame(id);
            let name = put(&mut self.strings, self.profile.frame_name(id));
            let resource = frame.module.map_or(-1, |module| self.resource(module));
            let file = self.profile.text(frame.file);
            let file = (!file.is_empty()).then(|| put(&mut self.strings, file.to_owned()));
            self.frame_funcs.push(put(&mut self.funcs, (name, resource, file)));
        }
        at
    }

    fn resource(&mut self, module: ModuleId) -> i64 {
        let (at, new) = self.resources.insert_full(module);
        if new {
            let path = self.profile.module_of(module).map_or("", |m| self.profile.text(m.path));
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            self.resource_names.push(put(&mut self.strings, name));
        }
        at as i64
    }

    fn number(&self, key: &str) -> Option<i64> {
        let label = self.profile.labels_of(self.labels).iter().find(|l| self.profile.text(l.key) == key)?;
        match label.value {
            LabelValue::Number(n, _) => Some(n),
            LabelValue::Text(text) => self.profile.text(text).parse().ok(),
        }
    }

    fn finish(mut self, process: &str, interval: f64, weight_type: &str, one: f64) -> Thread {
        let name = self.profile.label(self.labels, keys::THREAD).unwrap_or_else(|| process.to_owned());
        let (pid, tid) = (self.number(keys::PID), self.number(keys::TID));
        let process = self.profile.label(self.labels, keys::PROCESS).unwrap_or_else(|| process.to_owned());
        let (samples, end) = self.samples(interval, weight_type, one);
        let fixed = json!({
            "processType": "default", "isMainThread": pid.is_some() && pid == tid, "registerTime": 0.0,
            "unregisterTime": end, "processStartupTime": 0.0, "processShutdownTime": end, "pausedRanges": [],
            "showMarkersInTimeline": false,
            "nativeSymbols": { "length": 0, "address": [], "functionSize": [], "libIndex": [], "name": [] },
            "markers": { "length": 0, "category": [], "data": [], "endTime": [], "name": [], "phase": [],
                "startTime": [] },
        });
        Thread {
            tables: self.tables(),
            samples,
            name,
            process_name: Some(process),
            pid: Value::from(pid.unwrap_or(0).to_string()),
            tid: tid.unwrap_or(0).into(),
            fixed: Some(fixed),
        }
    }

    fn samples(&mut self, interval: f64, weight_type: &str, one: f64) -> (Samples, f64) {
        let ms = weight_type == "tracing-ms";
        self.samples.sort_by_key(|sample| sample.0);
        let (mut deltas, mut weights) = (Vec::new(), Vec::new());
        // Start of the next sample without a time, and of the last sample.
        let (mut next, mut last) = (0.0, 0.0);
        for (time, _, weight) in &self.samples {
            let weight = *weight as f64 / if ms { 1e6 } else { one };
            let now = time.map_or(next, |time| time as f64 / 1e6);
            deltas.push(now - last);
            last = now;
            next = now + if ms { weight } else { weight * interval };
            weights.push(weight);
        }
        let samples = Samples {
            length: deltas.len(),
            stack: self.samples.iter().map(|sample| sample.1).collect(),
            time_deltas: Some(deltas),
            weight: Some(weights),
            weight_type: Some(weight_type.to_owned()),
        };
        (samples, next)
    }

    fn tables(self) -> Tables {
        let (profile, n) = (self.profile, self.frames.len());
        let of = |id: &FrameId| *profile.frame(*id);
        let address = |frame: crate::model::Frame| {
            let module = frame.module.and_then(|m| profile.module_of(m));
            let offset = module.filter(|_| frame.address != 0).map(|m| m.file_offset(frame.address));
            offset.and_then(|offset| i64::try_from(offset).ok()).unwrap_or(-1)
        };
        let some = |n: u32| (n != 0).then_some(n);
        let frames = || self.frames.iter().map(|(id, _)| of(id));
        let frame_table = FrameTable {
            length: n,
            address: frames().map(address).collect(),
            inline_depth: frames().map(|f| u32::from(f.inlined)).collect(),
            category: self.frames.iter().map(|(_, category)| Some(*category)).collect(),
            subcategory: vec![Some(0); n],
            func: self.frame_funcs,
            native_symbol: vec![None; n],
            inner_window_id: vec![Some(0); n],
            line: frames().map(|f| some(f.line)).collect(),
            column: frames().map(|f| some(f.column)).collect(),
        };
        let n = self.funcs.len();
        let func_table = FuncTable {
            length: n,
            name: self.funcs.iter().map(|f| f.0).collect(),
            is_js: vec![false; n],
            relevant_for_js: vec![false; n],
            resource: self.funcs.iter().map(|f| f.1).collect(),
            file_name: self.funcs.iter().map(|f| f.2).collect(),
            line_number: vec![None; n],
            column_number: vec![None; n],
        };
        let n = self.resources.len();
        Tables {
            frame_table: Some(frame_table),
            func_table: Some(func_table),
            stack_table: Some(StackTable {
                length: self.stacks.len(),
                prefix: self.stacks.values().map(|s| s.0).collect(),
                frame: self.stacks.values().map(|s| s.1).collect(),
            }),
            resource_table: Some(ResourceTable {
                length: n,
                lib: self.resources.iter().map(|m| Some(m.index())).collect(),
                name: self.resource_names,
                host: vec![None; n],
                kind: vec![1; n],
            }),
            string_array: Some(self.strings.into_iter().collect()),
        }
    }
}
