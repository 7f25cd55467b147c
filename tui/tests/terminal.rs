//! Tests on a pseudo-terminal: the program gives the terminal back at every end.
#![cfg(unix)]
mod pty;

use std::process::Command;

use pty::{ENTER, LEAVE, OnTerminal};
use tikv_tui::print::json_lines;
use tracepoints::trace::{Step, Summary};

#[test]
fn q_and_sigterm_give_the_terminal_back() {
    let mut program = OnTerminal::start("");
    program.until("client_send");
    program.types(b"q");
    let (status, wrote) = program.end();
    assert!(status.success() && wrote.contains(ENTER));
    let program = OnTerminal::start("");
    program.until("client_send");
    program.kill(libc::SIGTERM);
    assert_eq!(program.end().0.code(), Some(143));
}

#[test]
fn a_signal_at_the_first_moment_gives_the_terminal_back() {
    for (signal, code) in
        [(libc::SIGTERM, 143), (libc::SIGINT, 130), (libc::SIGHUP, 129), (libc::SIGQUIT, 131)]
    {
        let program = OnTerminal::start("");
        // Before the first frame.
        program.until(ENTER);
        program.kill(signal);
        let (status, wrote) = program.end();
        assert_eq!(status.code(), Some(code), "{status}: {wrote:?}");
    }
}

#[test]
fn a_program_that_is_stuck_gives_the_terminal_back() {
    let program = OnTerminal::start("stuck");
    program.until(ENTER);
    program.kill(libc::SIGTERM);
    assert_eq!(program.end().0.code(), Some(143));
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_reported() {
    let program = OnTerminal::start("panic");
    program.until("asked to panic");
    let (status, wrote) = program.end();
    assert!(!status.success());
    assert!(
        wrote.find(LEAVE) < wrote.find("asked to panic"),
        "the message is on the terminal that was given back"
    );
    assert!(wrote.rfind(LEAVE) > wrote.rfind(ENTER));
}

#[test]
fn a_panic_of_another_thread_is_reported_on_the_screen() {
    let mut program = OnTerminal::start("panic-thread");
    program.until("panicked");
    assert!(!program.wrote().contains(LEAVE), "the screen stays");
    program.types(b"q");
    assert!(program.end().0.success());
}

#[test]
fn a_closed_terminal_ends_the_program() {
    let mut program = OnTerminal::start("");
    program.until("client_send");
    program.hang_up();
    assert_eq!(program.status().code(), Some(129));
}

#[test]
fn a_dumb_terminal_gets_the_plain_form() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("steps.jsonl");
    let steps = [Step { stage: "grpc_receive".into(), dur_ns: 5, ..Step::default() }];
    let summary = Summary { stage_ns: 5, wall_ns: 5, accounted: 1.0, dropped: 0 };
    std::fs::write(&path, json_lines(&steps, Some(&summary)).unwrap()).unwrap();
    let mut command = Command::new("env");
    command.args(["TERM=dumb", env!("CARGO_BIN_EXE_tikv-tui"), "trace"]).arg(&path);
    let mut program = OnTerminal::run(command, false);
    assert!(program.status().success());
    program.until("grpc_receive");
    let wrote = program.wrote();
    assert!(!wrote.contains('\x1b'), "{wrote:?}");
}
