//! Each kind of damage to each kind of file: every reading command names the file and the byte, exits with a
//! code other than 0 and reads the rest, or prints its earlier output.
//!
//! `DAMAGE_DIRS=/a:/b` also damages copies of these data directories.
mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use common::{Store, contents, copy_dir, ctl, fill};

/// Commands that read a data directory.
const OF_DIR: &[&str] = &[
    "raft region --all-regions",
    "raft log -r 2 -i 7",
    "scan -f z -t { --show-cf default,lock,write",
    "raw-scan -f z -t { --limit 1000000 --cf write",
    "raw-scan --limit 1000000 --cf raft",
    "mvcc -k a --key-format raw --show-cf default,lock,write",
    "size",
    "size --approximate",
    "region-properties -r 2",
    "range-properties",
    "bad-regions",
    "bad-ssts",
    "store",
    "find a --key-format raw",
    "diff -r 2 --to-data-dir DIR",
    "lsm",
    "manifest",
    "wal",
    "log",
    "ldb --db=DIR/db --column_family=write --hex scan",
    "ldb --db=DIR/db manifest_dump",
    "raft-engine-ctl check --path DIR/raft-engine",
    "raft-engine-ctl dump --path DIR/raft-engine",
];
const OF_SST: &[&str] = &[
    "sst FILE properties",
    "sst FILE layout",
    "sst FILE keys",
    "sst FILE verify",
    "sst FILE histogram",
    "sst_dump --file=FILE --command=scan --output_hex",
    "sst_dump --file=FILE --command=check",
];

/// Exit code, output, notes, with the directory's own path removed.
type Said = (u8, String, String);

fn ask(dir: &Path, line: &str, file: &Path) -> Said {
    let (dir, file) = (dir.display().to_string(), file.display().to_string());
    let words = line.split(' ').map(|word| word.replace("FILE", &file).replace("DIR", &dir));
    let args: Vec<String> = ["--data-dir".to_owned(), dir.clone()].into_iter().chain(words).collect();
    let (code, out, err) = ctl(&args.iter().map(String::as_str).collect::<Vec<_>>());
    (code, out.replace(&dir, "DIR"), err.replace(&dir, "DIR"))
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Returns the kind of the file; `None` if no command reads it.
fn kind(path: &Path) -> Option<&str> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match (extension, name(path)) {
        (Some(kind @ ("sst" | "log" | "raftlog" | "rewrite" | "blob")), _) => Some(kind),
        (_, "CURRENT" | "IDENTITY") => Some(name(path)),
        (_, other) => ["MANIFEST", "OPTIONS"].into_iter().find(|kind| other.starts_with(kind)),
    }
}

/// Returns descriptions of damages and the file's remaining bytes; `None` stands for a removed file.
fn damages(path: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<(String, Option<Vec<u8>>)> {
    let bytes = &files[path];
    // Preallocated bytes that were never written have no content to damage.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    let mut all = vec![
        ("removed".to_owned(), None),
        ("foreign".to_owned(), Some([&b"\x7fELF\x02\x01\x01"[..], &[0x5a; 700]].concat())),
        ("foreign text".to_owned(), Some(b"this is no file of any store\n".repeat(20))),
    ];
    let same = files.keys().filter(|other| *other != path && kind(other) == kind(path));
    let other = same.into_iter().find(|other| files[*other].len() != bytes.len());
    all.extend(other.map(|other| (format!("replaced by {}", name(other)), Some(files[other].clone()))));
    if end > 1 {
        let cuts = [0, 1, end / 2, end - 1];
        all.extend(cuts.map(|at| (format!("cut at {at}"), Some(bytes[..at].to_vec()))));
        let places = (0..end).step_by((end / 24).max(1)).chain([end - 1, end.saturating_sub(8)]);
        // A file of empty batches is valid with any alignment.
        let places = places.filter(|at| kind(path) != Some("rewrite") || *at < 61);
        all.extend(places.map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            (format!("bit flipped at {at}"), Some(flipped))
        }));
    }
    all
}

/// Returns the part that is missing from the report `said`, if any.
fn missing(path: &Path, what: &str, before: &Said, said: &Said, of_file: bool) -> Option<&'static str> {
    if said == before {
        return None;
    }
    // The settings are no data: without them the output stays, with a warning.
    if kind(path) == Some("OPTIONS") && (said.0, &said.1) == (before.0, &before.1) {
        return None;
    }
    let text = format!("{}{}", said.1, said.2);
    let is_log = matches!(kind(path), Some("log" | "raftlog" | "rewrite" | "MANIFEST"));
    if of_file && what.starts_with("replaced") {
        // The file is now another valid file.
        return None;
    }
    if said.0 == 0 {
        // A log may end anywhere; one that ends within a record says where.
        let cut = what.starts_with("cut") || what == "removed" || what.starts_with("replaced");
        let reported = said.2.contains("at byte") || said.2.contains("found none");
        return match is_log {
            true if reported || (cut && !said.1.is_empty()) => None,
            true => Some("a note on where the log ends"),
            false => Some("an exit code other than 0"),
        };
    }
    // The whole Raft log may be missing.
    let named = text.contains(name(path)) || (is_log && text.contains("DIR/raft-engine: "));
    if !named {
        return Some("the file's name");
    }
    let placed = text.contains("at byte") || what == "removed" || text.contains("raft-engine: ");
    (!placed).then_some("the byte")
}

