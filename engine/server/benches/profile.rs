//! Measures the cost of CPU profiles for a server under load, over a long time: starts a tikv-server and a
//! few clients, and alternates rounds with and without a profile.
//!
//! `cargo bench --profile dev --workspace --bench profile -- [--minutes N] [--hz N] [--ops N] [--always 1]`:
//! without `--hz` it alternates between 99 and 999 Hz; `--ops` limits the clients' operations per second;
//! `--always` omits the rounds without a profile. It fails if the server dies, leaks file descriptors, or if
//! its samples do not add up to the CPU time it used.
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use kvproto::{kvrpcpb::*, tikvpb::tikv_client::TikvClient};
use pd::client::PdClient;
use tonic::transport::Channel;
use tracepoints_profile::format::pprof;

const CLIENTS: u64 = 8;
const KEYS: u64 = 1000;
/// Duration of one round; its profile is one answer of the status server.
const ROUND: Duration = Duration::from_secs(10);
/// Allowed relative difference between sampled and used CPU time, in addition to one kernel tick for each
/// thread in each round: the kernel checks timers once per tick.
const DRIFT: f64 = 0.02;
const TICK: f64 = 0.01;

struct Server {
    child: Child,
    pd: String,
    store: String,
    status: String,
}

impl Server {
    fn start(dir: &Path) -> Result<Self> {
        let status = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_tikv-server"))
            .args(["--addr", "127.0.0.1:0", "--log-level", "warn", "--embedded-pd", "127.0.0.1:0"])
            .args(["--status-addr", &status, "--data-dir"])
            .arg(dir.join("store"))
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("the server's output")?;
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let mut after = |what: &str| -> Result<String> {
            let line = lines.find(|l| l.contains(what)).with_context(|| format!("{what} was not printed"))?;
            Ok(line.split(what).nth(1).unwrap_or("").trim().split(';').next().unwrap_or("").to_owned())
        };
        let (pd, store) = (after("PD serves on")?, after(" serves on ")?);
        Ok(Self { child, pd, store, status })
    }

    fn descriptors(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))?.count())
    }

    fn threads(&self) -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/task", self.child.id()))?.count())
    }

    fn rss_mb(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
    }

    /// Returns the CPU time of all threads in seconds.
    fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after = stat.rsplit(')').next().context("a process's numbers")?;
        let ticks: Vec<f64> =
            after.split_whitespace().skip(11).take(2).map_while(|n| n.parse().ok()).collect();
        // User and system time, in hundredths of a second on every Linux.
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }

    /// Fetches a profile as protobuf; a refusal is an error.
    fn profile(&self, seconds: u64, hz: u32) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.status)?;
        stream.set_read_timeout(Some(Duration::from_secs(seconds + 60)))?;
        let path = format!("/debug/pprof/profile?seconds={seconds}&frequency={hz}");
        let headers = "Host: s\r\nConnection: close\r\nContent-Type: application/protobuf";
        write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n\r\n")?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let end = reply.windows(4).position(|w| w == b"\r\n\r\n").context("an HTTP answer")?;
        ensure!(reply.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&reply));
        Ok(reply.split_off(end + 4))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Parses the sampled and the used CPU time in seconds from the profile's own comment.
fn accounted(comments: &[String]) -> Result<(f64, f64)> {
    let line = comments.iter().find_map(|c| c.strip_prefix("sampled ")).context("the comment")?;
    let (sampled, after) = line.split_once(" s of CPU time, of ").context("both times")?;
    let used = after.split(' ').next().context("a number")?;
    Ok((sampled.parse()?, used.parse()?))
}

/// Runs clients that get and put as fast as possible, or `ops` times a second if that is not 0.
async fn load(server: &Server, ops: u64, done: &Arc<AtomicU64>, stop: &Arc<AtomicBool>) -> Result<()> {
    let pd = PdClient::connect(std::slice::from_ref(&server.pd)).await?;
    let (deadline, found) = (Instant::now() + Duration::from_secs(60), loop_until_led(&pd));
    let (region, leader) = tokio::time::timeout_at(deadline.into(), found).await??;
    let context = Context {
        region_id: region.id,
        region_epoch: region.region_epoch,
        peer: Some(leader),
        ..Context::default()
    };
    for n in 0..CLIENTS {
        let client = TikvClient::connect(format!("http://{}", server.store)).await?;
        let every = (ops > 0).then(|| Duration::from_secs(CLIENTS) / ops as u32);
        tokio::spawn(run_client(n, every, client, context.clone(), done.clone(), stop.clone()));
    }
    Ok(())
}

