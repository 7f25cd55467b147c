//! Compares the speed with other tools as ratios within one run: a flame graph of 200 k distinct stacks and
//! the collapse of perf script's text with inferno, and names for 100 k addresses with `addr2line` and
//! `llvm-symbolizer`.
//!
//! `cargo bench -p tracepoints-profile -- BINARY` resolves addresses of BINARY, preferably one of 100 MB or
//! more with debug information; the default is this bench itself.
use std::{
    fmt::Write as _,
    hint::black_box,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use inferno::collapse::{Collapse, perf};
use object::{Object as _, ObjectSymbol as _};
use tracepoints_profile::{
    FlameOptions, FoldOptions, Folded, flame,
    format::{ReadOptions, perf_script},
    symbols,
};

const STACKS: usize = 200_000;
const SAMPLES: usize = 100_000;
const ADDRESSES: usize = 100_000;
const ROUNDS: usize = 5;

fn main() {
    let binary = std::env::args().skip(1).find(|arg| !arg.starts_with("--")).map(PathBuf::from);
    pictures();
    collapse();
    let binary = binary.or_else(|| std::env::current_exe().ok());
    match binary {
        Some(binary) => names(&binary),
        None => println!("symbols: cannot find this program; give one as argument"),
    }
}

/// Returns the best time of some rounds, since the machine may be busy.
fn best(mut run: impl FnMut()) -> Duration {
    let time = |run: &mut dyn FnMut()| {
        let from = Instant::now();
        run();
        from.elapsed()
    };
    (0..ROUNDS).map(|_| time(&mut run)).min().unwrap_or_default()
}

fn print(what: &str, ours: Duration, peers: &[(&str, Option<Duration>)]) {
    println!("{what}: {:.3} s", ours.as_secs_f64());
    for (peer, time) in peers {
        match time {
            Some(time) => {
                let ratio = time.as_secs_f64() / ours.as_secs_f64();
                println!("    {peer}: {:.3} s, {ratio:.2} x our time", time.as_secs_f64());
            }
            None => println!("    {peer}: not installed, or it failed"),
        }
    }
}

/// Pseudo-random numbers, equal in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Makes the frames of one stack, the outermost first; callees depend on their callers.
fn stack(numbers: &mut Numbers) -> Vec<String> {
    let depth = 12 + numbers.below(24);
    let mut at = numbers.below(8);
    (0..depth)
        .map(|level| {
            let frame = format!("tikv::layer{level}::Type{at}::call");
            at = (at * 7 + numbers.below(5)) % 400;
            frame
        })
        .collect()
}

fn pictures() {
    let (mut numbers, mut folded) = (Numbers(1), Folded::default());
    while folded.len() < STACKS {
        folded.add(stack(&mut numbers), 1 + numbers.below(50) as u64);
    }
    let options = FlameOptions::default();
    let ours = best(|| drop(black_box(flame::svg_of(&folded, "bench", &options))));
    let text = folded.to_string();
    let library = best(|| {
        let mut out = Vec::new();
        let mut options = inferno::flamegraph::Options::default();
        let drawn = inferno::flamegraph::from_reader(&mut options, text.as_bytes(), &mut out);
        assert!(black_box(drawn).is_ok());
    });
    let cli = command("inferno-flamegraph", &[], text.as_bytes());
    print(
        &format!("{STACKS} distinct stacks to SVG"),
        ours,
        &[("inferno's library, its default options", Some(library)), ("inferno-flamegraph", cli)],
    );
}

fn collapse() {
    let (mut numbers, mut text) = (Numbers(2), String::new());
    for i in 0..SAMPLES {
        let (thread, time) = (numbers.below(16), i as f64 / 999.0);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "grpc-server-{thread}  100/{} [001] {time:.6}:   1001001 cpu-clock:pppH: ",
            200 + thread
        );
        for frame in stack(&mut numbers).iter().rev() {
            let (address, offset) = (0x5500_0000 + numbers.below(1 << 20), numbers.below(64));
            let _ = writeln!(text, "\t    {address:12x} {frame}+0x{offset:x} (/usr/bin/tikv-server)");
        }
        text.push('\n');
    }
    let ours = best(|| {
        let read = perf_script::read(text.as_bytes(), &ReadOptions::default());
        let read = read.map(|profile| profile.fold(&FoldOptions::default()).to_string());
        assert!(black_box(read).is_ok());
    });
    let mut options = perf::Options::default();
    options.nthreads = 1;
    let library = best(|| {
        let mut out = Vec::new();
        let collapsed = perf::Folder::from(options.clone()).collapse(text.as_bytes(), &mut out);
        assert!(black_box(collapsed).is_ok());
    });
    let cli = command("inferno-collapse-perf", &[], text.as_bytes());
    let size = text.len() >> 20;
    print(
        &format!("{SAMPLES} samples of perf script's text, {size} MB, collapsed"),
        ours,
        &[("inferno's library, one thread", Some(library)), ("inferno-collapse-perf", cli)],
    );
}

fn names(binary: &Path) {
    let addresses = addresses(binary);
    if addresses.is_empty() {
        println!("symbols: {} has no functions in its symbol table", binary.display());
        return;
    }
    let from = Instant::now();
    let found = symbols::lookup(binary, &addresses);
    let ours = from.elapsed();
    let named = found.map_or(0, |found| found.iter().filter(|frames| !frames.is_empty()).count());
    let mut input = String::new();
    for address in &addresses {
        let _ = writeln!(input, "{address:#x}");
    }
    let path = binary.display().to_string();
    let gnu = command("addr2line", &["-ifCe", &path], input.as_bytes());
    let llvm = command("llvm-symbolizer", &["-e", &path], input.as_bytes());
    let size = std::fs::metadata(binary).map_or(0, |about| about.len() >> 20);
    let what = format!("{} addresses of {path} ({size} MB), {named} named", addresses.len());
    print(&what, ours, &[("addr2line -ifC", gnu), ("llvm-symbolizer", llvm)]);
}

/// Picks addresses within functions all over the program, sorted.
fn addresses(binary: &Path) -> Vec<u64> {
    let Ok(bytes) = std::fs::read(binary) else { return Vec::new() };
    let Ok(object) = object::File::parse(bytes.as_slice()) else { return Vec::new() };
    let text = object.symbols().filter(|s| s.kind() == object::SymbolKind::Text && s.size() > 0);
    let functions: Vec<(u64, u64)> = text.map(|s| (s.address(), s.size())).collect();
    if functions.is_empty() {
        return Vec::new();
    }
    let mut numbers = Numbers(3);
    let pick = |_| {
        let (start, size) = functions[numbers.below(functions.len())];
        start + numbers.below(size as usize) as u64
    };
    let mut addresses: Vec<u64> = (0..ADDRESSES).map(pick).collect();
    addresses.sort_unstable();
    addresses
}

/// Returns the time of a program with this input; `None` if it is not installed. Runs once, since some take
/// minutes.
fn command(program: &str, args: &[&str], input: &[u8]) -> Option<Duration> {
    let from = Instant::now();
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input));
    let status = child.wait().ok()?;
    (matches!(written, Some(Ok(()))) && status.success()).then(|| from.elapsed())
}
