//! The gates of a session: which of them hold an arrival.
use super::config::GateState;
use crate::{
    catalogue::StageId,
    gates::{Change, Gate, Live, Place, Timestamps, Watcher},
    kind::RequestKind,
    probe::Probe,
    stamp::Stamp,
};

/// A gate with its arrivals so far.
struct Entry {
    state: GateState,
    /// Removed when it holds a request for the first time.
    once: bool,
    /// The change that it waited for; it holds the next arrival.
    change: Option<Change>,
    /// Whether it holds the last arrival.
    holds: bool,
}

#[derive(Default)]
pub(super) struct GateList {
    entries: Vec<Entry>,
    timestamps: Timestamps,
    watcher: Watcher,
}

impl GateList {
    /// Sets the first gates, and names the timestamps `ts1`, `ts2` ... in their order.
    pub(super) fn new(gates: Vec<Gate>, timestamps: &[u64]) -> Self {
        let mut list = Self { timestamps: Timestamps::beginning_with(timestamps), ..Self::default() };
        gates.into_iter().for_each(|gate| list.set(gate, false));
        list
    }

    /// Adds a gate, or switches it on again and counts its arrivals from 0. A gate that holds once does not
    /// replace the user's gate of the same text.
    pub(super) fn set(&mut self, gate: Gate, once: bool) {
        self.entries.retain(|e| e.once != once || e.state.gate.text() != gate.text());
        self.entries.push(Entry { state: GateState::new(gate), once, change: None, holds: false });
    }

    /// Removes a gate of the user by its text; returns whether it was there.
    pub(super) fn remove(&mut self, text: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.once || e.state.gate.text() != text);
        self.entries.len() < before
    }

    /// Switches a gate of the user on or off; returns false if there is none of this text.
    pub(super) fn switch(&mut self, text: &str, on: bool) -> bool {
        let found = self.entries.iter_mut().find(|e| !e.once && e.state.gate.text() == text);
        found.map(|e| (e.state.on, e.change) = (on, None)).is_some()
    }

    /// The gates of the user.
    pub(super) fn states(&self) -> Vec<GateState> {
        self.entries.iter().filter(|e| !e.once).map(|e| e.state.clone()).collect()
    }

    /// Forgets the changes that would hold the next arrival: they are from a time in which no gate held.
    pub(super) fn forget_changes(&mut self) {
        self.entries.iter_mut().for_each(|e| e.change = None);
    }

    /// Names the timestamps of a stamp.
    pub(super) fn note_stamp(&mut self, stamp: &Stamp) {
        self.timestamps.note(stamp);
    }

    /// Takes a published state: names its timestamps; a gate on its change holds the next arrival.
    pub(super) fn note_probe(&mut self, probe: &Probe) {
        self.timestamps.note_probe(probe);
        let entries = &mut self.entries;
        self.watcher.note(probe, |change| {
            for Entry { state, change: due, .. } in entries.iter_mut() {
                let Place::Change(watched) = state.gate.place else { continue };
                let counts = state.on
                    && watched == change.watched
                    && state.gate.condition.as_ref().is_none_or(|condition| condition.holds(&change));
                if counts && state.count() {
                    *due = Some(change);
                }
            }
        });
    }

    /// Counts an arrival at all gates; returns the index of the gate that holds it.
    pub(super) fn arrive(
        &mut self,
        stage: StageId,
        stamp: &Stamp,
        (kind, key): (RequestKind, &[u8]),
    ) -> Option<usize> {
        let live = Live { stamp, kind, key, timestamps: &self.timestamps };
        let (file, line) = stamp.site.map_or(("", 0), |site| (site.file, site.line));
        let mut found = None;
        for (i, entry) in self.entries.iter_mut().enumerate().filter(|(_, e)| e.state.on) {
            let counts = entry.state.gate.accepts(stage, file, line, &live);
            entry.holds = counts && entry.state.count() || entry.change.is_some();
            found = found.or_else(|| entry.holds.then_some(i));
        }
        found
    }

    /// Returns the reason of a hold by this gate. Every gate that holds once and held this arrival ends with it.
    pub(super) fn reason(&mut self, index: usize) -> String {
        let Some(entry) = self.entries.get_mut(index) else { return String::new() };
        let text = entry.state.gate.text();
        let reason = match entry.change.take() {
            Some(change) => format!("{text}: {change}"),
            None => text.to_owned(),
        };
        self.entries.retain(|e| !(e.once && e.holds));
        reason
    }
}
