//! Formats the engine's state at a step as tables of cells, marked if they changed since the previous step.
use tracepoints::{
    Facts,
    facts::FactValue,
    field::named,
    printable::width,
    probe::{
        LatchesProbe, LockWaiter, LockWaitsProbe, MemoryLocksProbe, MvccProbe, PerfProbe, RaftProbe,
        WaitGraphProbe, WriteRow,
    },
    trace::{StateView, Step},
};

use super::units;

/// A cell: its text, and whether it differs from the previous step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// The text differs from that of the previous step.
    pub changed: bool,
}

/// The kind of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The names of the columns.
    Head,
    /// Values in columns.
    #[default]
    Row,
    /// The leader, or the version that the read returns.
    Marked,
    /// A line of text without columns.
    Text,
}

/// A row of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRow {
    /// The style of the line.
    pub kind: Kind,
    /// One for each column.
    pub cells: Vec<Cell>,
}

/// A titled table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// The title above the table.
    pub title: String,
    /// From top to bottom.
    pub rows: Vec<TableRow>,
}

impl Section {
    fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    fn head(&mut self, names: &[&str]) {
        let cells = names.iter().map(|n| cell(*n, false)).collect();
        self.rows.push(TableRow { kind: Kind::Head, cells });
    }

    fn row(&mut self, kind: Kind, cells: Vec<Cell>) {
        self.rows.push(TableRow { kind, cells });
    }

    fn text(&mut self, text: impl Into<String>, changed: bool) {
        self.row(Kind::Text, vec![cell(text, changed)]);
    }
}

fn cell(text: impl Into<String>, changed: bool) -> Cell {
    Cell { text: text.into(), changed }
}

/// A cell of a number; changed if `old` is known and differs.
fn number(now: u64, old: Option<u64>) -> Cell {
    cell(now.to_string(), old.is_some_and(|o| o != now))
}

/// Formats the tables of a step; `before` is the previous step, if there is one.
pub fn sections(step: &Step, before: Option<&Step>) -> Vec<Section> {
    let none = StateView::default();
    let old = before.map_or(&none, |s| &s.state);
    let fresh = before.is_none();
    let now = &step.state;
    let mut out = vec![stamp(step)];
    out.extend(now.facts.iter().map(facts));
    let mut regions: Vec<u64> = now.raft.iter().map(|r| r.region).collect();
    regions.dedup();
    out.extend(regions.into_iter().map(|region| raft(region, now, old)));
    out.extend(now.mvcc.as_ref().map(|m| mvcc(m, old.mvcc.as_ref(), fresh)));
    out.extend(now.latches.as_ref().map(|l| latches(l, old.latches.as_ref(), fresh)));
    out.extend(now.lock_waits.as_ref().map(|w| lock_waits(w, old.lock_waits.as_ref(), fresh)));
    out.extend(now.memory_locks.as_ref().map(|m| memory_locks(m, old.memory_locks.as_ref(), fresh)));
    out.extend(now.wait_graph.as_ref().map(|g| wait_graph(g, old.wait_graph.as_ref(), fresh)));
    out.extend(now.perf.as_ref().map(|p| perf(p, old.perf.as_ref())));
    if !now.notes.is_empty() {
        let mut notes = Section::new("Notes");
        let seen = old.notes.len();
        now.notes.iter().enumerate().for_each(|(i, n)| notes.text(n, !fresh && i >= seen));
        out.push(notes);
    }
    out
}

fn stamp(step: &Step) -> Section {
    let mut section = Section::new("Stamp");
    let place = if step.layer == "pd" { "PD".into() } else { units::place(step.store) };
    section.text(format!("{place}, thread {}, at {}", step.thread, units::duration(step.at_ns)), false);
    let mut line = String::new();
    for (name, value) in &step.fields {
        let field = match named(name, *value) {
            Some(word) => format!("{name} {word}"),
            None if name.ends_with("_ns") => format!("{name} {}", units::duration(*value)),
            None => format!("{name} {value}"),
        };
        if !line.is_empty() && width(&line) + width(&field) > 66 {
            section.text(std::mem::take(&mut line), false);
        }
        line = if line.is_empty() { field } else { format!("{line}, {field}") };
    }
    if !line.is_empty() {
        section.text(line, false);
    }
    section
}

