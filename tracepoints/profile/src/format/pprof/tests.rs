use proptest::prelude::*;
use prost::{Message, encoding::decode_varint};

use super::*;
use crate::{
    FoldOptions,
    format::same,
    model::{LabelsId, sample_profile},
};

#[test]
fn a_profile_survives_a_round_trip() {
    let mut profile = sample_profile();
    same(&profile, &read(&write(&profile)).unwrap());
    let packed = write_gzip(&profile);
    assert!(packed.starts_with(b"\x1f\x8b"));
    same(&profile, &read(&packed).unwrap());
    // Times of samples survive, too.
    let stack = profile.samples().next().unwrap().stack;
    profile.add_at(77, stack, LabelsId::default(), &[1, 2]);
    let again = read(&write(&profile)).unwrap();
    same(&profile, &again);
    assert_eq!(again.samples().last().unwrap().time_ns, Some(77));
}

#[test]
fn inlined_functions_share_a_location() {
    let raw = schema::Profile::decode(write(&sample_profile()).as_slice()).unwrap();
    let lines: Vec<usize> = raw.location.iter().map(|l| l.line.len()).collect();
    assert_eq!(lines, [2, 1, 0]);
    let mapping = &raw.mapping[0];
    assert!(mapping.has_functions && mapping.has_line_numbers && mapping.has_inline_frames);
}

#[test]
fn a_real_servers_profile_keeps_its_samples() {
    let path = "testdata/tikv.pb.gz";
    let profile = read(&std::fs::read(path).unwrap()).unwrap();
    let folded = profile.fold(&FoldOptions::default());
    assert_eq!(folded.total(), profile.total(0) as u64);
    assert!(folded.iter().any(|(stack, _)| stack.contains("tikv::")), "{folded}");
    same(&profile, &read(&write(&profile)).unwrap());
}

/// Lists number fields and texts of a message by their field numbers, e.g. `2.3.1` for the key of a sample's
/// label, independent of [`schema`].
fn by_number(bytes: &[u8], path: &str, out: &mut Vec<String>) {
    const MESSAGES: [&str; 8] = [".1", ".2", ".2.3", ".3", ".4", ".4.4", ".5", ".11"];
    const PACKED: [&str; 3] = [".2.1", ".2.2", ".13"];
    let mut left = bytes;
    while !left.is_empty() {
        let tag = decode_varint(&mut left).unwrap();
        let path = format!("{path}.{}", tag >> 3);
        match tag & 7 {
            0 => out.push(format!("{path} = {}", decode_varint(&mut left).unwrap())),
            2 => {
                let len = decode_varint(&mut left).unwrap() as usize;
                let (mut value, rest) = left.split_at(len);
                left = rest;
                if MESSAGES.contains(&path.as_str()) {
                    by_number(value, &path, out);
                } else if PACKED.contains(&path.as_str()) {
                    while !value.is_empty() {
                        out.push(format!("{path} = {}", decode_varint(&mut value).unwrap()));
                    }
                } else {
                    out.push(format!("{path} = {}", String::from_utf8_lossy(value)));
                }
            }
            other => panic!("{path}: no field of profile.proto has the wire type {other}"),
        }
    }
}

#[test]
fn the_field_numbers_are_those_of_a_real_server() {
    let path = "testdata/tikv.pb.gz";
    let packed = std::fs::read(path).unwrap();
    let real = tracepoints_input::plain(&packed).unwrap().bytes;
    let ours = schema::Profile::decode(&*real).unwrap().encode_to_vec();
    let paths = |bytes: &[u8]| {
        let mut out = Vec::new();
        by_number(bytes, "", &mut out);
        out.sort();
        out
    };
    let (real, ours) = (paths(&real), paths(&ours));
    for path in [".1.1", ".2.1", ".2.2", ".2.3.1", ".4.4.1", ".5.2", ".6", ".9", ".11.1", ".12"] {
        assert!(real.iter().any(|line| line.starts_with(&format!("{path} = "))), "{path} is in the file");
    }
    assert_eq!(real, ours);
}

