//! The terminal is given back however the program ends: tried on a terminal of the test's own.
#![cfg(unix)]
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{FromRawFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// The example that runs the screen on made-up steps, beside the test's own binary.
fn example() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("examples").join("synthetic")
}

/// A program on a terminal, and all it wrote there.
struct OnTerminal {
    child: Child,
    keyboard: File,
    wrote: Arc<Mutex<String>>,
}

fn open_terminal() -> (File, OwnedFd) {
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut master, mut slave) = (-1, -1);
    // SAFETY: all pointers are to locals that outlive the call; the name and the settings may be null.
    let code = unsafe {
        libc::openpty(
            &mut master,
            &mut slave,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::from_ref(&size).cast_mut(),
        )
    };
    assert_eq!(code, 0, "no terminal: {}", std::io::Error::last_os_error());
    // SAFETY: openpty gave both, and nobody else owns them.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

impl OnTerminal {
    fn start(argument: &str) -> Self {
        let (master, slave) = open_terminal();
        let mut command = Command::new(example());
        command.arg(argument).env("TERM", "xterm-256color");
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        // It is not its session's controlling terminal: the kernel would throw away what was not read when that session ends.
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {}: {e}", example().display()));
        drop(command);
        let wrote = Arc::new(Mutex::new(String::new()));
        let (mut screen, into) = (master.try_clone().unwrap(), wrote.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The read fails once the program has gone.
            while let Ok(n) = screen.read(&mut buffer) {
                if n == 0 {
                    return;
                }
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        Self { child, keyboard: master, wrote }
    }

    fn until(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.wrote.lock().unwrap().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} was not written: {:?}", self.wrote.lock().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the program did not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        self.until(LEAVE);
        let wrote = self.wrote.lock().unwrap().clone();
        (status, wrote)
    }
}

#[test]
fn q_and_sigterm_give_the_terminal_back() {
    let mut program = OnTerminal::start("");
    program.until("client_send");
    program.keyboard.write_all(b"q").unwrap();
    let (status, wrote) = program.end();
    assert!(status.success() && wrote.contains(ENTER));
    let program = OnTerminal::start("");
    program.until("client_send");
    // SAFETY: the child is ours and has not been waited for.
    unsafe { libc::kill(program.child.id() as i32, libc::SIGTERM) };
    assert!(program.end().0.success());
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
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
fn a_panic_behind_the_screen_is_told_on_it() {
    let mut program = OnTerminal::start("panic-behind");
    program.until("panicked");
    assert!(!program.wrote.lock().unwrap().contains(LEAVE), "the screen goes on");
    program.keyboard.write_all(b"q").unwrap();
    assert!(program.end().0.success());
}