/// Formats a question, an answer or a decision of this step.
fn facts(facts: &Facts) -> Section {
    let title = match facts.outcome.as_str() {
        "" => facts.title.clone(),
        outcome => format!("{}: {outcome}", facts.title),
    };
    let mut section = Section::new(title);
    for row in &facts.rows {
        let value = match &row.value {
            FactValue::Text(text) => text.clone(),
            FactValue::Number(number) => number.to_string(),
            FactValue::Ts(ts) => match units::timestamp(*ts) {
                Some(time) => format!("{ts} ({time})"),
                None => ts.to_string(),
            },
        };
        let value = if row.note.is_empty() { value } else { format!("{value}  {}", row.note) };
        section.row(Kind::Row, vec![cell(&*row.name, false), cell(value, false)]);
    }
    if facts.more > 0 {
        section.text(format!("{} more", facts.more), false);
    }
    section
}

fn raft(region: u64, now: &StateView, old: &StateView) -> Section {
    let mut section = Section::new(format!("Raft group of region {region}"));
    section.head(&["store", "role", "term", "vote", "commit", "applied", "last", "on disk", "lease"]);
    let group: Vec<&RaftProbe> = now.raft.iter().filter(|r| r.region == region).collect();
    for peer in &group {
        let before = old.raft.iter().find(|o| o.store == peer.store && o.region == region);
        let kind = if peer.role == "Leader" { Kind::Marked } else { Kind::Row };
        if peer.is_stopped() {
            let role = cell(&*peer.role, before.is_some_and(|b| b.role != peer.role));
            section.row(Kind::Row, vec![cell(peer.store.to_string(), false), role]);
            continue;
        }
        let state = |r: &RaftProbe| r.lease.as_ref().map(|l| l.state.clone());
        section.row(
            kind,
            vec![
                cell(peer.store.to_string(), false),
                cell(&*peer.role, before.is_some_and(|b| b.role != peer.role)),
                number(peer.term, before.map(|b| b.term)),
                number(peer.vote, before.map(|b| b.vote)),
                number(peer.commit, before.map(|b| b.commit)),
                number(peer.applied, before.map(|b| b.applied)),
                number(peer.last_index, before.map(|b| b.last_index)),
                number(peer.persisted, before.map(|b| b.persisted)),
                cell(lease(peer), before.is_some_and(|b| state(b) != state(peer))),
            ],
        );
    }
    if let Some(leader) = group.iter().find(|p| !p.progress.is_empty()) {
        let before = old.raft.iter().find(|o| o.store == leader.store && o.region == region);
        progress(&mut section, leader, before);
    }
    section
}

fn lease(peer: &RaftProbe) -> String {
    match &peer.lease {
        Some(l) if l.state == "valid" => format!("valid {:.1} s", l.remaining_ms as f64 / 1e3),
        Some(l) => l.state.clone(),
        None => "-".into(),
    }
}

fn progress(section: &mut Section, leader: &RaftProbe, old: Option<&RaftProbe>) {
    for p in leader.progress.iter().filter(|p| p.store != leader.store) {
        let before = old.and_then(|o| o.progress.iter().find(|b| b.peer == p.peer));
        let text = format!(
            "leader's view of store {}: matched {}, next {}, {}",
            p.store,
            p.matched,
            p.next,
            p.state.to_lowercase()
        );
        section.text(text, before.is_some_and(|b| b != p));
    }
}

fn mvcc(now: &MvccProbe, old: Option<&MvccProbe>, fresh: bool) -> Section {
    let mut section = Section::new(format!("MVCC rows of {}", now.key));
    let isnew = |known: bool| !fresh && !known;
    if now.read_ts != 0 {
        let time = units::timestamp(now.read_ts).map(|t| format!(" ({t})")).unwrap_or_default();
        section.text(
            format!("read at {}{time}", now.read_ts),
            isnew(old.is_some_and(|o| o.read_ts == now.read_ts)),
        );
    }
    section.head(&["cf", "commit_ts", "start_ts", "kind", "value"]);
    let known = old.is_some_and(|o| o.lock == now.lock);
    match &now.lock {
        None => section.row(Kind::Row, row(["lock", "", "", "none", ""], isnew(known))),
        Some(l) if !l.holders.is_empty() => {
            let joins = if l.shrink_only { "none may join" } else { "others may join" };
            section.row(Kind::Row, row(["lock", "", "", &l.kind, joins], isnew(known)));
            for l in &l.holders {
                let value = format!("primary {}", l.primary);
                section.row(Kind::Row, row(["", "", &l.start_ts.to_string(), &l.kind, &value], isnew(known)));
            }
        }
        Some(l) => {
            let value = format!(
                "primary {}, ttl {}{}",
                l.primary,
                units::duration(l.ttl_ms.saturating_mul(1_000_000)),
                short(&l.short_value)
            );
            section.row(Kind::Row, row(["lock", "", &l.start_ts.to_string(), &l.kind, &value], isnew(known)));
        }
    }
    for w in &now.writes {
        let known = old.is_some_and(|o| {
            o.writes.contains(w) && (o.chosen == Some(w.commit_ts)) == (now.chosen == Some(w.commit_ts))
        });
        let kind = if now.chosen == Some(w.commit_ts) { Kind::Marked } else { Kind::Row };
        let value = w.short_value.as_deref().unwrap_or(if w.kind == "Put" { "in default" } else { "" });
        let value = format!("{value}{}", verdict(now, w));
        let (commit, start) = (w.commit_ts.to_string(), w.start_ts.to_string());
        section.row(kind, row(["write", &commit, &start, &w.kind, value.trim_start()], isnew(known)));
    }
    for d in &now.defaults {
        let known = old.is_some_and(|o| o.defaults.contains(d));
        let value = format!("{} bytes {}", d.value_len, d.value);
        section.row(Kind::Row, row(["default", "", &d.start_ts.to_string(), "", &value], isnew(known)));
    }
    if now.writes.is_empty() {
        section.row(Kind::Row, row(["write", "", "", "none", ""], false));
    }
    if now.more {
        section.text("older rows exist and are not shown", false);
    }
    section
}

