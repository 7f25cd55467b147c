//! An encrypted data directory reads as the plain one does if its key is given. Without the key, every
//! command names the encrypted file and the remedy.
mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use common::{
    Store, contents, ctl,
    encrypted::{encrypt, key_dict, plaintext},
    fill,
};
use kvproto::encryptionpb::EncryptedContent;
use prost::Message;
use tikv_ctl::encryption::encode_files;

fn stores() -> (tempfile::TempDir, tempfile::TempDir) {
    let (plain, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&Store::open(plain.path()));
    encrypt(plain.path(), secret.path());
    (plain, secret)
}

fn run(dir: &Path, args: &[&str]) -> (u8, String, String) {
    let text = dir.display().to_string();
    let (code, out, err) = ctl(&[args, &["--data-dir", &text]].concat());
    (code, out.replace(&text, "DIR"), err.replace(&text, "DIR"))
}

const COMMANDS: &[&[&str]] = &[
    &["raft", "region", "--all-regions"],
    &["raft", "log", "-r", "2", "-i", "7"],
    &["size"],
    &["scan", "-f", "z", "-t", "{", "--show-cf", "default,lock,write", "--key-format", "escaped"],
    &["raw-scan", "--limit", "100", "--cf", "write"],
    &["region-properties", "-r", "2"],
    &["bad-regions"],
    &["bad-ssts"],
    &["store"],
    &["find", "a", "--key-format", "raw"],
];

#[test]
fn with_its_keys_a_directory_reads_as_the_plain_one() {
    let (plain, secret) = stores();
    key_dict(secret.path(), &plaintext());
    let before = contents(secret.path());
    for args in COMMANDS {
        assert_eq!(run(secret.path(), args), run(plain.path(), args), "{args:?}");
    }
    assert!(before == contents(secret.path()), "no byte was changed");
    // Commands on single files find the dictionary of the surrounding directory.
    for part in ["lsm", "manifest", "wal", "log"] {
        let of = |dir: &Path| {
            let text = dir.display().to_string();
            let (code, out, err) = ctl(&[part, &text]);
            (code, out.replace(&text, "DIR"), err.replace(&text, "DIR"))
        };
        let (here, there) = (of(secret.path()), of(plain.path()));
        assert_eq!(here, there, "{part}");
        assert_eq!(here.0, 0, "{part}: {}", here.2);
    }
    let raft = secret.path().join("raft-engine").display().to_string();
    let (code, out, err) = ctl(&["raft-engine-ctl", "--", "check", "-p", &raft]);
    assert_eq!((code, out.as_str()), (0, "All data is Ok\n"), "{err}");
    let (code, _, err) = ctl(&["raft-engine-ctl", "--", "try-purge", "-p", &raft]);
    assert!(code == 1 && err.contains("encrypted at rest") && err.contains("nothing was changed"), "{err}");
    let (code, _, err) = run(secret.path(), &["compact", "-c", "write"]);
    assert!(code == 1 && err.contains("encrypted at rest") && err.contains("nothing was changed"), "{err}");
    assert!(before == contents(secret.path()), "no byte was changed");
}

#[test]
fn without_keys_every_command_names_the_file_and_the_remedy() {
    let (_plain, secret) = stores();
    let metadata =
        ["iv", "aes_gcm_tag"].map(|name| (name.to_owned(), vec![1; if name == "iv" { 12 } else { 16 }]));
    let mut metadata: std::collections::HashMap<String, Vec<u8>> = metadata.into();
    metadata.insert("method".into(), b"aes256-gcm".to_vec());
    let content = EncryptedContent {
        metadata: metadata.into_iter().collect(),
        content: vec![1; 40],
        ..Default::default()
    };
    key_dict(secret.path(), &content);
    for args in COMMANDS {
        let (code, _, err) = run(secret.path(), args);
        let says = err.contains("DIR/db/") && err.contains("DIR/key.dict") && err.contains("--config FILE");
        assert!(code == 1 && says && err.lines().count() == 1, "{args:?}: {err}");
    }
    std::fs::remove_file(secret.path().join("key.dict")).unwrap();
    let (code, _, err) = run(secret.path(), &["size"]);
    assert!(code == 1 && err.contains("key.dict"), "{err}");
}

