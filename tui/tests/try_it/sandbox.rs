//! A folder in which the commands of a page run: with free ports, and with paths of its own for those below /tmp.
use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::programs::beside;

/// A command that takes longer is ended and reported.
const MAX_RUN: Duration = Duration::from_secs(180);
/// A server in the background must serve after this time.
const MAX_START: Duration = Duration::from_secs(60);
const HOST: &str = "127.0.0.1:";

/// The programs that `./run` starts.
struct Programs {
    tui: PathBuf,
    ctl: PathBuf,
    server: PathBuf,
    pd: PathBuf,
}

fn programs() -> &'static Programs {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let [ctl, server, pd] = ["tikv-ctl", "tikv-server", "pd-server"].map(beside);
        Programs { tui: PathBuf::from(env!("CARGO_BIN_EXE_tikv-tui")), ctl, server, pd }
    })
}

/// The folder, the servers that run in it, and the ports that replace those of the page.
pub struct Sandbox {
    dir: PathBuf,
    ports: BTreeMap<u16, u16>,
    servers: Vec<Child>,
    runs: usize,
}

impl Sandbox {
    /// Makes the folder, with `./run` as the page names it.
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("try-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = env::temp_dir().join(name);
        fs::create_dir_all(dir.join("tmp")).unwrap();
        let Programs { tui, ctl, server, pd } = programs();
        let script =
            |first: &str, program: &Path| format!("{first}) shift; exec '{}' \"$@\" ;;\n", program.display());
        let cases = [script("ctl", ctl), script("server", server), script("pd", pd)].concat();
        write_script(
            &dir.join("run"),
            &format!("case \"$1\" in\n{cases}*) exec '{}' \"$@\" ;;\nesac", tui.display()),
        );
        write_script(&dir.join("tikv-tui"), &format!("exec '{}' \"$@\"", tui.display()));
        write_script(&dir.join("tikv-ctl"), &format!("exec '{}' \"$@\"", ctl.display()));
        Sandbox { dir, ports: BTreeMap::new(), servers: Vec::new(), runs: 0 }
    }

    /// Runs a command to its end and returns its standard output; starts it and waits until it serves, if it ends
    /// with `&`.
    ///
    /// # Errors
    /// The exit code is not 0, or the command takes too long: the message has what it printed.
    pub fn run(&mut self, text: &str) -> Result<String, String> {
        match text.trim_end().strip_suffix('&') {
            Some(server) => self.start(server.trim_end()).map(|()| String::new()),
            None => self.finish(text),
        }
    }

    fn finish(&mut self, text: &str) -> Result<String, String> {
        let (mut child, out, err) = self.spawn(text);
        let end = Instant::now() + MAX_RUN;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                end_group(&mut child);
                return Err(format!("it still runs after {MAX_RUN:?}"));
            }
            thread::sleep(Duration::from_millis(10));
        };
        if !status.success() {
            return Err(format!("{status}\n{}{}", self.read(&out), self.read(&err)));
        }
        Ok(self.read(&out))
    }

    /// Starts a server. It serves when its ports accept connections, and its PD, if it has one, knows a leader.
    fn start(&mut self, text: &str) -> Result<(), String> {
        let (child, out, err) = self.spawn(text);
        self.servers.push(child);
        let end = Instant::now() + MAX_START;
        let (addresses, pd) =
            (self.addresses(text), self.addresses(text.split_once("--embedded-pd").unwrap_or_default().1));
        while !(addresses.iter().all(|a| TcpStream::connect(a).is_ok()) && pd.iter().all(|a| has_leader(a))) {
            let ended = self.servers.last_mut().and_then(|child| child.try_wait().unwrap());
            if ended.is_some() || Instant::now() > end {
                return Err(format!("it does not serve\n{}{}", self.read(&out), self.read(&err)));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts a shell in a process group of its own. Returns it with the files of its standard output and error.
    fn spawn(&mut self, text: &str) -> (Child, PathBuf, PathBuf) {
        self.runs += 1;
        let file = |kind: &str| self.dir.join(format!("{kind}.{}", self.runs));
        let (out, err) = (file("out"), file("err"));
        let path = env::var("PATH").unwrap_or_default();
        let child = Command::new("sh")
            .args(["-c", &self.inside(text)])
            .current_dir(&self.dir)
            .env("PATH", format!("{}:{path}", self.dir.display()))
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out).unwrap())
            .stderr(fs::File::create(&err).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        (child, out, err)
    }

    /// The command with this sandbox's ports and paths.
    fn inside(&mut self, text: &str) -> String {
        let mut parts = text.split(HOST);
        let mut command = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            command.push_str(HOST);
            match part[..digits].parse() {
                Ok(port) => command.push_str(&self.ports.entry(port).or_insert_with(free_port).to_string()),
                Err(_) => command.push_str(&part[..digits]),
            }
            command.push_str(&part[digits..]);
        }
        command.replace("/tmp/", &format!("{}/tmp/", self.dir.display()))
    }

    /// The addresses in a command, with this sandbox's ports.
    fn addresses(&mut self, text: &str) -> Vec<String> {
        let address = |part: &str| {
            let port: String = part.chars().take_while(char::is_ascii_digit).collect();
            format!("{HOST}{port}")
        };
        self.inside(text).split(HOST).skip(1).map(address).collect()
    }

    /// A file of output, with the page's ports and paths.
    fn read(&self, file: &Path) -> String {
        let bytes = fs::read(file).unwrap_or_default();
        let mut text =
            String::from_utf8_lossy(&bytes).replace(&format!("{}/tmp/", self.dir.display()), "/tmp/");
        for (shown, used) in &self.ports {
            text = text.replace(&format!("{HOST}{used}"), &format!("{HOST}{shown}"));
        }
        text
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.servers.iter_mut().for_each(end_group);
        // A file that cannot be removed is no mistake of the guide.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn write_script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Ends a shell and everything that it started: a process group has the id of its first process.
fn end_group(child: &mut Child) {
    let group = format!("-{}", child.id());
    // The group is gone already if its processes ended by themselves.
    let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    let _ = child.wait();
}

fn free_port() -> u16 {
    TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Whether the PD at the address knows the leader of a region.
fn has_leader(address: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /pd/api/v1/regions HTTP/1.1\r\nHost: pd\r\nConnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply)
    };
    ask().is_ok_and(|reply| {
        reply.split_once("\"leader\"").is_some_and(|(_, rest)| {
            rest.split('}').next().is_some_and(|leader| leader.contains("\"store_id\""))
        })
    })
}
