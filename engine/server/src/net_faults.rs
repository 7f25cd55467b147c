//! Network faults between stores, for recipes and tests: partitions, lost and delayed messages. The sending
//! store applies them.
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;

/// The treatment of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageFate {
    /// Send it.
    Pass,
    /// Lose it.
    Drop,
    /// By this much engine time.
    Delay(Duration),
}

#[derive(Clone, Debug)]
struct Rule {
    from: u64,
    to: u64,
    message_type: Option<i32>,
    fate: MessageFate,
}

#[derive(Debug, Default)]
struct Faults {
    /// Pairs, the smaller store id first.
    cut: HashSet<(u64, u64)>,
    rules: Vec<Rule>,
}

/// The faults, shared by all stores of a process. Without a fault they cost one atomic load per message.
#[derive(Clone, Debug, Default)]
pub struct NetFaults {
    any: Arc<AtomicBool>,
    faults: Arc<RwLock<Faults>>,
}

impl NetFaults {
    /// Drops all messages between two stores, in both directions.
    pub fn partition(&self, a: u64, b: u64) {
        self.change(|f| {
            f.cut.insert((a.min(b), a.max(b)));
        });
    }

    /// Partitions `store` from each of `others`.
    pub fn isolate(&self, store: u64, others: &[u64]) {
        others.iter().filter(|o| **o != store).for_each(|o| self.partition(store, *o));
    }

    /// Ends a partition of two stores.
    pub fn heal(&self, a: u64, b: u64) {
        self.change(|f| {
            f.cut.remove(&(a.min(b), a.max(b)));
        });
    }

    /// Ends all partitions, losses and delays.
    pub fn heal_all(&self) {
        self.change(|f| *f = Faults::default());
    }

    /// Drops messages from `from` to `to`; `message_type` (`eraftpb.MessageType`) restricts it to one type.
    pub fn drop_messages(&self, from: u64, to: u64, message_type: Option<i32>) {
        self.change(|f| f.rules.push(Rule { from, to, message_type, fate: MessageFate::Drop }));
    }

    /// Delays messages from `from` to `to` by `delay` of engine time.
    pub fn delay_messages(&self, from: u64, to: u64, message_type: Option<i32>, delay: Duration) {
        self.change(|f| f.rules.push(Rule { from, to, message_type, fate: MessageFate::Delay(delay) }));
    }

    fn change(&self, change: impl FnOnce(&mut Faults)) {
        let mut faults = self.faults.write();
        change(&mut faults);
        self.any.store(!faults.cut.is_empty() || !faults.rules.is_empty(), Ordering::Release);
    }

    /// Returns what happens to a message from one store to another.
    pub fn fate(&self, from: u64, to: u64, message_type: i32) -> MessageFate {
        if !self.any.load(Ordering::Acquire) {
            return MessageFate::Pass;
        }
        let faults = self.faults.read();
        if faults.cut.contains(&(from.min(to), from.max(to))) {
            return MessageFate::Drop;
        }
        let hit =
            |r: &&Rule| (r.from, r.to) == (from, to) && r.message_type.is_none_or(|t| t == message_type);
        faults.rules.iter().rev().find(hit).map_or(MessageFate::Pass, |r| r.fate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_cuts_both_ways_until_it_is_healed() {
        let net = NetFaults::default();
        assert_eq!(net.fate(1, 2, 3), MessageFate::Pass);
        net.isolate(1, &[1, 2, 3]);
        for (from, to) in [(1, 2), (2, 1), (3, 1)] {
            assert_eq!(net.fate(from, to, 3), MessageFate::Drop);
        }
        assert_eq!(net.fate(2, 3, 3), MessageFate::Pass);
        net.heal(2, 1);
        assert_eq!((net.fate(1, 2, 3), net.fate(1, 3, 3)), (MessageFate::Pass, MessageFate::Drop));
        net.heal_all();
        assert_eq!(net.fate(1, 3, 3), MessageFate::Pass);
    }

    #[test]
    fn the_newest_rule_that_fits_decides() {
        let net = NetFaults::default();
        net.delay_messages(1, 2, None, Duration::from_millis(5));
        net.drop_messages(1, 2, Some(3));
        assert_eq!(net.fate(1, 2, 3), MessageFate::Drop);
        assert_eq!(net.fate(1, 2, 4), MessageFate::Delay(Duration::from_millis(5)));
        assert_eq!(net.fate(2, 1, 3), MessageFate::Pass);
    }
}