/// Says why a read skips a record, once the read has chosen one.
fn verdict(rows: &MvccProbe, write: &WriteRow) -> &'static str {
    let Some(chosen) = rows.chosen else { return "" };
    match write.commit_ts {
        ts if ts == chosen => "  ← chosen",
        ts if ts > rows.read_ts => "  newer than the read",
        ts if ts > chosen => "  has no value",
        _ => "  older",
    }
}

fn short(value: &Option<String>) -> String {
    value.as_ref().map(|v| format!(", value {v}")).unwrap_or_default()
}

fn row(texts: [&str; 5], changed: bool) -> Vec<Cell> {
    let last = texts.iter().rposition(|t| !t.is_empty()).unwrap_or(0);
    texts.iter().enumerate().map(|(i, t)| cell(*t, changed && i == last)).collect()
}

fn latches(now: &LatchesProbe, old: Option<&LatchesProbe>, fresh: bool) -> Section {
    let mut section = Section::new(format!("Latches of store {}", now.store));
    if now.slots.is_empty() {
        section.text("none held", !fresh && old.is_some_and(|o| !o.slots.is_empty()));
    }
    let time = match (now.since_ns, now.held_ns) {
        (0, _) => None,
        (_, 0) if now.slots.is_empty() => Some(format!("command {} needs no latch", now.command)),
        (since, 0) => {
            Some(format!("held by command {} since {} after the start", now.command, units::duration(since)))
        }
        (_, held) => Some(format!("released by command {} after {}", now.command, units::duration(held))),
    };
    if let Some(time) = time {
        let known = old.is_some_and(|o| (o.since_ns, o.held_ns) == (now.since_ns, now.held_ns));
        section.text(time, !fresh && !known);
    }
    for slot in &now.slots {
        let known = old.is_some_and(|o| o.slots.contains(slot));
        let key = if slot.keys.is_empty() { String::new() } else { format!(" ({})", slot.keys.join(", ")) };
        let waiting: Vec<_> = slot.queue.iter().skip(1).map(|c| c.to_string()).collect();
        let text = match (slot.queue.first(), waiting.is_empty()) {
            (None, _) => format!("slot {}{key}: free", slot.slot),
            (Some(c), true) => format!("slot {}{key}: command {c} holds it, none waits", slot.slot),
            (Some(c), false) => {
                format!("slot {}{key}: command {c} holds it, {} wait", slot.slot, waiting.join(" "))
            }
        };
        section.text(text, !fresh && !known);
    }
    section
}

fn lock_waits(now: &LockWaitsProbe, old: Option<&LockWaitsProbe>, fresh: bool) -> Section {
    let mut section = Section::new(format!("Lock waits of store {}", now.store));
    if now.queues.is_empty() && now.chain.is_empty() {
        section.text("no request waits for a lock", !fresh && old.is_some_and(|o| !o.queues.is_empty()));
    }
    for queue in &now.queues {
        let known = old.is_some_and(|o| o.queues.contains(queue));
        let waiter = |w: &LockWaiter| format!("{}{}", w.start_ts, if w.fair { " (fair)" } else { "" });
        let waiting: Vec<_> = queue.waiters.iter().map(waiter).collect();
        let others: String = queue.other_holders.iter().map(|ts| format!(" and {ts}")).collect();
        let text =
            format!("{}: locked by {}{others}, waiting: {}", queue.key, queue.holder, waiting.join(" "));
        section.text(text, !fresh && !known);
    }
    for edge in &now.chain {
        let known = old.is_some_and(|o| o.chain.contains(edge));
        section.text(format!("{} waits for {} at {}", edge.txn, edge.wait_for, edge.key), !fresh && !known);
    }
    section
}

