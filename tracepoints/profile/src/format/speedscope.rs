//! Reads and writes speedscope's own JSON form. One of its profiles is one thread.
mod events;
mod read;
mod schema;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{FrameId, Profile, keys};

pub use read::read;

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

#[derive(Serialize)]
struct File {
    #[serde(rename = "$schema")]
    schema: String,
    shared: Shared,
    profiles: Vec<Part>,
    name: Option<String>,
    exporter: Option<String>,
}

#[derive(Serialize)]
struct Shared {
    frames: Vec<SharedFrame>,
}

#[derive(Serialize)]
struct SharedFrame {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    col: Option<u32>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Part {
    #[serde(rename_all = "camelCase")]
    Sampled {
        name: String,
        unit: String,
        start_value: f64,
        end_value: f64,
        /// Frames, the outermost first.
        samples: Vec<Vec<usize>>,
        weights: Vec<f64>,
    },
}

/// Writes one kind of value. The form has no labels other than the thread.
pub fn write(profile: &Profile, value: usize, name: &str) -> String {
    let unit = profile.value_types().get(value).map_or("", |v| profile.text(v.unit));
    let unit = match unit {
        "bytes" | "nanoseconds" | "microseconds" | "milliseconds" | "seconds" => unit,
        _ => "none",
    };
    let one = 10f64.powi(profile.decimals(value) as i32);
    let mut threads: BTreeMap<String, (Vec<Vec<usize>>, Vec<f64>)> = BTreeMap::new();
    for sample in profile.samples() {
        let weight = sample.values.get(value).copied().unwrap_or(0);
        if weight > 0 {
            let thread = profile.label(sample.labels, keys::THREAD).unwrap_or_default();
            let (samples, weights) = threads.entry(thread).or_default();
            samples.push(profile.frames_of(sample.stack).into_iter().map(FrameId::index).collect());
            weights.push(weight as f64 / one);
        }
    }
    let profiles = threads.into_iter().map(|(thread, (samples, weights))| Part::Sampled {
        name: if thread.is_empty() { name.to_owned() } else { thread },
        unit: unit.to_owned(),
        start_value: 0.0,
        end_value: weights.iter().sum(),
        samples,
        weights,
    });
    let file = File {
        schema: SCHEMA.to_owned(),
        shared: Shared { frames: (0..profile.frames().len()).map(|i| frame(profile, i)).collect() },
        profiles: profiles.collect(),
        name: Some(name.to_owned()),
        exporter: Some("tikv-ctl".to_owned()),
    };
    // Texts, numbers and lists of them can always be encoded.
    serde_json::to_string(&file).unwrap_or_default()
}

fn frame(profile: &Profile, at: usize) -> SharedFrame {
    let id = FrameId(at as u32);
    let f = profile.frame(id);
    let file = profile.text(f.file);
    SharedFrame {
        name: profile.frame_name(id),
        file: (!file.is_empty()).then(|| file.to_owned()),
        line: (f.line != 0).then_some(f.line),
        col: (f.column != 0).then_some(f.column),
    }
}

#[cfg(test)]
mod tests;
