//! Writes keys of Raft groups: appends one batch to the last file of the append queue, as raft-engine would.
use std::{
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    batch::{BATCH_HEADER, BadBatch, BatchIter, FILE_MAGIC},
    dir::{LogFile, Queue, RaftEngineDir},
    item::{self, Written},
};
use crate::{
    encryption::Cipher,
    io::{FileError as Error, Result},
};

/// Format version of a new file.
const VERSION: u64 = 2;

/// A batch that has not been written yet.
#[derive(Debug)]
pub struct NewBatch {
    path: PathBuf,
    at: u64,
    bytes: Vec<u8>,
    /// Current bytes of the file.
    len: u64,
    cipher: Option<Cipher>,
}

/// Creates the batch that applies all of `changes` to `engine`, which the caller read under its lock.
///
/// # Errors
/// There is no file to write to, or it has damage after which raft-engine would not continue.
pub fn new_batch(engine: &RaftEngineDir, changes: &[Written<'_>]) -> Result<NewBatch> {
    let last = engine.files()?.into_iter().rfind(|file| file.queue == Queue::Append).ok_or_else(|| {
        Error::NotADb(format!(
            "{}: expected a .raftlog file to write to, found none; nothing was changed",
            engine.dir().display()
        ))
    })?;
    let data = last.read(engine.keyring())?;
    let (at, bytes) = tail(&last, &data, changes)?;
    let cipher = engine.keyring().cipher_of(&last.path)?;
    Ok(NewBatch { path: last.path, at, bytes, len: data.len() as u64, cipher })
}

impl NewBatch {
    /// Writes and syncs the batch. Returns the path of its file.
    pub fn write(self) -> Result<PathBuf> {
        let NewBatch { path, at, mut bytes, len, cipher } = self;
        if let Some(cipher) = cipher {
            cipher.apply(at, &mut bytes);
        }
        write(&path, at, &bytes, len).map_err(|source| Error::Io { path: path.clone(), source })?;
        Ok(path)
    }
}

/// Creates a batch as [`new_batch`] does and writes it.
pub fn append(engine: &RaftEngineDir, changes: &[Written<'_>]) -> Result<PathBuf> {
    new_batch(engine, changes)?.write()
}

/// Returns the offset after the last batch of `data`, and the bytes to write there.
fn tail(file: &LogFile, data: &[u8], changes: &[Written<'_>]) -> Result<(u64, Vec<u8>)> {
    // A file that was created just before a crash has no header yet.
    let header = [FILE_MAGIC, &VERSION.to_be_bytes(), &0u64.to_be_bytes()].concat();
    let blank = data.iter().all(|byte| *byte == 0);
    let whole = if blank { &header } else { data };
    let mut batches = BatchIter::new(whole, file.seq).map_err(|BadBatch { offset, what }| {
        let more = "raft-engine does not open such a file: see the damage with `tikv-ctl raft-engine-ctl -- check \
                    --path DIR`; nothing was changed";
        Error::corrupt(&file.path, offset, format!("{what}; {more}"))
    })?;
    // raft-engine truncates what follows the last whole batch: a torn write or a recycled file's older data.
    let damage = loop {
        match batches.next_batch() {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(damage) => break Some(damage),
        }
    };
    let at = batches.position();
    if let Some(BadBatch { offset, what }) = damage
        && let Some(next) = batches.resync()
    {
        let what = format!(
            "{what}, and whole batches follow from byte {next} on, which raft-engine would truncate: read them first with \
             `tikv-ctl log`; nothing was changed"
        );
        return Err(Error::corrupt(&file.path, offset, what));
    }
    let mut bytes = if blank { header.clone() } else { Vec::new() };
    bytes.extend_from_slice(&batch(changes, batches.signature()));
    Ok((if blank { 0 } else { at as u64 }, bytes))
}

/// Encodes a batch without entries.
fn batch(changes: &[Written<'_>], signature: u32) -> Vec<u8> {
    let footer = item::encode(changes);
    let crc = crc32fast::hash(&footer) ^ signature;
    let len = (BATCH_HEADER + footer.len() + size_of_val(&crc)) as u64;
    let mut batch = (len << 8).to_be_bytes().to_vec();
    batch.extend_from_slice(&(BATCH_HEADER as u64).to_be_bytes());
    batch.extend_from_slice(&footer);
    batch.extend_from_slice(&crc.to_le_bytes());
    batch
}

/// Writes and syncs `bytes` at offset `at`. The file, which has `len` bytes, ends after them.
fn write(path: &Path, at: u64, bytes: &[u8], len: u64) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let end = at + bytes.len() as u64;
    if len > at {
        // Truncate first, so that after a crash no older data follows the new batch.
        file.set_len(at)?;
    }
    file.write_all_at(bytes, at)?;
    file.set_len(end)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use raft_log_engine::{RaftEngineConfig, RaftLogEngine};

    use super::{super::dir::files, *};
    use crate::encryption::Keyring;

    fn open(dir: &Path) -> RaftLogEngine {
        RaftLogEngine::open(dir, &RaftEngineConfig::small()).unwrap()
    }

    fn state(last_index: u64) -> Vec<u8> {
        prost::Message::encode_to_vec(&kvproto::raft_serverpb::RaftLocalState {
            last_index,
            hard_state: None,
        })
    }

    fn write_to(dir: &Path, changes: &[Written<'_>]) -> Result<PathBuf> {
        append(&RaftEngineDir::open(dir, None, &Keyring::default())?, changes)
    }

    fn last_file(dir: &Path) -> PathBuf {
        files(dir).unwrap().into_iter().rfind(|file| file.queue == Queue::Append).unwrap().path
    }

    #[test]
    fn raft_engine_reads_appended_batches_and_continues() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        drop(open(dir));
        for round in 1..5u64 {
            let value = state(round);
            write_to(dir, &[(7, b"R", Some(&value)), (8, b"R", Some(&value)), (9, b"\x03x", Some(b"v"))])
                .unwrap();
            write_to(dir, &[(8, b"R", None)]).unwrap();
            let ours = RaftEngineDir::open(dir, None, &Keyring::default()).unwrap();
            assert_eq!((ours.get(7, b"R"), ours.get(8, b"R")), (Some(&value[..]), None));
            assert_eq!((ours.get(9, b"\x03x"), ours.warnings()), (Some(&b"v"[..]), &[][..]));
            let engine = open(dir);
            assert_eq!(engine.get_raft_state(7).unwrap().unwrap().last_index, round);
            assert_eq!(engine.get_raft_state(8).unwrap(), None);
            let mut batch = engine.log_batch(1);
            let by_engine = kvproto::raft_serverpb::RaftLocalState { last_index: round, hard_state: None };
            batch.put_raft_state(10 + round, &by_engine).unwrap();
            engine.consume(&mut batch, true).unwrap();
            drop(engine);
            assert_eq!(
                RaftEngineDir::open(dir, None, &Keyring::default()).unwrap().get(10 + round, b"R"),
                Some(&value[..])
            );
        }
    }

    #[test]
    fn a_torn_tail_is_truncated_and_a_blank_file_gets_a_header() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        drop(open(dir));
        write_to(dir, &[(7, b"R", Some(&state(1)))]).unwrap();
        let path = last_file(dir);
        let whole = std::fs::read(&path).unwrap();
        for rest in [&[][..], &[0; 5000], &[9; 5000], &whole[69..whole.len() - 3]] {
            std::fs::write(&path, [&whole, rest].concat()).unwrap();
            write_to(dir, &[(7, b"R", Some(&state(2)))]).unwrap();
            assert_eq!(
                RaftEngineDir::open(dir, None, &Keyring::default()).unwrap().warnings(),
                &[] as &[String]
            );
            assert_eq!(open(dir).get_raft_state(7).unwrap().unwrap().last_index, 2);
        }
        std::fs::write(&path, &whole).unwrap();
        let next = dir.join("0000000000000002.raftlog");
        for blank in [vec![], vec![0; 4096]] {
            std::fs::write(&next, blank).unwrap();
            assert_eq!(write_to(dir, &[(7, b"R", Some(&state(3)))]).unwrap(), next);
            assert_eq!(open(dir).get_raft_state(7).unwrap().unwrap().last_index, 3);
        }
        std::fs::write(&next, b"another program's file, as it seems").unwrap();
        let e = write_to(dir, &[(7, b"R", None)]).unwrap_err().to_string();
        assert!(e.contains("0002.raftlog") && e.contains("nothing was changed"), "{e}");
    }

    #[test]
    fn padding_of_an_aligned_file_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0000000000000001.raftlog");
        let header = [FILE_MAGIC, &2u64.to_be_bytes(), &4096u64.to_be_bytes()].concat();
        for (place, value) in [(4096, state(1)), (header.len(), state(2)), (0, state(3))] {
            let mut bytes = header.clone();
            if place > 0 {
                bytes.resize(place, 0);
                bytes.extend_from_slice(&batch(&[(7, b"R", Some(&value))], 1));
            }
            std::fs::write(&path, &bytes).unwrap();
            write_to(dir.path(), &[(8, b"R", Some(&value))]).unwrap();
            let ours = RaftEngineDir::open(dir.path(), None, &Keyring::default()).unwrap();
            let want = (place > 0).then_some(&value[..]);
            assert_eq!((ours.get(7, b"R"), ours.get(8, b"R")), (want, Some(&value[..])), "{place}");
            assert_eq!(ours.warnings(), &[] as &[String]);
            let theirs = open(dir.path());
            assert_eq!(theirs.get_raft_state(7).unwrap().is_some(), place > 0);
            assert!(theirs.get_raft_state(8).unwrap().is_some());
        }
    }
}
