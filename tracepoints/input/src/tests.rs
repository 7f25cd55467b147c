use std::io::Write;

use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
use proptest::prelude::*;

use super::*;

const TEXT: &str = "main;größer 3\nmain;小 4\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn zlib(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::new(level));
    zlib.write_all(bytes).unwrap();
    zlib.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() }).collect()
}

fn utf32(text: &str, big: bool) -> Vec<u8> {
    text.chars().flat_map(|c| if big { (c as u32).to_be_bytes() } else { (c as u32).to_le_bytes() }).collect()
}

fn assert_plain(bytes: &[u8], expected: &str) {
    let plain = plain(bytes).unwrap();
    assert_eq!((String::from_utf8_lossy(&plain.bytes).as_ref(), plain.notes.len()), (expected, 0));
}

#[test]
fn every_compression_is_unpacked() {
    let skippable = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zstd(TEXT.as_bytes())].concat();
    let twice = [gzip(b"main;gr"), gzip("ößer 3\nmain;小 4\n".as_bytes())].concat();
    let frames = [zstd("main;größer 3\n".as_bytes()), zstd("main;小 4\n".as_bytes())].concat();
    let mut all = vec![gzip(TEXT.as_bytes()), zstd(TEXT.as_bytes()), skippable, twice, frames];
    all.extend([1, 3, 6, 9].map(|level| zlib(TEXT.as_bytes(), level)));
    all.push(zstd(&gzip(&gzip(TEXT.as_bytes()))));
    all.push(gzip(&[b"\xff\xfe", utf16(TEXT, false).as_slice()].concat()));
    for packed in all {
        assert_plain(&packed, TEXT);
    }
}

#[test]
fn every_encoding_is_decoded_with_and_without_its_mark() {
    let with = |mark: &[u8], text: Vec<u8>| [mark, &text].concat();
    for bytes in [
        with(b"\xef\xbb\xbf", TEXT.as_bytes().to_vec()),
        with(b"\xff\xfe", utf16(TEXT, false)),
        with(b"\xfe\xff", utf16(TEXT, true)),
        with(b"\xff\xfe\0\0", utf32(TEXT, false)),
        with(b"\0\0\xfe\xff", utf32(TEXT, true)),
    ] {
        assert_plain(&bytes, TEXT);
    }
    for big in [false, true] {
        assert_plain(&utf16("main;parse 3\nmain;日本 1\n", big), "main;parse 3\nmain;日本 1\n");
    }
    for text in ["größer;b 3\n", "é 1\n", "a 1", "日本;b 1\nmain 2\n"] {
        assert_plain(&utf16(text, false), text);
        assert_plain(&utf16(text, true), text);
    }
    let broken = plain(b"\xff\xfea\0\x00\xd8b\0c").unwrap();
    assert_eq!((String::from_utf8_lossy(&broken.bytes).as_ref(), broken.notes.len()), ("a\u{fffd}b", 1));
}

#[test]
fn a_lone_cr_ends_a_line_of_text_only() {
    assert_plain(b"a;b 1\ra;c 2\r", "a;b 1\na;c 2\n");
    for same in [&b"a 1\r\nb 2\r\n"[..], b"\x08\x01\r\x12", b"\x01\xff\xd8\0", b""] {
        assert_eq!(plain(same).unwrap().bytes, same);
    }
}

/// Names that begin like the magic numbers of archives.
#[test]
fn text_is_never_taken_for_an_archive() {
    for text in
        ["BZhong;main 3", "BZh91AY_x;main 3", "x;y 1", "x^2;main 3\nb 2\n", "PK_verify;main 1", "7z_open 1"]
    {
        assert_plain(text.as_bytes(), text);
    }
}

#[test]
fn latin_1_is_decoded_and_zeros_after_a_text_are_removed() {
    let read = plain(b"caf\xe9;x 3\ncaf\xe8;x 4\n").unwrap();
    assert_eq!(String::from_utf8_lossy(&read.bytes), "café;x 3\ncafè;x 4\n");
    assert_eq!(read.notes, ["2 bytes are not UTF-8 and were read as Latin-1; none is left out"]);
    assert_plain(&[b"a;b 1\n".as_slice(), &[0; 5000]].concat(), "a;b 1\n");
    assert_plain(&utf32("main;parse 3\n", true), "main;parse 3\n");
    assert_plain(&utf32("main;parse 3\n", false), "main;parse 3\n");
}