async fn loop_until_led(pd: &PdClient) -> Result<(kvproto::metapb::Region, kvproto::metapb::Peer)> {
    loop {
        if let Ok(found) = pd.get_region(b"").await
            && let Some(leader) = found.leader
        {
            return Ok((found.region, leader));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn run_client(
    n: u64,
    every: Option<Duration>,
    mut client: TikvClient<Channel>,
    context: Context,
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    let mut i = n * 7919;
    let mut next = tokio::time::Instant::now();
    while !stop.load(Ordering::Relaxed) {
        i += 1;
        if let Some(every) = every {
            next = tokio::time::Instant::now().max(next + every);
            tokio::time::sleep_until(next).await;
        }
        let (context, key) = (Some(context.clone()), format!("k{:06}", i % KEYS).into_bytes());
        let answered = match i % 4 {
            0 => {
                let value = vec![i as u8; 100];
                let put = RawPutRequest { context, key, value, ..Default::default() };
                client.raw_put(put).await.is_ok()
            }
            1 => client.raw_get(RawGetRequest { context, key, ..Default::default() }).await.is_ok(),
            _ => {
                let version = u64::MAX >> 1;
                client.kv_get(GetRequest { context, key, version, ..Default::default() }).await.is_ok()
            }
        };
        if answered {
            done.fetch_add(1, Ordering::Relaxed);
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn argument(name: &str, default: u64) -> Result<u64> {
    let args: Vec<String> = std::env::args().collect();
    match args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)) {
        Some(value) => value.parse().with_context(|| format!("{name}: expected a number, found {value:?}")),
        None => Ok(default),
    }
}

/// The measurements of all rounds of one kind.
#[derive(Default)]
struct Rounds {
    ops: Vec<f64>,
    /// CPU time in microseconds per operation.
    cpu_us: Vec<f64>,
    /// CPU time in seconds, sampled and used.
    sampled: f64,
    used: f64,
    /// CPU time in seconds for symbolizing the samples.
    naming: f64,
}

/// Values watched until the end of the run.
#[derive(Default)]
struct Watched {
    fds: Vec<usize>,
    memory: Vec<u64>,
}

/// Runs one round at `hz`, or without a profile if that is 0.
fn round(
    server: &mut Server,
    hz: u32,
    done: &AtomicU64,
    into: &mut Rounds,
    watched: &mut Watched,
) -> Result<()> {
    let (from, answers, cpu) = (Instant::now(), done.load(Ordering::Relaxed), server.cpu()?);
    let profile = match hz {
        0 => {
            std::thread::sleep(ROUND);
            None
        }
        hz => Some(server.profile(ROUND.as_secs(), hz)?),
    };
    let (took, cpu) = (from.elapsed().as_secs_f64(), server.cpu()? - cpu);
    let ops = (done.load(Ordering::Relaxed) - answers) as f64 / took;
    into.ops.push(ops);
    let Some(profile) = profile else {
        into.cpu_us.push(cpu * 1e6 / (ops * took));
        println!("     0 Hz {ops:>8.0} ops/s {:>7.1} us of CPU each", cpu * 1e6 / (ops * took));
        return Ok(());
    };
    let comments = pprof::read(&profile)?.comments;
    let (sampled, used) = accounted(&comments)?;
    // Names are looked up after the sampling; that time is reported separately.
    let each = used * 1e6 / (ops * ROUND.as_secs_f64());
    into.cpu_us.push(each);
    (into.sampled, into.used) = (into.sampled + sampled, into.used + used);
    into.naming += cpu - used;
    watched.fds.push(server.descriptors()?);
    watched.memory.push(server.rss_mb()?);
    println!("{hz:>6} Hz {ops:>8.0} ops/s {each:>7.1} us of CPU each; {sampled:.2} s sampled of {used:.2}");
    comments.iter().filter(|c| !c.starts_with("sampled")).for_each(|c| println!("          {c}"));
    if let Some(status) = server.child.try_wait()? {
        bail!("the server ended: {status}");
    }
    Ok(())
}

fn main() -> Result<()> {
    let (minutes, hz) = (argument("--minutes", 2)?, argument("--hz", 0)? as u32);
    let (ops, always) = (argument("--ops", 0)?, argument("--always", 0)? != 0);
    let mut rates = if hz == 0 { vec![99, 999] } else { vec![hz] };
    if !always {
        rates.insert(0, 0);
    }
    let dir = tempfile::tempdir()?;
    let mut server = Server::start(dir.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    runtime.block_on(load(&server, ops, &done, &stop))?;
    std::thread::sleep(Duration::from_secs(3));
    println!("{CLIENTS} clients, rounds of {ROUND:?}, {minutes} min, {} threads\n", server.threads()?);
    let mut rounds: Vec<Rounds> = rates.iter().map(|_| Rounds::default()).collect();
    let mut watched = Watched::default();
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    while Instant::now() < end {
        for (hz, into) in rates.iter().zip(&mut rounds) {
            round(&mut server, *hz, &done, into, &mut watched)?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    println!();
    let median = |of: &[f64]| {
        let mut of = of.to_vec();
        of.sort_by(f64::total_cmp);
        of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let medians: Vec<(f64, f64)> = rounds.iter().map(|r| (median(&r.ops), median(&r.cpu_us))).collect();
    let without = rates.iter().position(|hz| *hz == 0).map(|i| medians[i]);
    for ((hz, (ops, cpu)), of) in rates.iter().zip(&medians).zip(&rounds).filter(|((hz, _), _)| **hz > 0) {
        let beside = without.map_or_else(String::new, |(none, each)| {
            format!(
                "; with / without: {:.3} of the answers, {:.3} of the CPU for each",
                ops / none,
                cpu / each
            )
        });
        let naming = of.naming / of.ops.len() as f64;
        println!(
            "{hz} Hz: {ops:.0} ops/s, {cpu:.1} us of CPU each{beside}; then {naming:.2} s of CPU for the names"
        );
    }
    let ticks = TICK * watched.fds.len() as f64 * server.threads()? as f64;
    let (sampled, used) = rounds.iter().fold((0.0, 0.0), |(s, u), r| (s + r.sampled, u + r.used));
    println!(
        "samples stand for {sampled:.2} s of {used:.2} s of CPU time: {:+.2} %",
        (sampled / used - 1.0) * 100.0
    );
    ensure!((sampled - used).abs() < DRIFT * used + ticks, "samples do not add up to the CPU time");
    let fds = &watched.fds;
    let (first, last) = (fds.get(1).or(fds.first()).context("a round")?, fds.last().context("a round")?);
    ensure!(*last <= first + 4, "file descriptors grow: {fds:?}");
    // Memtables grow until they are flushed, so a person must judge the memory use.
    let memory = &watched.memory;
    let ends = (memory.first().context("a round")?, memory.last().context("a round")?);
    println!("file descriptors {first} at first, {last} at last; resident {} MB, then {} MB", ends.0, ends.1);
    Ok(())
}
