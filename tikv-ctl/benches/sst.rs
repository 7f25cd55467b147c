//! `sst keys`, `sst verify` and `scan` beside sst_dump (Debian's rocksdb-tools) on the same files, as ratios.
//!
//! `cargo bench -p tikv-ctl --bench sst`, or `./run bench`. `SST_BENCH_ENTRIES` says how many entries a file has.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const ROUNDS: usize = 5;

fn main() {
    let entries = std::env::var("SST_BENCH_ENTRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(500_000);
    let found = |tool| Command::new(tool).arg("--help").output().is_ok();
    if !found("ldb") || !found("sst_dump") {
        println!("sst: ldb and sst_dump are missing: apt-get install rocksdb-tools");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory for the files");
    println!(
        "{entries} write records of TiKV; times of the fastest of {ROUNDS} runs; ratio: how many times as fast as sst_dump"
    );
    println!("{:<22} {:>10} {:>10} {:>7}", "", "tikv-ctl", "sst_dump", "ratio");
    for compression in ["zstd", "lz4", "no"] {
        let Some(sst) = make(dir.path(), compression, entries) else {
            println!("{compression}: ldb could not make the file");
            continue;
        };
        compare(&sst, compression);
    }
}

fn compare(sst: &Path, compression: &str) {
    let ctl = env!("CARGO_BIN_EXE_tikv-ctl");
    let file = sst.display().to_string();
    let dump = |args: &[&str]| time(Command::new("sst_dump").arg(format!("--file={file}")).args(args));
    let ours = |args: &[&str]| time(Command::new("taskset").args(["-c", "0", ctl, "sst", &file]).args(args));
    let both = |args: &[&str]| time(Command::new(ctl).args(["sst", &file]).args(args));
    let scan = dump(&["--command=scan"]);
    let hex = dump(&["--command=scan", "--output_hex"]);
    let check = dump(&["--command=check", "--verify_checksum"]);
    let keys = ours(&["keys"]);
    line(compression, "print, raw", keys, scan);
    line(compression, "print, hex", keys, hex);
    let one = ours(&["verify", "--threads", "1"]);
    line(compression, "verify, 1 core", one, check);
    line(compression, "verify, 2 cores", both(&["verify", "--threads", "2"]), check);
}

fn line(compression: &str, what: &str, ours: Duration, theirs: Duration) {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{:<22} {:>7.1} ms {:>7.1} ms {:>6.2}x",
        format!("{compression} {what}"),
        ms(ours),
        ms(theirs),
        ms(theirs) / ms(ours)
    );
}

/// The fastest of some runs: what else runs on the machine only adds.
fn time(command: &mut Command) -> Duration {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let done = command.status().expect("the tool runs");
        assert!(done.success(), "{command:?}: {done}");
        best = best.min(start.elapsed());
    }
    best
}

/// One SST with `entries` records of CF write, made by RocksDB's own tool.
fn make(dir: &Path, compression: &str, entries: u64) -> Option<std::path::PathBuf> {
    let db = dir.join(compression);
    let flags = [format!("--db={}", db.display()), format!("--compression_type={compression}")];
    let mut load = Command::new("ldb")
        .args(&flags)
        .args(["--hex", "load", "--create_if_missing", "--disable_wal", "--bulk_load", "--block_size=32768"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .ok()?;
    let mut text = std::io::BufWriter::new(load.stdin.take()?);
    let mut random = 88172645463325252u64;
    for row in 0..entries {
        let key =
            [b"t".as_slice(), &(1u64 << 63 | 100).to_be_bytes(), b"_r", &(1u64 << 63 | row).to_be_bytes()];
        let commit = (446_000_000_000 + row * 7) << 18;
        let mut key = keys::data_key(&keys::encode_bytes(&key.concat()));
        key.extend_from_slice(&(!commit).to_be_bytes());
        let mut value = b"P".to_vec();
        keys::codec::encode_var_u64(&mut value, commit - (5 << 18));
        let words =
            ["alpha ", "beta ", "gamma ", "delta ", "epsilon ", "zeta ", "eta ", "theta ", "iota ", "kappa "];
        let mut short = String::new();
        while short.len() < 40 + (random >> 59) as usize * 2 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            short.push_str(words[(random >> 40) as usize % words.len()]);
            short.push_str(&(random & 0xffff).to_string());
        }
        value.extend_from_slice(&[b'v', short.len() as u8]);
        value.extend_from_slice(short.as_bytes());
        writeln!(text, "0x{} ==> 0x{}", keys::hex_upper(&key), keys::hex_upper(&value)).ok()?;
    }
    drop(text);
    load.wait().ok()?.success().then_some(())?;
    let compacted = Command::new("ldb").args(&flags).args(["compact", "--block_size=32768"]).output().ok()?;
    compacted.status.success().then_some(())?;
    let ssts = std::fs::read_dir(&db).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    ssts.filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .max_by_key(|path| path.metadata().map_or(0, |meta| meta.len()))
}
