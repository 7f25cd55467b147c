//! Tests on a pseudo-terminal: no bytes and no size of a terminal end the program.
#![cfg(unix)]
mod pty;

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use pty::{ENTER, OnTerminal};

/// Closes everything that may be open (a paste, a string, help, a search, the flame), then ends the program.
fn quits(mut program: OnTerminal) {
    for _ in 0..8 {
        program.types(b"\x1b[201~\x07");
        std::thread::sleep(std::time::Duration::from_millis(60));
        program.types(b"\x1b");
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
    program.types(b"\x03");
    let (status, wrote) = program.end();
    assert!(status.success(), "{status}: {wrote:?}");
}

/// Whether a byte is a command: to end or stop the program, open an editor or the palette, or copy.
fn is_command(byte: u8) -> bool {
    matches!(byte, b'q' | 0x03 | 0x1a | b'o' | b':' | b'y')
}

#[test]
fn malformed_reports_do_no_harm() {
    let mut program = OnTerminal::start("");
    program.until("client_send");
    for report in [
        &b"\x1b[<0;0;0M"[..],
        b"\x1b[<0;0;0m",
        b"\x1b[M \x00\x00",
        b"\x1b[M\x00\x00\x00",
        b"\x1b[0;0R",
        b"\x1b[32;0;0M",
        b"\x1b[<255;65535;65535M",
        b"\x1b[99999999999999999999;9999999999999u",
        b"\x1b[?u\x1b[?62c\x1b[?1;2c\x1b[>0q",
        b"\x1b]11;rgb:0/0/0\x1b\\\x1bP1+r\x1b\\",
        b"\xff\xfe\xc3\x28\xed\xa0\x80\xf5",
        b"\x00\x1c\x1d\x1e\x1f\x7f",
    ] {
        program.types(report);
    }
    let seen = program.wrote().len();
    program.types(b"?");
    program.until_after(seen, "Help: path");
    quits(program);
}

#[test]
fn random_bytes_do_not_end_the_program() {
    let mut runner = TestRunner::new(Config::default());
    let piece = prop_oneof![
        any::<Vec<u8>>(),
        "\x1b\\[[<?>=]?[0-9;:]{0,9}[ -/]{0,2}[@-~]".prop_map(String::into_bytes),
        "\x1b[\\[\\]OPX^_M]?".prop_map(String::into_bytes),
        "[npcrbtfgGHNzjkhl?/\\]\\[\t\r 1-5]{1,9}".prop_map(String::into_bytes),
        Just(b"\x1b[200~".to_vec()),
        Just(b"\x1b[201~".to_vec()),
    ];
    let bytes = proptest::collection::vec(piece, 1..20).prop_map(|p| p.concat());
    let mut program = OnTerminal::start("put");
    program.until("client_send");
    for _ in 0..400 {
        let mut bytes = bytes.new_tree(&mut runner).unwrap().current();
        bytes.retain(|b| !is_command(*b));
        program.types(&bytes);
        assert!(program.child.try_wait().unwrap().is_none(), "ended after {bytes:?}: {:?}", program.wrote());
    }
    quits(program);
}

#[test]
fn a_terminal_of_any_size_is_drawn_on() {
    let program = OnTerminal::start("");
    program.until("client_send");
    for (columns, rows) in [
        (0, 0),
        (1, 1),
        (0, 24),
        (80, 0),
        (60, 16),
        (59, 16),
        (65535, 1),
        (1, 65535),
        (65535, 65535),
        (300, 100),
        (80, 24),
    ] {
        program.resize(columns, rows);
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    let seen = program.wrote().len();
    program.resize(40, 10);
    program.until_after(seen, "40x10 is too small");
    program.resize(81, 24);
    program.until_after(seen, "client_send");
    quits(program);
}

#[test]
fn a_paste_is_text() {
    let mut program = OnTerminal::start("");
    program.until("client_send");
    program.types(b"/");
    let seen = program.until(" in path");
    program.types(b"\x1b[200~rpc\rnotes: pqqq\x1b[201~");
    program.until_after(seen, "rpc notes: pqqq");
    program.types(b"\x1b");
    let seen = program.wrote().len();
    program.types(b"\x1b[200~q\rq\x03q\x1b[201~");
    program.until_after(seen, "pasted text is ignored here");
    assert_eq!(program.wrote().matches(ENTER).count(), 1);
    quits(program);
}