fn memory_locks(now: &MemoryLocksProbe, old: Option<&MemoryLocksProbe>, fresh: bool) -> Section {
    let mut section = Section::new(format!("Locks in memory of store {}, region {}", now.store, now.region));
    section.head(&["key", "start_ts", "for_update_ts", "TTL ms"]);
    for lock in &now.locks {
        let changed = !fresh && !old.is_some_and(|o| o.locks.contains(lock));
        let numbers = [lock.start_ts, lock.for_update_ts, lock.ttl_ms].map(|n| cell(n.to_string(), changed));
        section.row(Kind::Row, [cell(&lock.key, changed)].into_iter().chain(numbers).collect());
    }
    more(&mut section, now.more);
    section
}

fn wait_graph(now: &WaitGraphProbe, old: Option<&WaitGraphProbe>, fresh: bool) -> Section {
    let mut section = Section::new(format!("Deadlock detector on store {}", now.store));
    section.head(&["transaction", "waits for", "key"]);
    for edge in &now.edges {
        let changed = !fresh && !old.is_some_and(|o| o.edges.contains(edge));
        let cells = [edge.txn.to_string(), edge.wait_for.to_string(), edge.key.clone()];
        section.row(Kind::Row, cells.map(|text| cell(text, changed)).to_vec());
    }
    more(&mut section, now.more);
    section
}

fn more(section: &mut Section, more: u64) {
    if more > 0 {
        section.text(format!("{more} more"), false);
    }
}

fn perf(now: &PerfProbe, old: Option<&PerfProbe>) -> Section {
    let mut section = Section::new("RocksDB perf context");
    section.text(origin(now), old.is_some_and(|old| old != now));
    let get = |f: fn(&PerfProbe) -> u64| (f(now), old.map(f));
    let rows: [(&str, (u64, Option<u64>)); 11] = [
        ("get_from_memtable_count", get(|p| p.get_from_memtable_count)),
        ("block_cache_hit_count", get(|p| p.block_cache_hit_count)),
        ("block_read_count", get(|p| p.block_read_count)),
        ("block_read_byte", get(|p| p.block_read_byte)),
        ("block_read_nanos", get(|p| p.block_read_nanos)),
        ("internal_key_skipped_count", get(|p| p.internal_key_skipped_count)),
        ("internal_delete_skipped_count", get(|p| p.internal_delete_skipped_count)),
        ("seek_on_memtable_count", get(|p| p.seek_on_memtable_count)),
        ("seek_child_seek_count", get(|p| p.seek_child_seek_count)),
        ("bloom_memtable_miss_count", get(|p| p.bloom_memtable_miss_count)),
        ("bloom_sst_miss_count", get(|p| p.bloom_sst_miss_count)),
    ];
    for (name, (value, before)) in rows {
        section.row(Kind::Row, vec![cell(name, false), number(value, before)]);
    }
    section
}

/// Says where RocksDB searched for the data of the read.
fn origin(perf: &PerfProbe) -> String {
    let searches = perf.get_from_memtable_count.saturating_add(perf.seek_on_memtable_count);
    let blocks = match (perf.block_cache_hit_count, perf.block_read_count) {
        (0, 0) => "no block of a file".into(),
        (cached, read) => format!("blocks from the cache {cached}, from files {read}"),
    };
    let refused = perf.bloom_memtable_miss_count.saturating_add(perf.bloom_sst_miss_count);
    format!("searches of memtables {searches}, {blocks}, ruled out by filters {refused}")
}

#[cfg(test)]
mod tests {
    use tracepoints::probe::{LatchSlot, LockWaitEdge, MemoryLock};

    use super::*;

    fn raft_step(commit: u64) -> Step {
        let peer = RaftProbe { store: 2, region: 7, role: "Follower".into(), commit, ..RaftProbe::default() };
        let state = StateView { raft: vec![peer], ..StateView::default() };
        Step { state, ..Step::default() }
    }

