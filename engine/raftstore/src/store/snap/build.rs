//! Building a snapshot's files from a RocksDB snapshot.
use std::fs;

use engine_rocks::{CF_LOCK, CfName, DATA_CFS, RocksSnapshot, RocksSstWriter};
use kvproto::{
    metapb::Region,
    raft_serverpb::{RaftSnapshotData, SnapshotCfFile, SnapshotMeta},
};

use super::{
    SNAPSHOT_VERSION,
    key::{Result, SnapKey, io_error},
    manager::SnapManager,
    paths::{SnapPaths, tmp_path},
    plain,
};

/// Writes the region's data in `snap` to files and describes them. Reuses an existing snapshot with this key.
///
/// TiKV: `raftstore::store::snap::Snapshot::do_build`.
pub fn build_snapshot(
    manager: &SnapManager,
    key: &SnapKey,
    snap: &RocksSnapshot,
    region: &Region,
) -> Result<RaftSnapshotData> {
    let paths = manager.paths(key, true);
    let meta = match paths.read_meta()? {
        Some(meta) => meta,
        None => {
            let cf_files =
                DATA_CFS.iter().map(|cf| build_cf(&paths, cf, snap, region)).collect::<Result<Vec<_>>>()?;
            let meta = SnapshotMeta { cf_files, ..Default::default() };
            paths.write_meta(&meta)?;
            meta
        }
    };
    let file_size = meta.cf_files.iter().map(|f| f.size).sum();
    Ok(RaftSnapshotData {
        region: Some(region.clone()),
        file_size,
        version: SNAPSHOT_VERSION,
        meta: Some(meta),
        ..Default::default()
    })
}

/// Writes the file of one column family; leaves no file if the range has no keys.
fn build_cf(paths: &SnapPaths, cf: CfName, snap: &RocksSnapshot, region: &Region) -> Result<SnapshotCfFile> {
    let (path, empty) = (paths.cf(cf, 0), SnapshotCfFile { cf: cf.to_owned(), ..Default::default() });
    let tmp = tmp_path(&path);
    let _ = fs::remove_file(&tmp);
    let keys =
        if cf == CF_LOCK { write_plain(&tmp, cf, snap, region) } else { write_sst(&tmp, cf, snap, region) }?;
    if keys == 0 {
        let _ = fs::remove_file(&tmp);
        return Ok(empty);
    }
    let (size, checksum) = plain::size_and_checksum(&tmp)?;
    fs::rename(&tmp, &path).map_err(io_error(&path))?;
    Ok(SnapshotCfFile { size, checksum, ..empty })
}

fn write_plain(tmp: &std::path::Path, cf: CfName, snap: &RocksSnapshot, region: &Region) -> Result<u64> {
    let mut writer = plain::PlainWriter::create(tmp)?;
    let mut failed = None;
    snap.scan_cf(cf, &keys::enc_start_key(region), &keys::enc_end_key(region), |key, value| {
        failed = writer.put(key, value).err();
        Ok(failed.is_none())
    })?;
    if let Some(err) = failed {
        return Err(err);
    }
    let keys = writer.keys;
    writer.finish()?;
    Ok(keys)
}

fn write_sst(tmp: &std::path::Path, cf: CfName, snap: &RocksSnapshot, region: &Region) -> Result<u64> {
    let mut writer: Option<RocksSstWriter> = None;
    snap.scan_cf(cf, &keys::enc_start_key(region), &keys::enc_end_key(region), |key, value| {
        if writer.is_none() {
            writer = Some(RocksSstWriter::create(tmp, cf, None)?);
        }
        if let Some(writer) = &mut writer {
            writer.put(key, value)?;
        }
        Ok(true)
    })?;
    match writer {
        Some(writer) => Ok(writer.finish()?.num_entries),
        None => Ok(0),
    }
}
