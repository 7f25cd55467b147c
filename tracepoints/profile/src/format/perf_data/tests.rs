use proptest::prelude::*;

use super::*;
use crate::FoldOptions;

/// Builds a file of one event in perf's layout.
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

/// Joins two numbers of 4 bytes to one of 8.
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
        // Out of order: from another core.
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
fn samples_use_the_mappings_of_their_time() {
    let bytes = file(&records(), "cpu-clock:u");
    let profile = read(&bytes, &ReadOptions::default()).unwrap();
    let text = profile.fold(&FoldOptions::default()).to_string();
    assert_eq!(
        text,
        "apply-0;server+0x410;libfoo.so+0x410 1\n\
         apply-0;server+0x410;libfoo.so+0x410;[kernel.kallsyms]+0xffffffff81000000 1\n\
         apply-0;server+0x410;other.so+0x410 1\n"
    );
    assert_eq!((profile.value_named("cpu"), profile.total(1), profile.duration_ns), (Some(1), 30_000, 30));
    let error =
        read(&bytes, &ReadOptions { event: Some("cycles".into()), times: false, ..ReadOptions::default() })
            .unwrap_err()
            .to_string();
    assert_eq!(error, "no sample has the event \"cycles\"; the file has cpu-clock:u");
}

/// A program that moves its hot code to huge pages maps over a part of itself.
#[test]
fn a_mapping_replaces_only_the_part_that_it_covers() {
    let map = |start: u64, len: u64, path: &str, time| {
        let mut body = words(&[pair(7, 7), start, len, 0x400, 0, 0, 0, 0]);
        body.extend(text(path));
        (10, 2, with_trailer(body, time))
    };
    let sample = |time, chain: &[u64]| {
        let mut body = words(&[chain[0], pair(7, 8), time, 1, chain.len() as u64]);
        body.extend(words(chain));
        (9, 2, body)
    };
    let records = [
        map(0x1000, 0x3000, "/bin/server", 0),
        map(0x2000, 0x1000, "/bin/huge", 1),
        map(0x2000, 0, "/bin/none", 2),
        sample(3, &[u64::MAX - 511, 0x3010, 0x2011, 0x1011]),
    ];
    let profile = read(&file(&records, "cpu-clock:u"), &ReadOptions::default()).unwrap();
    let text = profile.fold(&FoldOptions::default()).to_string();
    assert_eq!(text, ":8;server+0x410;huge+0x410;server+0x2410 1\n");
}

#[test]
fn a_truncated_file_is_read_up_to_its_end() {
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

/// Builds the same records as a stream (`perf record -o -`), with the contents of the header as records.
fn stream(records: &[(u32, u16, Vec<u8>)], name: &str) -> Vec<u8> {
    let sample_type =
        header::has::IP | header::has::TID | header::has::TIME | header::has::CALLCHAIN | header::has::PERIOD;
    let mut attr = words(&[1 | (112 << 32), 0, 99, sample_type, 0, (1 << 18) | (1 << 10)]);
    attr.resize(112, 0);
    attr.extend(words(&[5]));
    let mut update = words(&[2, 5]);
    update.extend(text(name));
    let head = [(64, 0, attr), (78, 0, update)];
    let mut out = words(&[u64::from_le_bytes(*b"PERFILE2"), 16]);
    for (kind, misc, body) in head.iter().chain(records) {
        out.extend(kind.to_le_bytes());
        out.extend(misc.to_le_bytes());
        out.extend((body.len() as u16 + 8).to_le_bytes());
        out.extend(body);
    }
    out
}

fn stacks(bytes: &[u8]) -> String {
    let profile = read(bytes, &ReadOptions::default()).unwrap();
    profile.fold(&FoldOptions::default()).to_string()
}

#[test]
fn a_stream_and_compressed_records_are_equal_to_a_file() {
    let plain = stacks(&file(&records(), "cpu-clock:u"));
    let piped = stream(&records(), "cpu-clock:u");
    assert_eq!(stacks(&piped), plain);
    let profile = read(&piped, &ReadOptions::default()).unwrap();
    assert!(profile.comments.contains(&"event cpu-clock:u".to_owned()), "{:?}", profile.comments);
    // All records in one compressed stream, split into three parts.
    let raw = stream(&records(), "x");
    let skip = 16 + (8 + 120) + (8 + 16 + 8);
    let packed = ruzstd::encoding::compress_to_vec(&raw[skip..], ruzstd::encoding::CompressionLevel::Fastest);
    let third = packed.len() / 3 + 1;
    let parts: Vec<_> = packed.chunks(third).map(|part| (81u32, 0u16, part.to_vec())).collect();
    assert_eq!(stacks(&file(&parts, "cpu-clock:u")), plain);
    assert_eq!(stacks(&stream(&parts, "cpu-clock:u")), plain);
    // Newer records state the length of the part, and are padded.
    let padded = |part: &[u8]| [words(&[part.len() as u64]), part.to_vec(), vec![0; 5]].concat();
    let parts: Vec<_> = packed.chunks(third).map(|part| (83u32, 0u16, padded(part))).collect();
    assert_eq!(stacks(&file(&parts, "cpu-clock:u")), plain);
}

#[test]
fn the_other_byte_order_is_read_alike() {
    // Swaps words of 8 bytes and pairs of 4; there are no texts and bit fields, which are not as simple.
    let turned = |words: &[u64]| words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<u8>>();
    let pair_be = |high: u32, low: u32| (u64::from(high) << 32) | u64::from(low);
    let sample_type = header::has::IP | header::has::TID | header::has::TIME | header::has::CALLCHAIN;
    let mut out = b"2ELIFREP".to_vec();
    let record_len = 8 + 8 * 6;
    out.extend(turned(&[104, 128, 104, 128, 232, record_len, 0, 0, 0, 0, 0, 0]));
    out.extend(turned(&[pair_be(1, 112), 0, 99, sample_type, 0, (1u64 << 18).reverse_bits()]));
    out.resize(232, 0);
    out.extend(9u32.to_be_bytes());
    out.extend([0u16, record_len as u16].map(u16::to_be_bytes).concat());
    out.extend(turned(&[0x1010, pair_be(7, 8), 50, 2, u64::MAX - 511, 0x1010]));
    assert_eq!(stacks(&out), ":8;0x1010 1\n");
}

#[test]
fn a_damaged_record_loses_only_itself() {
    let mut damaged = records();
    damaged.insert(2, (9, 0, vec![0; 8]));
    let profile = read(&file(&damaged, "cpu-clock:u"), &ReadOptions::default()).unwrap();
    assert_eq!(profile.total(0), 3);
    assert!(
        profile.comments.iter().any(|c| c.contains("1 record at byte") && c.contains("type 9")),
        "{:?}",
        profile.comments
    );
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
