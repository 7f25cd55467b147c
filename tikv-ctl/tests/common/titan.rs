//! Adds a Titan value to a data directory as TiKV leaves it after a crash: a blob file, and its index in the
//! WAL.
use std::path::Path;

use tikv_ctl::lsm::{crc32c, logs};

const MAGIC: u32 = 0x2be0_a614;

fn slice(to: &mut Vec<u8>, bytes: &[u8]) {
    keys::codec::encode_var_u64(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// Stores `value` under `key` of column family default in Titan of the database `db`; `sequence` must be the
/// highest one.
pub fn keep(db: &Path, sequence: u64, key: &[u8], value: &[u8]) {
    let mut body = Vec::new();
    slice(&mut body, key);
    slice(&mut body, value);
    let mut record = (body.len() as u32).to_le_bytes().to_vec();
    record.push(0);
    record.extend_from_slice(&body);
    let crc = crc32c(0, &record);
    let blob = [&MAGIC.to_le_bytes()[..], &1u32.to_le_bytes(), &crc.to_le_bytes(), &record].concat();
    std::fs::create_dir(db.join("titandb")).unwrap();
    std::fs::write(db.join("titandb/000001.blob"), blob).unwrap();
    let mut index = vec![1];
    for number in [1, 8, record.len() as u64 + 4] {
        keys::codec::encode_var_u64(&mut index, number);
    }
    let mut batch = [&sequence.to_le_bytes()[..], &1u32.to_le_bytes(), &[0x11]].concat();
    slice(&mut batch, key);
    slice(&mut batch, &index);
    let crc = crc32c(crc32c(0, &[1]), &batch);
    let masked = crc.rotate_right(15).wrapping_add(0xa282_ead8);
    let header = [&masked.to_le_bytes()[..], &(batch.len() as u16).to_le_bytes(), &[1]].concat();
    let number = logs(db).unwrap().last().unwrap().0 + 40;
    std::fs::write(db.join(format!("{number:06}.log")), [header, batch].concat()).unwrap();
}
