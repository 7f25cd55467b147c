//! Data directories with random damage in every kind of file: each command reports damage or prints its
//! earlier output; none panics, hangs or fills the memory.
//!
//! `DAMAGES=500` tries more than a test run has time for, `DAMAGE_DIRS=/a:/b` also damages copies of these
//! data directories, and `DAMAGE_SEED=7` selects other places.
mod common;
#[path = "common/random.rs"]
mod random;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use common::{Store, contents, copy_dir, ctl, fill};
use random::Random;
use store_files_checks::memory;

/// Commands that read a data directory.
const OF_DIR: &[&[&str]] = &[
    &["raft", "region", "--limit", "0"],
    &["raft", "log", "-r", "2", "-i", "7"],
    &["scan", "-f", "z", "-t", "{", "--show-cf", "default,lock,write", "--key-format", "escaped"],
    &["raw-scan", "-f", "z", "-t", "{", "--limit", "1000000", "--key-format", "escaped"],
    &["mvcc", "-k", "a", "--key-format", "raw", "--show-cf", "default,lock,write"],
    &["find", "a", "--key-format", "raw"],
    &["size"],
    &["size", "--approximate"],
    &["region-properties", "-r", "2"],
    &["range-properties"],
    &["bad-regions"],
    &["store"],
    &["cluster"],
    &["lsm"],
];
const LONGEST: Duration = Duration::from_secs(20);

/// Exit code, output, notes, with the directory's own path removed.
type Said = (u8, String, String);

/// Returns the commands that read only the file `path`.
fn of_file(path: &Path) -> &'static [&'static [&'static str]] {
    let name = path.file_name().unwrap_or_default().to_str().unwrap_or_default();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("sst") => &[
            &["sst", "FILE", "properties"],
            &["sst", "FILE", "layout"],
            &["sst", "FILE", "keys"],
            &["sst", "FILE", "verify"],
            &["sst", "FILE", "histogram"],
            &["sst_dump", "--file=FILE", "--command=scan", "--output_hex"],
        ],
        Some("log") => &[&["wal", "FILE"]],
        Some("raftlog" | "rewrite") => {
            &[&["log", "FILE"], &["raft-engine-ctl", "check", "--path", "DIR/raft-engine"]]
        }
        _ if name.starts_with("MANIFEST") => &[&["manifest", "FILE"]],
        _ => &[],
    }
}

fn ask(dir: &Path, args: &[&str], path: &Path) -> Said {
    let (dir, path) = (dir.display().to_string(), path.display().to_string());
    let args: Vec<String> = args.iter().map(|arg| arg.replace("FILE", &path).replace("DIR", &dir)).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (code, out, err) = ctl(&args);
    (code, out.replace(&dir, "DIR"), err.replace(&dir, "DIR"))
}

fn questions(path: &Path) -> Vec<Vec<&'static str>> {
    let of_dir = OF_DIR.iter().map(|args| ["--data-dir", "DIR"].iter().chain(*args).copied().collect());
    of_dir.chain(of_file(path).iter().map(|args| args.to_vec())).collect()
}

/// Damages a file in a random way; returns the description and the remaining bytes, or `None` for a removed
/// file.
fn damage(random: &mut Random, bytes: &[u8]) -> (String, Option<Vec<u8>>) {
    // Preallocated bytes that were never written have no content to damage.
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let mut data = bytes.to_vec();
    let at = random.below(written);
    let what = match random.below(7) {
        0 | 1 if written > 0 => {
            let bit = random.below(8);
            data[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        2 => {
            data.truncate(at);
            format!("cut to {at} bytes")
        }
        3 => return ("removed".to_owned(), None),
        4 => {
            let end = (at + 512).min(written);
            data[at..end].fill(0);
            format!("bytes {at} to {end} zeroed")
        }
        5 => {
            let len = 1 + random.below(700);
            data.extend((0..len).map(|_| random.below(256) as u8));
            format!("{len} random bytes appended")
        }
        _ => {
            let end = (at + 1 + random.below(64)).min(written);
            (at..end).for_each(|at| data[at] = random.below(256) as u8);
            format!("bytes {at} to {end} overwritten")
        }
    };
    (what, Some(data))
}

/// Whether commands read the file.
fn matters(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_str().unwrap_or_default();
    let kinds = ["sst", "log", "raftlog", "rewrite", "blob"];
    let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    name.starts_with("MANIFEST") || name.starts_with("OPTIONS") || name == "CURRENT" || kinds.contains(&kind)
}

/// Damages the directory `dir` in `count` ways, one after another.
fn walk(dir: &Path, count: usize, seed: u64) {
    let files: BTreeMap<PathBuf, Vec<u8>> =
        contents(dir).into_iter().filter(|(path, _)| matters(path)).collect();
    let size: usize = files.values().map(Vec::len).sum();
    let paths: Vec<&PathBuf> = files.keys().collect();
    let mut whole: BTreeMap<(Vec<&str>, PathBuf), Said> = BTreeMap::new();
    let (mut random, mut failed) = (Random(seed), 0);
    for number in 0..count {
        let path = paths[random.below(paths.len())];
        let (what, left) = damage(&mut random, &files[path]);
        let asked = questions(path);
        for args in &asked {
            let key = (args.clone(), path.clone());
            whole.entry(key).or_insert_with(|| ask(dir, args, path));
        }
        match &left {
            Some(data) => std::fs::write(path, data).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
        for args in asked {
            let place = format!("damage {number}: {} {what}; {args:?}", path.display());
            let start = Instant::now();
            let (said, most) = memory::measure_peak(|| {
                std::panic::catch_unwind(|| ask(dir, &args, path))
                    .unwrap_or_else(|_| panic!("{place}: a panic"))
            });
            let took = start.elapsed();
            assert!(took < LONGEST, "{place}: {took:?}");
            // The test keeps the output twice, and a command reads at most one whole file at a time.
            let output = said.1.len() + said.2.len();
            assert!(most < 4 * size + 4 * output + (64 << 20), "{place}: {most} bytes");
            let before = &whole[&(args, path.clone())];
            let notes = said.0 != 0 || !said.2.is_empty();
            assert!(
                notes || said == *before || is_valid_change(&said, left.is_none()),
                "{place}: {said:?} instead of {before:?}"
            );
            if said.0 != before.0 && said.0 != 0 {
                assert!(said.1.len() + said.2.len() > 0, "{place}: exit {} without a message", said.0);
                failed += 1;
            }
        }
        std::fs::write(path, &files[path]).unwrap();
    }
    println!("{}: {count} damages, {failed} commands failed of {}", dir.display(), whole.len());
    assert!(failed > 0);
}

/// Whether different output is correct: a log is shorter, or a listing shows the file's new content.
fn is_valid_change(said: &Said, removed: bool) -> bool {
    !said.1.is_empty() && !removed
}

fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(or)
}

#[test]
fn every_command_survives_any_damage() {
    let (count, seed) = (number("DAMAGES", 15) as usize, number("DAMAGE_SEED", 0x9e37_79b9_7f4a_7c15));
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    walk(dir.path(), count, seed);
    for other in std::env::var_os("DAMAGE_DIRS").iter().flat_map(|dirs| std::env::split_paths(dirs)) {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&other, copy.path());
        walk(copy.path(), count, seed);
    }
}
