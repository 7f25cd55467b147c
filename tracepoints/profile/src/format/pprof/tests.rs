use proptest::prelude::*;
use prost::{Message, encoding::decode_varint};

use super::*;
use crate::{
    FoldOptions,
    format::same,
    model::{LabelsId, sample_profile},
};

#[test]
fn what_is_written_is_read_again() {
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
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/tikv.pb.gz");
    let profile = read(&std::fs::read(path).unwrap()).unwrap();
    let folded = profile.fold(&FoldOptions::default());
    assert_eq!(folded.total(), profile.total(0) as u64);
    assert!(folded.iter().any(|(stack, _)| stack.contains("tikv::")), "{folded}");
    same(&profile, &read(&write(&profile)).unwrap());
}

/// Number fields and texts of a message by their way there, e.g. `2.3.1` for the key of a sample's label; by field number only,
/// so that it knows nothing of [`schema`].
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
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/tikv.pb.gz");
    let real = unzip(&std::fs::read(path).unwrap()).unwrap();
    let ours = schema::Profile::decode(real.as_slice()).unwrap().encode_to_vec();
    let told = |bytes: &[u8]| {
        let mut out = Vec::new();
        by_number(bytes, "", &mut out);
        out.sort();
        out
    };
    let (real, ours) = (told(&real), told(&ours));
    for path in [".1.1", ".2.1", ".2.2", ".2.3.1", ".4.4.1", ".5.2", ".6", ".9", ".11.1", ".12"] {
        assert!(real.iter().any(|line| line.starts_with(&format!("{path} = "))), "{path} is in the file");
    }
    assert_eq!(real, ours);
}

#[test]
fn damage_is_told_with_its_place() {
    let bytes = write(&sample_profile());
    for cut in 1..bytes.len() {
        let Err(error) = read(&bytes[..cut]) else { continue };
        assert!(error.to_string().contains("pprof"), "{error}");
    }
    let error = read(&bytes[..bytes.len() - 1]).unwrap_err().to_string();
    assert!(error.contains("byte "), "{error}");
    let mut raw = schema::Profile::decode(bytes.as_slice()).unwrap();
    raw.sample[1].location_id[0] = 99;
    let error = read(&raw.encode_to_vec()).unwrap_err().to_string();
    assert!(error.contains("sample 1") && error.contains("location 99"), "{error}");
    raw.function[0].name = -4;
    let error = read(&raw.encode_to_vec()).unwrap_err().to_string();
    assert!(error.contains("function 1") && error.contains("string -4"), "{error}");
    let error = read(&write_gzip(&sample_profile())[..40]).unwrap_err().to_string();
    assert!(error.contains("gzip"), "{error}");
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