    fn texts(sections: &[Section]) -> Vec<String> {
        let rows = sections.iter().flat_map(|s| &s.rows);
        rows.map(|r| r.cells.iter().map(|c| c.text.as_str()).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn facts_show_their_outcome_and_each_value_with_its_note() {
        let ts = 470_607_130_203_521_025;
        let facts = Facts::new("Conflict check").failed("conflict").ts("commit_ts", ts).note("newer");
        let state = StateView { facts: vec![facts], ..StateView::default() };
        let shown = sections(&Step { state, ..Step::default() }, None);
        assert_eq!(shown[1].title, "Conflict check: conflict");
        assert_eq!(texts(&shown[1..]), [format!("commit_ts {ts} (01:15:32.771 +1)  newer")]);
    }

    #[test]
    fn rows_of_a_read_say_why_they_are_skipped() {
        let row = |commit_ts, kind: &str| WriteRow { commit_ts, kind: kind.into(), ..WriteRow::default() };
        let writes = vec![row(30, "Put"), row(20, "Rollback"), row(10, "Put"), row(5, "Put")];
        let rows = MvccProbe { read_ts: 25, chosen: Some(10), writes, ..MvccProbe::default() };
        let shown: Vec<&str> = rows.writes.iter().map(|write| verdict(&rows, write).trim()).collect();
        assert_eq!(shown, ["newer than the read", "has no value", "← chosen", "older"]);
    }

    #[test]
    fn a_latch_names_its_key_and_how_long_it_was_held() {
        let slot = LatchSlot { slot: 3, queue: vec![7], keys: vec!["k1".into()] };
        let mut probe = LatchesProbe { store: 1, slots: vec![slot], command: 7, since_ns: 5_000, held_ns: 0 };
        let shown = |probe: &LatchesProbe| texts(&[latches(probe, None, true)]);
        assert_eq!(
            shown(&probe),
            [
                "held by command 7 since 5.00 µs after the start",
                "slot 3 (k1): command 7 holds it, none waits"
            ]
        );
        (probe.held_ns, probe.slots[0].queue) = (2_000_000, Vec::new());
        assert_eq!(shown(&probe), ["released by command 7 after 2.00 ms", "slot 3 (k1): free"]);
    }

    #[test]
    fn locks_in_memory_and_the_wait_graph_are_tables() {
        let lock = MemoryLock { key: "k1".into(), start_ts: 5, for_update_ts: 6, ttl_ms: 3000 };
        let locks = MemoryLocksProbe { store: 1, region: 2, locks: vec![lock], more: 4 };
        let edge = LockWaitEdge { txn: 8, wait_for: 5, key: "k1".into() };
        let graph = WaitGraphProbe { store: 1, edges: vec![edge], more: 0 };
        let state = StateView { memory_locks: Some(locks), wait_graph: Some(graph), ..StateView::default() };
        let step = Step { state, ..Step::default() };
        let shown = texts(&sections(&step, Some(&Step::default()))[1..]);
        assert_eq!(
            shown,
            [
                "key start_ts for_update_ts TTL ms",
                "k1 5 6 3000",
                "4 more",
                "transaction waits for key",
                "8 5 k1"
            ]
        );
        let marked = sections(&step, Some(&Step::default()))[1].rows[1].cells.iter().all(|c| c.changed);
        assert!(marked, "the lock is new");
        assert!(!sections(&step, Some(&step))[1].rows[1].cells[0].changed);
    }

    #[test]
    fn a_read_says_which_parts_of_rocksdb_it_searched() {
        let mut probe =
            PerfProbe { get_from_memtable_count: 1, seek_on_memtable_count: 1, ..PerfProbe::default() };
        let said = |probe: &PerfProbe| texts(&[perf(probe, None)]).remove(0);
        assert_eq!(said(&probe), "searches of memtables 2, no block of a file, ruled out by filters 0");
        (probe.block_cache_hit_count, probe.bloom_sst_miss_count) = (3, 2);
        assert_eq!(
            said(&probe),
            "searches of memtables 2, blocks from the cache 3, from files 0, ruled out by filters 2"
        );
        probe.seek_on_memtable_count = u64::MAX;
        assert!(said(&probe).contains(&u64::MAX.to_string()), "a damaged trace");
    }

    #[test]
    fn enumerated_numbers_are_shown_by_name() {
        let fields = [("isolation", 0), ("write_type", 80), ("region", 2)];
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let section = stamp(&Step { fields, ..Step::default() });
        assert_eq!(section.rows[1].cells[0].text, "isolation SI, region 2, write_type Put");
    }

    #[test]
    fn only_changes_since_the_previous_step_are_marked() {
        let (old, new) = (raft_step(11), raft_step(12));
        let sections = sections(&new, Some(&old));
        let row = &sections[1].rows[1];
        let changed: Vec<_> = row.cells.iter().filter(|c| c.changed).map(|c| c.text.as_str()).collect();
        assert_eq!(changed, ["12"]);
        let first = super::sections(&new, None);
        assert!(first.iter().flat_map(|s| &s.rows).flat_map(|r| &r.cells).all(|c| !c.changed));
    }
}