#[test]
fn a_file_is_decrypted_to_its_plain_bytes() {
    let (plain, secret) = stores();
    key_dict(secret.path(), &plaintext());
    let other = tempfile::tempdir().unwrap();
    let to = other.path().join("plain");
    for (path, bytes) in contents(plain.path()) {
        let place = path.strip_prefix(plain.path()).unwrap();
        if ["LOCK", "LOG"].contains(&place.file_name().unwrap().to_str().unwrap()) {
            continue;
        }
        let from = secret.path().join(place);
        let args =
            ["decrypt-file", "--yes", "--file", from.to_str().unwrap(), "--out-file", to.to_str().unwrap()];
        let (code, out, err) = run(secret.path(), &args);
        assert_eq!(code, 0, "{err}");
        assert!(out.ends_with(&format!("crc32: {}\n", crc32fast::hash(&bytes))), "{out}");
        assert!(std::fs::read(&to).unwrap() == bytes, "{}", place.display());
    }
    let file = secret.path().join("db/CURRENT");
    let inside = secret.path().join("x");
    let args =
        ["decrypt-file", "-y", "--file", file.to_str().unwrap(), "--out-file", inside.to_str().unwrap()];
    let (code, _, err) = run(secret.path(), &args);
    assert!(code == 1 && err.contains("outside of the data directory"), "{err}");
    let (code, _, err) = ctl(&args);
    assert!(code == 1 && err.contains("--data-dir"), "{err}");
}