/// Returns the samples' stacks, and the comments.
fn lossy(raw: &schema::Profile) -> (String, String) {
    let profile = read(&raw.encode_to_vec()).unwrap();
    (profile.fold(&FoldOptions::default()).to_string(), profile.comments.join("\n"))
}

fn raw() -> schema::Profile {
    schema::Profile::decode(write(&sample_profile()).as_slice()).unwrap()
}

#[test]
fn damage_loses_only_the_damaged_part_and_is_reported() {
    let bytes = write(&sample_profile());
    for cut in 1..bytes.len() {
        match read(&bytes[..cut]) {
            Ok(profile) if !profile.is_empty() => {
                // Cut between two fields, the rest is a valid message, so the loss is invisible.
                let whole = schema::Profile::decode(&bytes[..cut]).is_ok();
                assert!(whole || profile.comments.iter().any(|c| c.contains("left out")), "{cut}")
            }
            Ok(_) => {}
            Err(error) => assert!(error.to_string().contains("pprof"), "{error}"),
        }
    }
    let mut cut = raw();
    cut.sample[1].location_id[0] = 99;
    let (text, comments) = lossy(&cut);
    assert_eq!(text, "unified-read-po;main;get;seek 3\n");
    assert!(
        comments.contains("1 sample is skipped and left out, the first is sample 2: there is no location 99"),
        "{comments}"
    );
    cut.sample.remove(0);
    let error = read(&cut.encode_to_vec()).unwrap_err().to_string();
    assert!(error.contains("sample 1") && error.contains("location 99"), "{error}");
    // Makes the bytes of a sample invalid.
    let mut damaged = bytes.clone();
    damaged.extend([0x12, 2, 0x0a, 9]);
    let profile = read(&damaged).unwrap();
    assert_eq!(profile.samples().len(), 2);
    assert!(profile.comments.iter().any(|c| c.contains("field at byte")), "{:?}", profile.comments);
    let error = read(&write_gzip(&sample_profile())[..12]).unwrap_err().to_string();
    assert!(error.contains("gzip"), "{error}");
}

#[test]
fn invalid_references_are_unknown_and_reported() {
    let mut odd = raw();
    odd.function[0].name = -4;
    odd.function[0].system_name = 0;
    odd.location[0].line[0].function_id = 77;
    odd.location[1].mapping_id = u64::MAX;
    odd.sample[0].value.truncate(1);
    let (text, comments) = lossy(&odd);
    assert!(text.contains("(unknown)") || text.contains("tikv-server+0x"), "{text}");
    assert!(comments.contains("references are invalid"), "{comments}");
    assert!(comments.contains("1 samples have another number of values"), "{comments}");
}

#[test]
fn odd_ids_tables_and_names_are_read() {
    let mut odd = raw();
    // Ids may be any numbers, even 0; of two with one id the first counts.
    let ids = |id: u64| if id == 1 { 0 } else { u64::MAX - id };
    odd.location.iter_mut().for_each(|l| l.id = ids(l.id));
    odd.sample.iter_mut().for_each(|s| s.location_id.iter_mut().for_each(|id| *id = ids(*id)));
    let second = schema::Location { id: odd.location[0].id, ..schema::Location::default() };
    odd.location.push(second);
    odd.string_table[0] = b"not empty".to_vec();
    let seek = odd.string_table.iter().position(|s| s == b"seek").unwrap();
    odd.string_table[seek] = b"se\xffek;\n 3".to_vec();
    let profile = read(&odd.encode_to_vec()).unwrap();
    let names: Vec<_> =
        profile.walk(profile.samples().next().unwrap().stack).map(|f| profile.frame_name(f)).collect();
    assert_eq!(names, ["se\u{fffd}ek;\n 3", "get", "main"]);
    let twice = "1 functions or locations have the id of an earlier one";
    assert!(profile.comments.iter().any(|c| c.starts_with(twice)), "{:?}", profile.comments);
    same(&profile, &read(&write(&profile)).unwrap());
}

