use proptest::prelude::*;

use super::*;
use crate::FoldOptions;

/// Builds a file of one event, as perf lays it out.
fn file(records: &[(u32, u16, Vec<u8>)], name: &str) -> Vec<u8> {
    let mut data = Vec::new();
    for (kind, misc, body) in records {
        data.extend(kind.to_le_bytes());
        data.extend(misc.to_le_bytes());
        data.extend((body.len() as u16 + 8).to_le_bytes());
        data.extend(body);
    }
    let sample_type =
        header::has::IP | header::has::TID | header::has::TIME | header::has::CALLCHAIN | header::has::PERIOD;
    let mut attr = words(&[1 | (112 << 32), 0, 99, sample_type, 0, (1 << 18) | (1 << 10)]);
    attr.resize(112, 0);
    attr.extend(words(&[0, 0]));
    let data_at = 104 + attr.len() as u64;
    let features: u64 = 1 << 12;
    let head = [
        u64::from_le_bytes(*b"PERFILE2"),
        104,
        128,
        104,
        128,
        data_at,
        data.len() as u64,
        0,
        0,
        features,
        0,
        0,
        0,
    ];
    let mut file = words(&head);
    file.extend(attr);
    file.extend(data);
    let mut names = Vec::new();
    names.extend([1u32, 112].map(u32::to_le_bytes).concat());
    names.extend([0; 112]);
    names.extend([0u32, 16].map(u32::to_le_bytes).concat());
    names.extend(name.as_bytes());
    names.resize(8 + 112 + 8 + 16, 0);
    let at = file.len() as u64 + 16;
    file.extend(words(&[at, names.len() as u64]));
    file.extend(names);
    file
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Two numbers of 4 bytes as one of 8.
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

fn text(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(name.len() / 8 * 8 + 8, 0);
    bytes
}

fn with_trailer(mut body: Vec<u8>, time: u64) -> Vec<u8> {
    body.extend(words(&[pair(7, 8), time]));
    body
}

fn records() -> Vec<(u32, u16, Vec<u8>)> {
    let map = |start: u64, path: &str, time| {
        let mut body = words(&[pair(7, 7), start, 0x1000, 0x400, 0, 0, 0, 0]);
        body.extend(text(path));
        (10, 2, with_trailer(body, time))
    };
    let sample = |time, chain: &[u64]| {
        let mut body = words(&[chain[0], pair(7, 8), time, 10_000, chain.len() as u64]);
        body.extend(words(chain));
        (9, 2, body)
    };
    let mut comm = words(&[pair(7, 8)]);
    comm.extend(text("apply-0"));
    vec![
        // Out of order: another core's.
        sample(50, &[u64::MAX - 511, 0x2010, 0x1011]),
        map(0x1000, "/bin/server", 0),
        map(0x2000, "/lib/libfoo.so", 1),
        (3, 0, with_trailer(comm, 2)),
        sample(60, &[u64::MAX - 127, 0xffff_ffff_8100_0000, u64::MAX - 511, 0x2010, 0x1011]),
        map(0x2000, "/lib/other.so", 70),
        sample(80, &[u64::MAX - 511, 0x2010, 0x1011]),
    ]
}

#[test]
fn samples_meet_what_was_mapped_at_their_time() {
    let bytes = file(&records(), "cpu-clock:u");
    let profile = read(&bytes, &ReadOptions::default()).unwrap();
    let text = profile.fold(&FoldOptions::default()).to_string();
    assert_eq!(
        text,
        "apply-0;server+0x410;libfoo.so+0x410 1\n\
         apply-0;server+0x410;libfoo.so+0x410;[kernel.kallsyms] 1\n\
         apply-0;server+0x410;other.so+0x410 1\n"
    );
    assert_eq!((profile.value_named("cpu"), profile.total(1), profile.duration_ns), (Some(1), 30_000, 30));
    let error =
        read(&bytes, &ReadOptions { event: Some("cycles".into()), times: false }).unwrap_err().to_string();
    assert!(error.contains("there are cpu-clock:u"), "{error}");
}

#[test]
fn a_file_that_was_cut_gives_what_is_whole() {
    let bytes = file(&records(), "cpu-clock:u");
    for cut in 0..bytes.len() {
        match read(&bytes[..cut], &ReadOptions::default()) {
            Ok(profile) => assert!(!profile.is_empty()),
            Err(error) => assert!(error.to_string().contains("byte "), "{error}"),
        }
    }
    let data_end = 104 + 128 + 500;
    let profile = read(&bytes[..data_end], &ReadOptions::default()).unwrap();
    assert!(profile.comments.iter().any(|c| c.contains("left out")), "{:?}", profile.comments);
}

#[test]
fn what_is_not_read_is_told_with_the_way_out() {
    let mut piped = words(&[u64::from_le_bytes(*b"PERFILE2"), 16]);
    piped.extend(words(&[0; 4]));
    let error = read(&piped, &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("perf script"), "{error}");
    let error = read(&file(&[(81, 0, vec![0; 8])], "x"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("compressed") && error.contains("byte 232"), "{error}");
    let error = read(&file(&[(9, 0, vec![0; 8])], "x"), &ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("type 9"), "{error}");
    let error = read(&file(&[], "x"), &ReadOptions::default()).unwrap_err();
    assert!(matches!(error, ProfileError::Format { .. } | ProfileError::Empty(_)), "{error}");
}

proptest! {
    #[test]
    fn no_damage_brings_it_down(changes in proptest::collection::vec((0usize..1200, any::<u8>()), 1..8), cut in 0usize..900) {
        let mut bytes = file(&records(), "cpu-clock:u");
        let len = bytes.len();
        changes.into_iter().for_each(|(at, byte)| bytes[at % len] = byte);
        let cut = if cut < len { cut } else { 0 };
        if let Ok(profile) = read(&bytes[..len - cut], &ReadOptions::default()) {
            let _ = profile.fold(&FoldOptions::default());
        }
    }
}
