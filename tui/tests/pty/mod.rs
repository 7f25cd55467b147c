//! Runs a program on a pseudo-terminal and collects its output.
#![allow(dead_code)]
use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub const ENTER: &str = "\x1b[?1049h";
pub const LEAVE: &str = "\x1b[?1049l";
/// Upper bound of every wait; generous, because the machine may have other work.
const BOUND: Duration = Duration::from_secs(60);

/// Path of the example that shows the screen with made-up steps; it is near the test's own binary.
pub fn example() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join("examples").join("synthetic")
}

pub struct OnTerminal {
    pub child: Child,
    terminal: Option<File>,
    wrote: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    hung_up: Arc<AtomicBool>,
}

/// Opens a pseudo-terminal; returns the test's side and the program's.
fn open(columns: u16, rows: u16) -> (File, OwnedFd) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
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
    // Programs of other tests must not hold this terminal open.
    for fd in [master, slave] {
        // SAFETY: plain numbers.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }, 0);
    }
    // SAFETY: openpty returned both, and nothing else owns them.
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

/// Collects the program's output until the program ends.
fn read(mut screen: File, into: &Mutex<String>, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    let mut poll = libc::pollfd { fd: screen.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    while !stop.load(Ordering::SeqCst) {
        // SAFETY: the pointer is to one local.
        if unsafe { libc::poll(&raw mut poll, 1, 20) } <= 0 {
            continue;
        }
        // The read fails once the program has gone.
        let Ok(n @ 1..) = screen.read(&mut buffer) else { return };
        into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
}

impl OnTerminal {
    /// Starts the example with an argument. The terminal does not control its session, because the kernel
    /// discards unread output of a controlling terminal when the session ends.
    pub fn start(argument: &str) -> Self {
        let mut command = Command::new(example());
        command.arg(argument);
        Self::run(command, false)
    }

    /// Starts an interactive shell with the terminal as its controlling one, for job control.
    pub fn shell() -> Self {
        let mut command = Command::new("bash");
        command.args(["--norc", "--noprofile", "-i"]).env("PS1", "$ ").env_remove("PROMPT_COMMAND");
        Self::run(command, true)
    }

    pub fn run(mut command: Command, controlling: bool) -> Self {
        let (master, slave) = open(80, 24);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
        // The tests themselves may run under nohup.
        // SAFETY: `signal` may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_DFL);
                Ok(())
            });
        }
        if controlling {
            // SAFETY: both calls may be made between fork and exec.
            unsafe {
                command.pre_exec(|| {
                    let taken = libc::setsid() != -1 && libc::ioctl(0, libc::TIOCSCTTY as _, 0) != -1;
                    if taken { Ok(()) } else { Err(std::io::Error::last_os_error()) }
                });
            }
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        drop(command);
        let wrote = Arc::new(Mutex::new(String::new()));
        let hung_up = Arc::new(AtomicBool::new(false));
        let (screen, into, stop) = (master.try_clone().unwrap(), wrote.clone(), hung_up.clone());
        let reader = std::thread::spawn(move || read(screen, &into, &stop));
        Self { child, terminal: Some(master), wrote, reader: Some(reader), hung_up }
    }

    /// Closes the terminal, like a closed window or a lost connection.
    pub fn hang_up(&mut self) {
        self.hung_up.store(true, Ordering::SeqCst);
        self.reader.take().unwrap().join().unwrap();
        self.terminal = None;
    }

    pub fn wrote(&self) -> String {
        self.wrote.lock().unwrap().clone()
    }

    /// Waits until the program wrote `text`.
    pub fn until(&self, text: &str) -> usize {
        self.until_after(0, text)
    }

    /// Waits until the program wrote the words of `text` in their order, after its first `from` bytes. Words,
    /// because the program writes only the changed parts of a line. Returns the length so far, in bytes.
    pub fn until_after(&self, from: usize, text: &str) -> usize {
        let deadline = Instant::now() + BOUND;
        let next = |rest: &str, word: &str| rest.find(word).map(|at| at + word.len());
        loop {
            let wrote = self.wrote();
            let mut at = Some(from);
            for word in text.split(' ') {
                at = at.and_then(|at| Some(at + next(wrote.get(at..)?, word)?));
            }
            if at.is_some() {
                return wrote.len();
            }
            assert!(Instant::now() < deadline, "{text:?} was not written: {:?}", wrote.get(from..));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn types(&mut self, bytes: &[u8]) {
        self.terminal.as_ref().unwrap().write_all(bytes).unwrap();
    }

    pub fn kill(&self, signal: i32) {
        kill(self.child.id() as i32, signal);
    }

    /// Resizes the terminal and sends SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the pointer is to a local.
        let code = unsafe {
            libc::ioctl(self.terminal.as_ref().unwrap().as_raw_fd(), libc::TIOCSWINSZ, &raw const size)
        };
        assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
        self.kill(libc::SIGWINCH);
    }

    /// Waits for the end of the program.
    pub fn status(&mut self) -> ExitStatus {
        let deadline = Instant::now() + BOUND;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the program did not end: {:?}", self.wrote());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the program has ended and given the terminal back; returns its status and all output.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.status();
        self.until(LEAVE);
        (status, self.wrote())
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn kill(process: i32, signal: i32) {
    // SAFETY: a signal to a process that this test started.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0, "{}", std::io::Error::last_os_error());
}