#[test]
fn entries_of_missing_files_are_removed_and_restored() {
    let (_plain, secret) = stores();
    key_dict(secret.path(), &plaintext());
    let dict = secret.path().join("file.dict");
    let before = contents(secret.path());
    let (code, out, _) = run(secret.path(), &["cleanup-encryption-meta", "--dry-run"]);
    assert!(code == 0 && out.starts_with("0 changes"), "{out}");
    let gone = before.keys().find(|path| path.extension().is_some_and(|e| e == "sst")).unwrap();
    std::fs::remove_file(gone).unwrap();
    let name = gone.file_name().unwrap().to_str().unwrap();
    let (code, out, _) = run(secret.path(), &["cleanup-encryption-meta", "--dry-run"]);
    assert!(
        code == 0 && out.contains("1 entries") && out.contains(name) && out.contains("--dry-run"),
        "{out}"
    );
    assert!(std::fs::read(&dict).unwrap() == before[&dict]);
    let undo: PathBuf = tempfile::tempdir().unwrap().path().with_extension("undo");
    let undo = undo.to_str().unwrap();
    let (code, _, err) = run(secret.path(), &["cleanup-encryption-meta", "--yes", "--undo-file", undo]);
    assert_eq!(code, 0, "{err}");
    let (_, out, _) = run(secret.path(), &["encryption-meta", "dump-file"]);
    assert!(!out.contains(name) && out.contains("db/CURRENT"), "{out}");
    let (code, out, err) = ctl(&["undo", undo, "--yes"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(std::fs::read(&dict).unwrap() == before[&dict], "undo restores every byte");
    let (code, _, err) = ctl(&["undo", undo, "--yes"]);
    assert!(code == 1 && err.contains("changed since"), "{err}");
    std::fs::remove_file(undo).unwrap();
}

/// Returns a `file.dict` with half of its files in its content and half in the log after it.
fn with_log(dir: &Path) -> Vec<u8> {
    let all = tikv_ctl::encryption::FileDict::read(dir).unwrap().files;
    let middle = all.keys().nth(all.len() / 2).unwrap().clone();
    let (content, log): (BTreeMap<_, _>, BTreeMap<_, _>) =
        all.into_iter().partition(|(name, _)| *name < middle);
    let mut bytes = encode_files(2, &content);
    for (name, info) in log {
        let info = info.encode_to_vec();
        let body = [name.as_bytes(), &info].concat();
        bytes.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&(info.len() as u16).to_be_bytes());
        bytes.push(1);
        bytes.extend_from_slice(&body);
    }
    bytes
}

#[test]
fn a_damaged_dictionary_is_reported_with_its_offset() {
    let (_plain, secret) = stores();
    key_dict(secret.path(), &plaintext());
    let whole: Vec<_> = COMMANDS.iter().map(|args| run(secret.path(), args)).collect();
    let file_dict = with_log(secret.path());
    std::fs::write(secret.path().join("file.dict"), &file_dict).unwrap();
    let (dump, unknown) = (&["encryption-meta", "dump-file"][..], (0, String::new(), String::new()));
    let mut failed = Vec::new();
    for name in ["file.dict", "key.dict"] {
        let path = secret.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        let cuts = [0, 1, 15, bytes.len() / 2, bytes.len() - 1]
            .map(|at| (format!("cut at {at}"), bytes[..at].to_vec()));
        let flips = (0..bytes.len()).step_by(bytes.len() / 12).map(|at| {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            (format!("bit flipped at {at}"), flipped)
        });
        let foreign = [("foreign".to_owned(), b"this is no dictionary at all".to_vec())];
        for (what, damaged) in cuts.into_iter().chain(flips).chain(foreign) {
            std::fs::write(&path, damaged).unwrap();
            let lines = COMMANDS.iter().zip(&whole).chain([(&dump, &unknown)]);
            for (args, before) in lines {
                if *args == dump && name == "key.dict" {
                    continue;
                }
                let (code, out, err) = run(secret.path(), args);
                let reported = err.contains(name) && (err.contains("at byte") || err.contains("master key"));
                // A log may end anywhere; files that it then does not name read as plain, and so as damaged.
                let same = out == before.1 || before.1.is_empty();
                if !reported || (code == 0 && !same) {
                    failed.push(format!("{name} {what}; {args:?}: {code} {out} {err}"));
                }
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (code, _, err) = run(secret.path(), &["size"]);
        assert!(code == 1 && err.contains(name), "without {name}: {code} {err}");
        std::fs::write(&path, bytes).unwrap();
    }
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), failed.join("\n"));
    // A damaged record in the middle: later records are read, and the dictionary is not rewritten.
    let at = file_dict.len() - 30;
    let mut damaged = file_dict.clone();
    let first = file_dict.len() / 2 + 20;
    damaged[first] ^= 1;
    std::fs::write(secret.path().join("file.dict"), &damaged).unwrap();
    let (code, _, err) = run(secret.path(), dump);
    assert!(at > first && code == 1 && err.contains("the next whole one is at byte"), "{err}");
    let (code, _, err) = run(secret.path(), &["cleanup-encryption-meta", "--dry-run"]);
    assert!(code == 1 && err.contains("restore it from a backup first"), "{err}");
}

#[test]
fn a_key_service_is_not_asked_and_the_remedy_is_named() {
    let (_plain, secret) = stores();
    let metadata = [("method", b"aes256-gcm".to_vec()), ("iv", vec![1; 12]), ("aes_gcm_tag", vec![1; 16])];
    let metadata = metadata.map(|(name, value)| (name.to_owned(), value)).into();
    key_dict(secret.path(), &EncryptedContent { metadata, content: vec![1; 40], ..Default::default() });
    let other = tempfile::tempdir().unwrap();
    let config = other.path().join("tikv.toml");
    let key_file = other.path().join("master.key");
    std::fs::write(&key_file, "ab".repeat(32) + "\n").unwrap();
    let file = format!("type = \"file\"\npath = \"{}\"", key_file.display());
    let kms = "type = \"kms\"\nkey-id = \"k\"\nregion = \"r\"";
    let missing = format!("type = \"file\"\npath = \"{}\"", other.path().join("none").display());
    let folder = format!("type = \"file\"\npath = \"{}\"", other.path().display());
    for (master, says) in [
        (kms, "KMS"),
        (file.as_str(), "does not decrypt this file"),
        (missing.as_str(), "none: No such file"),
        (folder.as_str(), "Is a directory"),
    ] {
        std::fs::write(&config, format!("[security.encryption.master-key]\n{master}\n")).unwrap();
        for args in COMMANDS {
            let (code, out, err) =
                run(secret.path(), &[*args, &["--config", config.to_str().unwrap()]].concat());
            assert!(code == 1 && err.contains(says) && err.contains("DIR/key.dict"), "{args:?}: {out}{err}");
            assert!(err.contains("--config FILE") && err.lines().count() == 1, "{args:?}: {err}");
        }
    }
}
