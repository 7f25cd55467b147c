//! The head of the file: where the records are, how samples are laid out, build ids, names of events.
use std::collections::HashMap;

use super::{bytes::Bytes, wrong};
use crate::{ProfileError, symbols::hex};

/// Bits of `perf_event_attr.sample_type`.
pub mod has {
    pub const IP: u64 = 1;
    pub const TID: u64 = 1 << 1;
    pub const TIME: u64 = 1 << 2;
    pub const ADDR: u64 = 1 << 3;
    pub const READ: u64 = 1 << 4;
    pub const CALLCHAIN: u64 = 1 << 5;
    pub const ID: u64 = 1 << 6;
    pub const CPU: u64 = 1 << 7;
    pub const PERIOD: u64 = 1 << 8;
    pub const STREAM_ID: u64 = 1 << 9;
    pub const IDENTIFIER: u64 = 1 << 16;
}

/// Bits of `perf_event_attr`'s flags.
const SAMPLE_ID_ALL: u64 = 1 << 18;
/// Sections behind the data, by number.
const BUILD_ID: u32 = 2;
const EVENT_DESC: u32 = 12;
const HEADER_LEN: u64 = 104;

/// One event that was sampled.
#[derive(Clone, Debug, Default)]
pub struct Attr {
    pub name: String,
    pub sample_type: u64,
    pub read_format: u64,
    pub sample_id_all: bool,
}

#[derive(Debug, Default)]
pub struct Header {
    pub attrs: Vec<Attr>,
    /// Which event an id belongs to.
    pub ids: HashMap<u64, usize>,
    /// By path.
    pub build_ids: HashMap<String, String>,
    pub data: (u64, u64),
}

pub fn read(file: &[u8]) -> Result<Header, ProfileError> {
    if file.starts_with(b"2ELIFREP") {
        return Err(wrong(
            0,
            "it is of a big-endian machine, which is not read; print it there with perf script",
        ));
    }
    let cut = || wrong(file.len(), format!("the file ends within its header of {HEADER_LEN} bytes"));
    let mut head = Bytes::part(file, 8, HEADER_LEN - 8).ok_or_else(|| match file.get(8..16) {
        // A stream has a header of 16 bytes.
        Some(size) if size == 16u64.to_le_bytes() => piped(),
        _ => cut(),
    })?;
    let mut next = || head.u64().ok_or_else(cut);
    let size = next()?;
    if size == 16 {
        return Err(piped());
    }
    let (attr_size, attrs, data) = (next()?, (next()?, next()?), (next()?, next()?));
    let (_event_types, features) = ((next()?, next()?), next()?);
    let mut header = Header { data, ..Header::default() };
    read_attrs(file, attr_size, attrs, &mut header)?;
    // Without its sections the file still has its samples.
    let _ = read_features(file, features, &mut header);
    Ok(header)
}

fn piped() -> ProfileError {
    wrong(8, "it is a stream (perf record -o -), which is not read; print it with perf script")
}

fn read_attrs(file: &[u8], size: u64, at: (u64, u64), header: &mut Header) -> Result<(), ProfileError> {
    let place = usize::try_from(at.0).unwrap_or(usize::MAX);
    let mut all = Bytes::part(file, at.0, at.1)
        .ok_or_else(|| wrong(place, format!("the events' {} bytes are not there", at.1)))?;
    // 64 bytes in the first version of the kernel's structure, and a section of ids behind it.
    let size = usize::try_from(size).ok().filter(|size| (80..=4096).contains(size));
    let size = size.ok_or_else(|| wrong(16, "an event's size is not between 80 and 4096 bytes"))?;
    while let Some(attr) = all.take(size) {
        let (attr, ids) = attr.split_at(size - 16);
        let n = header.attrs.len();
        header.attrs.push(parse_attr(attr).ok_or_else(|| wrong(place, "an event is cut short"))?);
        let mut ids = Bytes { at: 0, rest: ids };
        let (offset, len) = (ids.u64().unwrap_or(0), ids.u64().unwrap_or(0));
        let mut ids = Bytes::part(file, offset, len)
            .ok_or_else(|| wrong(place, format!("the ids of event {n} are not there")))?;
        while let Some(id) = ids.u64() {
            header.ids.insert(id, n);
        }
    }
    if header.attrs.is_empty() { Err(wrong(place, "it names no event")) } else { Ok(()) }
}

fn parse_attr(attr: &[u8]) -> Option<Attr> {
    let mut attr = Bytes { at: 0, rest: attr };
    let (kind, _size, config) = (attr.u32()?, attr.u32()?, attr.u64()?);
    let (_period, sample_type, read_format, flags) = (attr.u64()?, attr.u64()?, attr.u64()?, attr.u64()?);
    let name = match (kind, config) {
        (0, 0) => "cycles".to_owned(),
        (0, 1) => "instructions".to_owned(),
        (1, 0) => "cpu-clock".to_owned(),
        (1, 1) => "task-clock".to_owned(),
        _ => format!("event {kind}:{config}"),
    };
    Some(Attr { name, sample_type, read_format, sample_id_all: flags & SAMPLE_ID_ALL != 0 })
}

fn read_features(file: &[u8], features: u64, header: &mut Header) -> Option<()> {
    let mut table =
        Bytes::part(file, header.data.0.checked_add(header.data.1)?, 16 * u64::from(features.count_ones()))?;
    for bit in (0..64).filter(|bit| features & (1 << bit) != 0) {
        let section = Bytes::part(file, table.u64()?, table.u64()?);
        match (bit, section) {
            (BUILD_ID, Some(section)) => drop(read_build_ids(section, header)),
            (EVENT_DESC, Some(section)) => drop(read_names(section, header)),
            _ => {}
        }
    }
    Some(())
}

fn read_build_ids(mut section: Bytes<'_>, header: &mut Header) -> Option<()> {
    loop {
        let mut record = section;
        let (_kind, misc, size) = (record.u32()?, record.u16()?, record.u16()?);
        section.take(usize::from(size).max(8))?;
        let _pid = record.u32()?;
        let id = record.take(24)?;
        // Newer versions say how long it is; before, it was 20 bytes.
        let len = if misc & (1 << 15) != 0 { usize::from(id[20]).min(20) } else { 20 };
        record.rest = record.rest.get(..usize::from(size).saturating_sub(36))?;
        header.build_ids.insert(record.text(), hex(&id[..len]));
    }
}

fn read_names(mut section: Bytes<'_>, header: &mut Header) -> Option<()> {
    let (n, attr_size) = (section.u32()?, section.u32()?);
    for i in 0..usize::try_from(n).ok()? {
        section.take(usize::try_from(attr_size).ok()?)?;
        let (ids, len) = (section.u32()?, section.u32()?);
        let name = Bytes { at: 0, rest: section.take(usize::try_from(len).ok()?)? }.text();
        section.skip_words(ids.into())?;
        if let Some(attr) = header.attrs.get_mut(i).filter(|_| !name.is_empty()) {
            attr.name = name;
        }
    }
    Some(())
}
