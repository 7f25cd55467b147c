//! Tests under a shell with job control: the program stops and continues as an editor does.
#![cfg(target_os = "linux")]
mod pty;

use pty::{ENTER, LEAVE, OnTerminal, kill};

/// The modes that an editor sets and resets: alternate screen, mouse reports, bracketed paste, cursor.
const SET: [&str; 4] = [ENTER, "\x1b[?1006h", "\x1b[?2004h", "\x1b[?25l"];
const TAKEN_BACK: [&str; 4] = [LEAVE, "\x1b[?1006l", "\x1b[?2004l", "\x1b[?25h"];

/// A shell that runs the example in its foreground.
struct Job {
    shell: OnTerminal,
    /// Number of bytes written before the last input or signal.
    seen: usize,
}

impl Job {
    fn start() -> Self {
        let shell = OnTerminal::shell();
        let mut job = Self { shell, seen: 0 };
        job.shell.until("$ ");
        job.types(&format!("{} ''\n", pty::example().display()));
        job.sees("client_send");
        job
    }

    fn types(&mut self, text: &str) {
        self.seen = self.shell.wrote().len();
        self.shell.types(text.as_bytes());
    }

    fn sees(&mut self, text: &str) {
        self.shell.until_after(self.seen, text);
    }

    /// The program's own process: the shell's only child.
    fn program(&self) -> i32 {
        let shell = self.shell.child.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.split_whitespace().next().expect("a child").parse().unwrap()
    }

    fn kills(&mut self, signal: i32) {
        self.seen = self.shell.wrote().len();
        kill(self.program(), signal);
    }

    /// Asserts that the shell has the terminal again, in its previous modes.
    fn is_stopped(&mut self) {
        self.sees("Stopped");
        self.types("stty -a; echo rea''dy\n");
        self.sees("ready");
        let wrote = self.shell.wrote()[self.seen..].to_owned();
        let modes: Vec<&str> = wrote.split_whitespace().collect();
        for mode in ["icanon", "echo", "isig", "icrnl", "opost"] {
            assert!(modes.contains(&mode), "{mode}: {wrote}");
        }
    }

    /// Asserts that the program has the terminal, has drawn, and reads keys without a line end.
    fn is_back(&mut self) {
        SET.iter().for_each(|set| self.sees(set));
        self.sees("client_send");
        self.types("?");
        self.sees("Help: path");
        self.types("?");
    }

    fn ends(mut self) {
        // Ctrl-C quits, even with an open overlay.
        self.types("\x03");
        self.sees(LEAVE);
        self.types("echo rc=$?\n");
        self.sees("rc=0");
    }
}

#[test]
fn ctrl_z_stops_it_and_fg_brings_it_back() {
    let mut job = Job::start();
    for _ in 0..2 {
        job.types("\x1a");
        TAKEN_BACK.iter().for_each(|back| job.sees(back));
        job.is_stopped();
        job.types("fg\n");
        job.is_back();
    }
    job.ends();
}

#[test]
fn sigtstp_from_another_process_stops_it_as_well() {
    let mut job = Job::start();
    job.kills(libc::SIGTSTP);
    TAKEN_BACK.iter().for_each(|back| job.sees(back));
    job.is_stopped();
    job.types("fg\n");
    job.is_back();
    job.ends();
}

#[test]
fn after_sigstop_it_takes_the_terminal_again() {
    let mut job = Job::start();
    job.kills(libc::SIGSTOP);
    job.is_stopped();
    job.types("fg\n");
    job.is_back();
    job.ends();
}

#[test]
fn in_the_background_it_waits_and_leaves_the_terminal_alone() {
    let mut job = Job::start();
    job.types("\x1a");
    job.is_stopped();
    job.types("bg\n");
    // The shell reports at its next prompt that the job wants the terminal.
    for _ in 0..600 {
        job.types("\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        if job.shell.wrote().contains("Stopped (tty output)")
            || job.shell.wrote().matches("Stopped").count() > 1
        {
            break;
        }
    }
    let stopped = job.shell.wrote();
    let background = &stopped[stopped.rfind("bg\r\n").unwrap()..];
    assert!(background.contains("Stopped"), "{background}");
    assert!(!background.contains(ENTER), "{background}");
    job.types("fg\n");
    job.is_back();
    job.ends();
}

#[test]
fn started_in_the_background_it_waits_for_the_terminal() {
    let shell = OnTerminal::shell();
    let mut job = Job { shell, seen: 0 };
    job.shell.until("$ ");
    job.types(&format!("{} '' &\n", pty::example().display()));
    for _ in 0..600 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        job.shell.types(b"\n");
        if job.shell.wrote().contains("Stopped") {
            break;
        }
    }
    assert!(!job.shell.wrote().contains(ENTER));
    job.types("fg\n");
    job.is_back();
    job.ends();
}
