//! speedscope's JSON as a profile.
use super::{Event, File, Part};
use crate::{
    ProfileError,
    format::{Format, fail},
    model::{Frame, FrameId, LabelsId, Profile, StackId, keys},
};

/// Reads sampled and evented profiles; times become ns.
///
/// # Errors
/// [`ProfileError::Format`] with the line, or the profile that refers to a frame which is not there.
pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
    let file: File = serde_json::from_slice(bytes)
        .map_err(|e| fail(Format::Speedscope, format!("line {} column {}", e.line(), e.column()), e))?;
    let mut units: Vec<(&str, &str, f64)> = Vec::new();
    for part in &file.profiles {
        let unit = weight(part);
        if !units.iter().any(|known| known.0 == unit.0) {
            units.push(unit);
        }
    }
    let types: Vec<_> = units.iter().map(|unit| (unit.0, unit.1)).collect();
    let mut profile = Profile::new(&types);
    let frames: Vec<FrameId> = file.shared.frames.iter().map(|f| add(&mut profile, f)).collect();
    let single = file.profiles.len() == 1;
    for (n, part) in file.profiles.iter().enumerate() {
        let (kind, _, scale) = weight(part);
        let at = units.iter().position(|unit| unit.0 == kind).unwrap_or(0);
        let mut values = vec![0; units.len()];
        let missing =
            |frame| fail(Format::Speedscope, format!("profile {n}"), format!("there is no frame {frame}"));
        let (Part::Sampled { name, .. } | Part::Evented { name, .. }) = part;
        // The one profile of a file bears the file's name; of several, each is a thread.
        let thread = !(single && file.name.as_ref() == Some(name));
        let labels = if thread { profile.text_labels(&[(keys::THREAD, name)]) } else { LabelsId::default() };
        let mut put = |profile: &mut Profile, stack, weight: f64| {
            values[at] = (weight * scale).round() as i64;
            profile.add(stack, labels, &values);
        };
        match part {
            Part::Sampled { samples, weights, .. } => {
                for (sample, weight) in samples.iter().zip(weights) {
                    let mut stack = StackId::ROOT;
                    for frame in sample {
                        let frame = *frames.get(*frame).ok_or_else(|| missing(*frame))?;
                        stack = profile.push(stack, frame);
                    }
                    put(&mut profile, stack, *weight);
                }
            }
            Part::Evented { events, .. } => {
                let mut open: Vec<StackId> = Vec::new();
                let mut last = events.first().map_or(0.0, |e| e.at);
                for Event { kind, at, frame } in events {
                    let stack = open.last().copied().unwrap_or(StackId::ROOT);
                    if *at > last && stack != StackId::ROOT {
                        put(&mut profile, stack, at - last);
                    }
                    last = *at;
                    if *kind == 'O' {
                        let frame = *frames.get(*frame).ok_or_else(|| missing(*frame))?;
                        open.push(profile.push(stack, frame));
                    } else {
                        open.pop();
                    }
                }
            }
        }
    }
    Ok(profile)
}

fn add(profile: &mut Profile, frame: &super::SharedFrame) -> FrameId {
    let function = profile.intern(&frame.name);
    let file = profile.intern(frame.file.as_deref().unwrap_or_default());
    let (line, column) = (frame.line.unwrap_or(0), frame.col.unwrap_or(0));
    profile.add_frame(Frame { function, file, line, column, ..Frame::default() })
}

/// Kind, unit, and the factor to it.
fn weight(part: &Part) -> (&'static str, &'static str, f64) {
    let (Part::Sampled { unit, .. } | Part::Evented { unit, .. }) = part;
    match unit.as_str() {
        "bytes" => ("space", "bytes", 1.0),
        "nanoseconds" => ("time", "nanoseconds", 1.0),
        "microseconds" => ("time", "nanoseconds", 1e3),
        "milliseconds" => ("time", "nanoseconds", 1e6),
        "seconds" => ("time", "nanoseconds", 1e9),
        _ => ("samples", "count", 1.0),
    }
}
