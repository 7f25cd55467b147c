//! Benchmarks of tikv-ctl as ratios in one run: `sst keys`, `sst verify` and `scan` compared with sst_dump
//! (Debian's rocksdb-tools) on the same files, `find` and `size` on a store of a gibibyte, and their memory.
//!
//! `cargo bench --profile dev -p tikv-ctl --bench sst`, or `./run bench`. `SST_BENCH_ENTRIES` and
//! `SST_BENCH_STORE_MIB` set the sizes of the files, which are created once and kept in the target's `tmp`.
mod files;
mod measure;

use std::{path::Path, process::Command};

use files::{Compression, Sizes};
use measure::{Cost, median, ms};

const CTL: &str = env!("CARGO_BIN_EXE_tikv-ctl");
const ROUNDS: usize = 5;

fn main() {
    let number = |name, or| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
    let sizes = Sizes {
        entries: number("SST_BENCH_ENTRIES", 3_000_000),
        store: number("SST_BENCH_STORE_MIB", 1024) << 20,
    };
    let has_peer = Command::new("sst_dump").arg("--help").output().is_ok();
    if !has_peer {
        println!("sst_dump is missing, so the comparison with it is skipped: apt-get install rocksdb-tools");
    }
    println!(
        "{} records of CF write in a file; CPU time (user and system) on one core, or wall time on two where it says \
         so; median of {ROUNDS} runs; in brackets the required ratio",
        sizes.entries
    );
    println!("{:<36}{:>14}{:>14}{:>9}", "", "tikv-ctl", "peer", "ratio");
    for compression in Compression::ALL {
        let sst = files::sst(compression, &sizes);
        verify(&sst, compression, has_peer);
        if has_peer {
            print(&sst, compression);
            scan(compression, &sizes);
        }
    }
    store(&sizes);
}

/// Runs on one core, so that both sides have the same.
fn alone(tool: &str, args: &[&str]) -> Cost {
    let rounds =
        (0..ROUNDS).map(|_| measure::run(Command::new("taskset").args(["-c", "0", tool]).args(args)));
    median(rounds.collect())
}

fn dump(sst: &Path, args: &[&str]) -> Cost {
    let file = format!("--file={}", sst.display());
    alone("sst_dump", &[&[file.as_str()], args].concat())
}

fn print(sst: &Path, compression: Compression) {
    let file = sst.display().to_string();
    let theirs = dump(sst, &["--command=scan"]);
    // In sst_dump's format, but with whole keys: sst_dump ends a key at the first NUL.
    let same = alone(CTL, &["sst_dump", &format!("--file={file}"), "--command=scan"]);
    line(&format!("{compression} print"), &same, &theirs, "[3]");
    let escaped = alone(CTL, &["sst", &file, "keys"]);
    line(&format!("{compression} print, escaped"), &escaped, &theirs, "[3]");
    two_cores(
        &format!("{compression} print"),
        &["sst_dump", &format!("--file={file}"), "--command=scan"],
        &theirs,
    );
    let theirs = dump(sst, &["--command=scan", "--output_hex"]);
    let hex = alone(CTL, &["sst_dump", &format!("--file={file}"), "--command=scan", "--output_hex"]);
    line(&format!("{compression} print, hex"), &hex, &theirs, "");
}

