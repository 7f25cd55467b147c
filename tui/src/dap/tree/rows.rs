//! The rows of a key in the three column families, the forms of a key, and latches.
use tracepoints::probe::{LatchesProbe, LockRow, MvccProbe};

use super::node::Node;
use crate::state::units;

/// A lock, or locks that several transactions share.
fn lock(name: &str, row: &LockRow) -> Node {
    if !row.holders.is_empty() {
        let holders = row.holders.iter().map(|holder| lock(&holder.start_ts.to_string(), holder));
        let parts = std::iter::once(Node::leaf("shrink_only", row.shrink_only)).chain(holders).collect();
        return Node::parent(name, format!("{} by {}", row.kind, row.holders.len()), parts);
    }
    let mut parts = vec![
        Node::leaf("kind", &row.kind),
        Node::timestamp("start_ts", row.start_ts),
        Node::leaf("primary", &row.primary),
        Node::leaf("ttl_ms", row.ttl_ms),
        Node::timestamp("for_update_ts", row.for_update_ts),
        Node::timestamp("min_commit_ts", row.min_commit_ts),
    ];
    parts.extend(row.short_value.as_ref().map(|value| Node::leaf("short_value", value)));
    Node::parent(name, format!("{} of {}", row.kind, row.start_ts), parts)
}

/// The rows of the state, as `row(KEY)` shows them.
pub fn rows(probe: &MvccProbe) -> Vec<Node> {
    let mut out = vec![Node::leaf("key", &probe.key)];
    if probe.read_ts != 0 {
        out.push(Node::timestamp("read_ts", probe.read_ts));
    }
    let lock = probe.lock.as_ref().map(|row| lock("lock", row));
    out.push(lock.unwrap_or_else(|| Node::leaf("lock", "none")).watched("rows".into()));
    let writes = probe.writes.iter().map(|write| {
        let chosen =
            if probe.chosen == Some(write.commit_ts) { ", the version that the read returns" } else { "" };
        let mut parts = vec![
            Node::leaf("kind", &write.kind),
            Node::timestamp("commit_ts", write.commit_ts),
            Node::timestamp("start_ts", write.start_ts),
        ];
        parts.extend(write.short_value.as_ref().map(|value| Node::leaf("short_value", value)));
        Node::parent(write.commit_ts.to_string(), format!("{}{chosen}", write.kind), parts)
    });
    let more = if probe.more { ", and more" } else { "" };
    let count = |n: usize| format!("{n} rows{more}");
    out.push(Node::parent("write", count(probe.writes.len()), writes.collect()).watched("rows".into()));
    let defaults = probe.defaults.iter().map(|row| {
        let parts = vec![
            Node::timestamp("start_ts", row.start_ts),
            Node::leaf("bytes", row.value_len),
            Node::leaf("value", &row.value),
        ];
        Node::parent(row.start_ts.to_string(), format!("{} bytes", row.value_len), parts)
    });
    out.push(Node::parent("default", count(probe.defaults.len()), defaults.collect()).watched("rows".into()));
    out
}

pub(super) fn latches(probe: &LatchesProbe) -> Vec<Node> {
    let slot = |slot: &tracepoints::probe::LatchSlot| {
        let queue = slot.queue.iter().enumerate().map(|(i, cid)| {
            Node::leaf(
                if i == 0 { "held by".to_owned() } else { format!("waits {i}") },
                format!("command {cid}"),
            )
        });
        let keys = slot.keys.iter().enumerate().map(|(i, key)| Node::leaf(format!("key {}", i + 1), key));
        let summary = match slot.queue.as_slice() {
            [] => "free".into(),
            [owner] => format!("held by command {owner}"),
            [owner, waits @ ..] => format!("held by command {owner}, {} wait", waits.len()),
        };
        Node::parent(format!("latch {}", slot.slot), summary, queue.chain(keys).collect())
            .watched(format!("latch/{}", slot.slot))
    };
    let mut out: Vec<Node> = probe.slots.iter().map(slot).collect();
    let time = match (probe.since_ns, probe.held_ns) {
        (0, _) => None,
        // A command that needs no latch.
        (_, 0) if probe.slots.is_empty() => None,
        (since, 0) => Some(("held since", since)),
        (_, held) => Some(("released after", held)),
    };
    out.extend(time.map(|(name, ns)| Node::leaf(name, units::duration(ns))));
    out
}

/// The forms in which a key appears: as text, as hex, and as TiKV stores it.
pub fn key_forms(key: &[u8]) -> Vec<Node> {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02X}")).collect::<String>();
    let encoded = keys::encode_bytes(key);
    vec![
        Node::leaf("text", keys::escape(key)),
        Node::leaf("hex", hex(key)),
        Node::leaf("encoded", keys::escape(&encoded)),
        Node::leaf("in RocksDB", keys::escape(&keys::data_key(&encoded))),
    ]
}

#[cfg(test)]
mod tests {
    use tracepoints::probe::LatchSlot;

    use super::*;

    #[test]
    fn a_latch_has_its_key_and_its_time() {
        let slot = LatchSlot { slot: 3, queue: vec![7, 8], keys: vec!["k1".into()] };
        let mut probe = LatchesProbe { store: 1, slots: vec![slot], command: 7, since_ns: 5_000, held_ns: 0 };
        let nodes = latches(&probe);
        let parts: Vec<&str> = nodes[0].children.iter().map(|part| part.value.as_str()).collect();
        assert_eq!(parts, ["command 7", "command 8", "k1"]);
        assert_eq!((nodes[1].name.as_str(), nodes[1].value.as_str()), ("held since", "5.00 µs"));
        probe.held_ns = 2_000_000;
        assert_eq!(latches(&probe)[1].value, "2.00 ms");
    }
}