#[test]
fn the_default_value_is_the_named_one_or_the_last() {
    for (default, shown) in [(0, "cpu"), (-9, "cpu"), (1, "samples"), (2, "cpu")] {
        let mut raw = raw();
        let kinds: Vec<i64> = raw.sample_type.iter().map(|t| t.kind).collect();
        raw.default_sample_type = match default {
            1 | 2 => kinds[default as usize - 1],
            other => other,
        };
        let profile = read(&raw.encode_to_vec()).unwrap();
        let kind = profile.value_types()[profile.default_value].kind;
        assert_eq!(profile.text(kind), shown, "{default}");
        same(&profile, &read(&write(&profile)).unwrap());
    }
    let mut plain = raw();
    plain.sample_type.clear();
    let profile = read(&plain.encode_to_vec()).unwrap();
    assert_eq!((profile.value_types().len(), profile.total(0)), (2, 7));
}

proptest! {
    #[test]
    fn no_bytes_bring_it_down(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_damage_brings_it_down(at in 0usize..400, byte: u8, cut in 0usize..400) {
        let mut bytes = write(&sample_profile());
        let len = bytes.len();
        bytes[at % len] = byte;
        if let Ok(profile) = read(&bytes[..len - cut % 16]) {
            let _ = profile.fold(&FoldOptions::default());
        }
    }
}

/// A profile with one sample, whose stack has these functions, innermost first; the last location has the
/// last function and one that is inlined into it.
fn dropping(names: &[&str], inlined: &str, drop: &str, keep: &str) -> schema::Profile {
    let mut raw = schema::Profile { string_table: vec![Vec::new()], ..schema::Profile::default() };
    let text = |raw: &mut schema::Profile, text: &str| {
        raw.string_table.push(text.as_bytes().to_vec());
        raw.string_table.len() as i64 - 1
    };
    let (kind, unit) = (text(&mut raw, "samples"), text(&mut raw, "count"));
    raw.sample_type.push(schema::ValueType { kind, unit });
    for (i, name) in names.iter().chain([&inlined]).enumerate() {
        let name = text(&mut raw, name);
        raw.function.push(schema::Function { id: i as u64 + 1, name, ..schema::Function::default() });
    }
    let line = |function_id| schema::Line { function_id, line: 1, column: 0 };
    for i in 1..=names.len() as u64 {
        let mut lines = vec![line(i)];
        if i == names.len() as u64 {
            lines.insert(0, line(i + 1));
        }
        raw.location.push(schema::Location { id: i, line: lines, ..schema::Location::default() });
    }
    let location_id = (1..=names.len() as u64).collect();
    raw.sample.push(schema::Sample { location_id, value: vec![1], ..schema::Sample::default() });
    (raw.drop_frames, raw.keep_frames) = (text(&mut raw, drop), text(&mut raw, keep));
    raw
}

#[test]
fn frames_that_the_profile_drops_are_left_out() {
    let names = ["memset", "tc_malloc(unsigned long)", "operator()(int)", "tikv::get", "main"];
    let stack = |drop: &str, keep: &str| lossy(&dropping(&names, "inlined", drop, keep));
    let whole = "main;inlined;tikv::get;operator()(int);tc_malloc(unsigned long);memset 1\n";
    assert_eq!(stack("", ""), (whole.to_owned(), String::new()));
    let (text, comments) = stack("tc_malloc|free", "");
    assert_eq!(text, "main;inlined;tikv::get;operator()(int) 1\n");
    assert!(comments.contains("1 sample ends at a caller") && comments.contains("left out"), "{comments}");
    assert_eq!(stack("malloc", "").0, whole, "the whole name must match");
    assert_eq!(stack("tc_.*", "tc_malloc").0, whole, "keep_frames wins");
    assert_eq!(stack(r"operator\(\)", "").0, "main;inlined;tikv::get 1\n");
    assert_eq!(stack("main", "").0, whole, "the outermost frames stay");
    assert_eq!(stack("inlined", "").0, whole.replace(";inlined", ""), "only the inlined function goes");
    let (text, comments) = stack("(", "");
    assert_eq!(text, whole);
    assert!(comments.contains("no frame is dropped"), "{comments}");
}