fn verify(sst: &Path, compression: Compression, has_peer: bool) {
    let file = sst.display().to_string();
    let one = alone(CTL, &["sst", &file, "verify", "--threads", "1"]);
    if has_peer {
        let theirs = dump(sst, &["--command=check", "--verify_checksum"]);
        line(&format!("{compression} verify"), &one, &theirs, "[1]");
    }
    let threads = |threads: &str| {
        let runs = (0..ROUNDS).map(|_| {
            measure::run(Command::new(CTL).args(["sst", file.as_str(), "verify", "--threads", threads]))
        });
        runs.map(|cost| cost.wall).min().unwrap_or_default()
    };
    let (one_core, two) = (threads("1"), threads("2"));
    println!(
        "{:<36}{:>11.1} ms{:>11.1} ms{:>8.2}x [1.7]  two threads against one, least wall time",
        format!("{compression} verify, 2 cores"),
        ms(two),
        ms(one_core),
        ms(one_core) / ms(two)
    );
    let size = sst.metadata().map_or(0, |meta| meta.len());
    println!(
        "{:<36}{:>11.1} MiB resident at most, of a file of {:.1} MiB",
        format!("{compression} verify, memory"),
        one.peak as f64 / 1048576.0,
        size as f64 / 1048576.0
    );
}

/// Decodes MVCC of the same rows, from a data directory that contains only this file.
fn scan(compression: Compression, sizes: &Sizes) {
    let (dir, sst) = files::one_sst_store(compression, sizes);
    let dir = dir.display().to_string();
    let theirs = dump(&sst, &["--command=scan"]);
    let range = ["--data-dir", &dir, "scan", "--from", "z", "--to", "{"];
    let ours = alone(CTL, &range);
    line(&format!("{compression} scan, MVCC decoded"), &ours, &theirs, "[1.67]");
    let all = alone(CTL, &[&range[..], &["--show-cf", "default,lock,write"]].concat());
    line(&format!("{compression} scan, all CFs shown"), &all, &theirs, "[1.67]");
    two_cores(&format!("{compression} scan"), &range, &theirs);
    let all = [&range[..], &["--show-cf", "default,lock,write"]].concat();
    two_cores(&format!("{compression} scan, all CFs shown"), &all, &theirs);
}

fn store(sizes: &Sizes) {
    let store = files::store(sizes);
    let dir = store.dir.display().to_string();
    let mib = store.bytes as f64 / 1048576.0;
    println!("\na store of {mib:.0} MiB in {} SSTs and a Raft log of {} MiB", store.ssts, store.raft >> 20);
    for (what, key) in [("find, a key that is there", &store.key), ("find, one that is not", &store.no_key)] {
        // `find` fails if there is nothing to find: this is the expected result.
        let runs =
            (0..ROUNDS).map(|_| measure::try_run(Command::new(CTL).args(["--data-dir", &dir, "find", key])));
        let cost = median(runs.collect());
        println!("{what:<36}{:>11.1} ms wall, {:.1} ms CPU [1000 ms]", ms(cost.wall), ms(cost.cpu));
    }
    let exact = alone(CTL, &["--data-dir", &dir, "size"]);
    let near = alone(CTL, &["--data-dir", &dir, "size", "--approximate"]);
    line("size, approximate against exact", &near, &exact, "");
    for args in [&["size"][..], &["size", "--approximate"]] {
        let out = Command::new(CTL).args(["--data-dir", &dir]).args(args).output();
        let text = out.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
        println!("    {:<20}{}", args.join(" "), text.lines().last().unwrap_or_default());
    }
    println!("size, memory: {:.1} MiB resident at most", exact.peak as f64 / 1048576.0);
}

/// Compares wall time on all cores with that of sst_dump, which has one thread.
fn two_cores(what: &str, args: &[&str], theirs: &Cost) {
    let rounds = (0..ROUNDS).map(|_| measure::run(Command::new(CTL).args(args)));
    let (ours, theirs) = (ms(median(rounds.collect()).wall), ms(theirs.wall));
    println!(
        "{:<36}{ours:>11.1} ms{theirs:>11.1} ms{:>8.2}x wall",
        format!("{what}, 2 cores"),
        theirs / ours
    );
}

fn line(what: &str, ours: &Cost, theirs: &Cost, wanted: &str) {
    let (ours, theirs) = (ms(ours.cpu), ms(theirs.cpu));
    println!("{what:<36}{ours:>11.1} ms{theirs:>11.1} ms{:>8.2}x {wanted}", theirs / ours);
}