#[test]
fn the_intact_part_of_a_damaged_file_comes_with_a_note() {
    let long: String =
        (0..20_000u32).map(|i| format!("main;f{} {i}\n", i.wrapping_mul(2_654_435_761))).collect();
    for packed in [gzip(long.as_bytes()), zstd(long.as_bytes()), zlib(long.as_bytes(), 6)] {
        let cut = plain(&packed[..packed.len() * 3 / 4]).unwrap();
        assert!(cut.bytes.len() > 100 && long.as_bytes().starts_with(&cut.bytes), "{}", cut.bytes.len());
        assert!(cut.notes[0].contains("cut short after"), "{:?}", cut.notes);
    }
    let trailing = [gzip(TEXT.as_bytes()), b"garbage".to_vec()].concat();
    let read = plain(&trailing).unwrap();
    assert_eq!((&*read.bytes, read.notes.len()), (TEXT.as_bytes(), 1));
}

#[test]
fn unsupported_compression_is_refused_with_a_reason() {
    for (bytes, says) in [
        (&b"\x1f\x8b\x08\0"[..], "gzip"),
        (b"\x28\xb5\x2f\xfd\xff", "zstd"),
        (b"\xfd7zXZ\0", "xz -d"),
        (b"BZh91AY&SY", "bzip2 -d"),
        (b"PK\x03\x04", "unzip"),
        (b"\x5d\0\0\x80\0", "lzma"),
        (&[[b'p'; 5].as_slice(), &[0; 252], b"ustar\x0000"].concat(), "tar -xf"),
    ] {
        let error = plain(bytes).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let nested = (0..5).fold(TEXT.as_bytes().to_vec(), |bytes, _| gzip(&bytes));
    assert!(plain(&nested).unwrap_err().to_string().contains("5 times"));
}

#[test]
fn a_pipe_is_read_and_copied_for_readers_that_seek() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.folded");
    std::fs::write(&file, TEXT).unwrap();
    assert!(matches!(Input::open(&file).unwrap(), Input::Mapped(_)));
    assert_eq!(OnDisk::open(&file).unwrap().path(), file);
    std::fs::write(&file, "").unwrap();
    assert_eq!(&*Input::open(&file).unwrap(), b"");
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(TEXT.as_bytes()).unwrap();
    drop(writer);
    use std::os::fd::AsRawFd as _;
    let path = std::path::PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
    let copy = OnDisk::open(&path).unwrap();
    assert_eq!(std::fs::read(copy.path()).unwrap(), TEXT.as_bytes());
    assert!(copy.path() != path && Input::open(&dir.path().join("none")).is_err());
}

#[test]
fn a_device_without_an_end_is_refused() {
    let zero = std::path::Path::new("/dev/zero");
    for error in [Input::open(zero).unwrap_err(), OnDisk::open(zero).unwrap_err()] {
        assert!(error.to_string().contains("from a device"), "{error}");
    }
    assert_eq!(&*Input::open(std::path::Path::new("/dev/null")).unwrap(), b"");
}

#[test]
fn a_stream_with_an_unended_frame_is_unpacked() {
    let whole = zstd(TEXT.as_bytes());
    assert_eq!(unpack_stream(whole.clone()), (TEXT.as_bytes().to_vec(), None));
    assert_eq!(unpack_stream([whole.clone(), whole].concat()), (TEXT.repeat(2).into_bytes(), None));
    // A frame header with a window but no content size or checksum, and one raw block that is not the last.
    let open = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, 3 << 3, 0, 0][..], b"abc"].concat();
    assert_eq!(unpack_stream(open), (b"abc".to_vec(), None));
    let (out, note) = unpack_stream(b"no frame".to_vec());
    assert!(out.is_empty() && note.unwrap().contains("damaged"));
}

proptest! {
    #[test]
    fn no_bytes_stop_it(head in 0usize..6, tail in proptest::collection::vec(any::<u8>(), 0..200)) {
        let heads: [&[u8]; 6] = [b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"x\x9c", b"\xff\xfe", b"\x50\x2a\x4d\x18"];
        let _ = plain(&[heads[head], &tail].concat());
    }
}
