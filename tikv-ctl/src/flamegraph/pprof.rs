//! pprof's `profile.proto`, as far as stacks need it (google/pprof `proto/profile.proto`).

use std::collections::HashMap;

use prost::Message;
use tracepoints_profile::Folded;

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// Innermost first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    /// Innermost inlined function first.
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

/// Folds the first value of every sample; the thread, where it is told, is the outermost frame. The error says what is
/// wrong with `bytes`.
pub fn fold(bytes: &[u8]) -> Result<Folded, String> {
    if bytes.starts_with(b"\x1f\x8b") {
        return Err("the profile is compressed with gzip; expected plain protobuf".to_owned());
    }
    if bytes.starts_with(b"<?xml") || bytes.starts_with(b"<svg") {
        return Err("the server sent a picture; expected a profile in protobuf".to_owned());
    }
    let profile =
        Profile::decode(bytes).map_err(|e| format!("expected a profile in pprof's protobuf: {e}"))?;
    let text = |at: i64| {
        let text = usize::try_from(at).ok().and_then(|at| profile.string_table.get(at));
        text.map_or("", String::as_str)
    };
    let functions: HashMap<u64, &str> = profile.function.iter().map(|f| (f.id, text(f.name))).collect();
    let locations: HashMap<u64, Vec<String>> =
        profile.location.iter().map(|location| (location.id, frames(location, &functions))).collect();
    let mut folded = Folded::default();
    for sample in &profile.sample {
        let thread =
            sample.label.iter().find(|label| text(label.key) == "thread").map(|label| text(label.text));
        let known = sample.location_id.iter().rev().filter_map(|id| locations.get(id));
        let stack = thread.into_iter().map(str::to_owned).chain(known.flatten().cloned());
        folded.add(stack, sample.value.first().and_then(|v| u64::try_from(*v).ok()).unwrap_or(0));
    }
    Ok(folded)
}

/// The functions at a location, outermost first; its address where there are none.
fn frames(location: &Location, functions: &HashMap<u64, &str>) -> Vec<String> {
    let names: Vec<String> = location
        .line
        .iter()
        .rev()
        .filter_map(|line| functions.get(&line.function_id))
        .map(|name| (*name).to_owned())
        .collect();
    if names.is_empty() { vec![format!("{:#x}", location.address)] } else { names }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        let strings = ["", "thread", "apply-0", "main", "inlined", "leaf"];
        let function = |id, name| Function { id, name };
        let location = |id, functions: &[u64]| Location {
            id,
            address: 0x10 * id,
            line: functions.iter().map(|f| Line { function_id: *f }).collect(),
        };
        Profile {
            sample: vec![
                Sample {
                    location_id: vec![2, 1],
                    value: vec![3, 99],
                    label: vec![Label { key: 1, text: 2 }],
                },
                Sample { location_id: vec![3], value: vec![1], label: vec![] },
            ],
            location: vec![location(1, &[1]), location(2, &[3, 2]), location(3, &[])],
            function: vec![function(1, 3), function(2, 4), function(3, 5)],
            string_table: strings.map(str::to_owned).to_vec(),
        }
    }

    #[test]
    fn stacks_are_outermost_first_with_inlined_functions_and_threads() {
        let folded = fold(&profile().encode_to_vec()).unwrap();
        assert_eq!(folded.to_string(), "0x30 1\napply-0;main;inlined;leaf 3\n");
    }

    #[test]
    fn what_is_no_profile_is_told() {
        assert!(fold(b"\x1f\x8b\x08").unwrap_err().contains("gzip"));
        assert!(fold(b"<?xml version").unwrap_err().contains("picture"));
        assert!(fold(b"\xff\xff\xff\xff").is_err());
    }
}