/// Applies all damages to all files of `dir`.
fn table(dir: &Path) -> usize {
    let files = contents(dir);
    let (mut failed, mut tried) = (Vec::new(), 0);
    for (path, bytes) in files.iter().filter(|(path, _)| kind(path).is_some()) {
        let of_file = if kind(path) == Some("sst") { OF_SST } else { &[] };
        let lines: Vec<&str> = OF_DIR.iter().chain(of_file).copied().collect();
        let before: Vec<Said> = lines.iter().map(|line| ask(dir, line, path)).collect();
        for (what, left) in damages(path, &files) {
            match left {
                Some(left) => std::fs::write(path, left).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
            for (number, (line, before)) in lines.iter().zip(&before).enumerate() {
                tried += 1;
                let said = ask(dir, line, path);
                if let Some(missing) = missing(path, &what, before, &said, number >= OF_DIR.len()) {
                    let (code, out, err) = said;
                    let out: String = out.chars().take(300).collect();
                    failed.push(format!(
                        "{} {what}; {line}: {missing} expected; {code} {out} {err}",
                        name(path)
                    ));
                }
            }
        }
        std::fs::write(path, bytes).unwrap();
    }
    assert!(failed.is_empty(), "{} of {tried}:\n{}", failed.len(), failed.join("\n"));
    tried
}

#[test]
fn every_damage_is_reported_with_file_and_offset() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    assert!(table(dir.path()) > 2000);
    for other in std::env::var_os("DAMAGE_DIRS").iter().flat_map(|dirs| std::env::split_paths(dirs)) {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&other, copy.path());
        println!("{}: {} commands", other.display(), table(copy.path()));
    }
}

#[test]
fn a_damaged_log_names_the_keys_and_regions_after_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let wal = contents(dir.path()).into_keys().rfind(|path| kind(path) == Some("log")).unwrap();
    let mut bytes = std::fs::read(&wal).unwrap();
    // In the first record, after its header.
    bytes[20] ^= 1;
    std::fs::write(&wal, &bytes).unwrap();
    let (code, out, err) = ask(dir.path(), "scan -f z -t { --show-cf write", &wal);
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("damage in CF write") && err.contains("changes after it are skipped"), "{err}");
    assert!(err.contains("regions 2") && !out.contains("commit_ts: 21"), "{out}{err}");
    // The changes after the damage can be printed.
    let (code, out, err) = ask(dir.path(), "wal", &wal);
    assert!(code == 1 && err.contains("the next record is at byte") && out.contains("zn"), "{out}{err}");
}

#[test]
fn a_damaged_raft_log_is_read_after_the_damage() {
    let dir = tempfile::tempdir().unwrap();
    fill(&Store::open(dir.path()));
    let log = contents(dir.path()).into_keys().find(|path| kind(path) == Some("raftlog")).unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[69 + 20] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let (code, out, err) = ask(dir.path(), "raft log -r 4 -i 7", &log);
    assert!(
        code == 1 && out.contains("region: 4") && err.contains("reading continues at byte"),
        "{out}{err}"
    );
    let (code, _, err) = ask(dir.path(), "raft-engine-ctl check --path DIR/raft-engine", &log);
    assert!(code == 1 && err.contains("at byte 69"), "{err}");
}

#[test]
fn an_sst_with_the_name_of_another_is_skipped_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    fill(&store);
    let write = |name: &str| {
        store.put_version(name.as_bytes(), 40, 41, b"same");
        store.kv.flush_cfs(&[engine_rocks::CF_WRITE], true).unwrap();
    };
    // Two files of one column family and of equal size.
    write("p");
    write("q");
    drop(store);
    let ssts: Vec<PathBuf> =
        contents(dir.path()).into_keys().filter(|path| kind(path) == Some("sst")).collect();
    for (from, to) in [(ssts.len() - 1, 0), (0, ssts.len() - 1)] {
        let kept = std::fs::read(&ssts[to]).unwrap();
        std::fs::copy(&ssts[from], &ssts[to]).unwrap();
        let (code, _, err) = ask(dir.path(), "size", &ssts[to]);
        assert!(
            code == 1 && err.contains("at byte 0") && err.contains("a different file has this name"),
            "{err}"
        );
        assert!(err.contains(name(&ssts[to])) && err.contains("lost: keys"), "{err}");
        std::fs::write(&ssts[to], kept).unwrap();
    }
}
