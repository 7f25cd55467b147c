//! MVCC records as TiKV's tool prints them: the text of [`crate::text::message_text`] for these three
//! messages, written without encoding them first. A scan prints millions of them.
use std::sync::OnceLock;

use kvproto::kvrpcpb::{MvccInfo, MvccLock, MvccValue, MvccWrite};

use super::mvcc_filter::MvccFilter;
use crate::{
    print::{key_text::KeyText, line::Line},
    schema::enum_values,
};

/// Adds a row: the key as `keys` formats it, and the parts of `info` that `filter` shows.
pub fn row(key: &[u8], info: &MvccInfo, filter: &MvccFilter, keys: &mut KeyText, line: &mut Line) {
    line.push(b"key: ");
    line.push(keys.render(key));
    line.push(b"\n");
    if let Some(info) = info.lock.as_ref().filter(|lock| filter.shows_lock(lock)) {
        line.push(b"\tlock cf value:");
        lock(info, line);
        line.push(b"\n");
    }
    for info in info.values.iter().filter(|value| filter.shows_value(value)) {
        line.push(b"\tdefault cf value:");
        value(info, line);
        line.push(b"\n");
    }
    for info in info.writes.iter().filter(|write| filter.shows_write(write)) {
        line.push(b"\t write cf value:");
        write(info, line);
        line.push(b"\n");
    }
    line.push(b"\n");
}

fn lock(lock: &MvccLock, line: &mut Line) {
    let before = line.len();
    op(lock.r#type, line);
    number(b" start_ts: ", lock.start_ts, line);
    bytes(b" primary: ", &lock.primary, line);
    bytes(b" short_value: ", &lock.short_value, line);
    number(b" ttl: ", lock.ttl, line);
    number(b" for_update_ts: ", lock.for_update_ts, line);
    number(b" txn_size: ", lock.txn_size, line);
    flag(b" use_async_commit: true", lock.use_async_commit, line);
    lock.secondaries.iter().for_each(|secondary| bytes(b" secondaries: ", secondary, line));
    lock.rollback_ts.iter().for_each(|ts| number(b" rollback_ts: ", *ts, line));
    number(b" last_change_ts: ", lock.last_change_ts, line);
    number(b" versions_to_last_change: ", lock.versions_to_last_change, line);
    or_space(before, line);
}

fn value(value: &MvccValue, line: &mut Line) {
    let before = line.len();
    number(b" start_ts: ", value.start_ts, line);
    bytes(b" value: ", &value.value, line);
    or_space(before, line);
}

fn write(write: &MvccWrite, line: &mut Line) {
    let before = line.len();
    op(write.r#type, line);
    number(b" start_ts: ", write.start_ts, line);
    number(b" commit_ts: ", write.commit_ts, line);
    bytes(b" short_value: ", &write.short_value, line);
    flag(b" has_overlapped_rollback: true", write.has_overlapped_rollback, line);
    flag(b" has_gc_fence: true", write.has_gc_fence, line);
    number(b" gc_fence: ", write.gc_fence, line);
    number(b" last_change_ts: ", write.last_change_ts, line);
    number(b" versions_to_last_change: ", write.versions_to_last_change, line);
    or_space(before, line);
}

/// An empty message still has its name and a space.
#[inline(always)]
fn or_space(before: usize, line: &mut Line) {
    if line.len() == before {
        line.push(b" ");
    }
}

fn op(op: i32, line: &mut Line) {
    static NAMES: OnceLock<&[(i32, &str)]> = OnceLock::new();
    if op == 0 {
        return;
    }
    line.push(b" r_type: ");
    let names = NAMES.get_or_init(|| enum_values("kvrpcpb.Op"));
    match names.iter().find(|(number, _)| *number == op) {
        Some((_, name)) => line.push(name.as_bytes()),
        None => line.format(format_args!("{op}")),
    }
}

#[inline(always)]
fn number(name: &[u8], number: u64, line: &mut Line) {
    if number != 0 {
        line.push(name);
        line.number(number);
    }
}

#[inline(always)]
fn bytes(name: &[u8], bytes: &[u8], line: &mut Line) {
    if !bytes.is_empty() {
        line.push(name);
        line.hex(bytes);
    }
}

#[inline(always)]
fn flag(text: &[u8], set: bool, line: &mut Line) {
    if set {
        line.push(text);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::text::message_text;

    fn same(fast: &str, message: &str, encoded: &[u8]) {
        assert_eq!(fast.strip_prefix(' '), Some(message_text(message, encoded).unwrap().as_str()));
    }

    fn text(add: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::default();
        add(&mut line);
        String::from_utf8(line.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_text_is_that_of_any_message() {
        let full = MvccLock {
            r#type: 5,
            start_ts: 1,
            primary: b"p".to_vec(),
            short_value: b"\xff".to_vec(),
            ttl: 2,
            for_update_ts: 3,
            txn_size: 4,
            use_async_commit: true,
            secondaries: vec![b"s".to_vec(), Vec::new()],
            rollback_ts: vec![7, 0, 8],
            last_change_ts: 9,
            versions_to_last_change: 10,
        };
        for message in [full, MvccLock::default()] {
            same(&text(|line| lock(&message, line)), "kvrpcpb.MvccLock", &message.encode_to_vec());
        }
        let full = MvccWrite {
            r#type: 3,
            start_ts: 1,
            commit_ts: u64::MAX,
            short_value: b"v".to_vec(),
            has_overlapped_rollback: true,
            has_gc_fence: true,
            gc_fence: 4,
            last_change_ts: 5,
            versions_to_last_change: 6,
        };
        for message in [full, MvccWrite::default()] {
            same(&text(|line| write(&message, line)), "kvrpcpb.MvccWrite", &message.encode_to_vec());
        }
        for message in [MvccValue { start_ts: 1, value: b"v".to_vec() }, MvccValue::default()] {
            same(&text(|line| value(&message, line)), "kvrpcpb.MvccValue", &message.encode_to_vec());
        }
    }
}
