//! speedscope's own JSON form, both ways. One of its profiles is one thread.
mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{FrameId, Profile, keys};

pub use read::read;

const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

#[derive(Default, Serialize, Deserialize)]
struct File {
    #[serde(rename = "$schema", default)]
    schema: String,
    shared: Shared,
    profiles: Vec<Part>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    exporter: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Shared {
    frames: Vec<SharedFrame>,
}

#[derive(Default, Serialize, Deserialize)]
struct SharedFrame {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    col: Option<u32>,
}

#[derive(Serialize, Deserialize)]
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
    #[serde(rename_all = "camelCase")]
    Evented { name: String, unit: String, end_value: f64, events: Vec<Event> },
}

/// A frame is entered or left.
#[derive(Serialize, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: char,
    at: f64,
    frame: usize,
}

/// Writes one kind of weight. Labels other than the thread have no place in this form.
pub fn write(profile: &Profile, value: usize, name: &str) -> String {
    let unit = profile.value_types().get(value).map_or("", |v| profile.text(v.unit));
    let unit = match unit {
        "bytes" | "nanoseconds" | "microseconds" | "milliseconds" | "seconds" => unit,
        _ => "none",
    };
    let mut threads: BTreeMap<String, (Vec<Vec<usize>>, Vec<f64>)> = BTreeMap::new();
    for sample in profile.samples() {
        let weight = sample.values.get(value).copied().unwrap_or(0);
        if weight > 0 {
            let thread = profile.label(sample.labels, keys::THREAD).unwrap_or_default();
            let (samples, weights) = threads.entry(thread).or_default();
            samples.push(profile.frames_of(sample.stack).into_iter().map(FrameId::index).collect());
            weights.push(weight as f64);
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
    // Texts, numbers and lists of them always are JSON.
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
mod tests {
    use super::*;
    use crate::{FoldOptions, model::sample_profile};

    #[test]
    fn stacks_threads_and_lines_are_read_again() {
        let profile = sample_profile();
        for value in [0, 1] {
            let again = read(write(&profile, value, "two threads").as_bytes()).unwrap();
            let options = FoldOptions { value, ..FoldOptions::default() };
            assert_eq!(again.fold(&FoldOptions::default()), profile.fold(&options));
            let seek = again.frames().find(|f| again.text(f.function) == "seek").unwrap();
            assert_eq!((again.text(seek.file), seek.line), ("src/get.rs", 41));
            let unit = again.value_types()[0].unit;
            assert_eq!(again.text(unit), ["count", "nanoseconds"][value]);
        }
    }

    #[test]
    fn events_become_the_time_between_them() {
        let json = r#"{"$schema": "x", "shared": {"frames": [{"name": "a"}, {"name": "b"}]}, "profiles": [
            {"type": "evented", "name": "t", "unit": "milliseconds", "startValue": 0, "endValue": 10, "events": [
                {"type": "O", "at": 0, "frame": 0}, {"type": "O", "at": 2, "frame": 1},
                {"type": "C", "at": 5.5, "frame": 1}, {"type": "C", "at": 10, "frame": 0}]}]}"#;
        let profile = read(json.as_bytes()).unwrap();
        let text = profile.fold(&FoldOptions::default()).to_string();
        assert_eq!(text, "t;a 6500000\nt;a;b 3500000\n");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let error = read(b"{\"shared\": {},\n\"profiles\": []}").unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
        let bad = r#"{"shared": {"frames": []}, "profiles": [
            {"type": "sampled", "name": "t", "unit": "none", "startValue": 0, "endValue": 1, "samples": [[4]], "weights": [1]}]}"#;
        let error = read(bad.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("profile 0") && error.contains("frame 4"), "{error}");
    }
}
