//! Latches: serialize commands that touch the same key.
//!
//! Mirrors `src/storage/txn/latch.rs`.
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use crossbeam::utils::CachePadded;
use parking_lot::Mutex;
use tracepoints::{
    EngineClock,
    clock::EngineInstant,
    probe::{LatchSlot, LatchesProbe},
};
use txn_types::Key;

use crate::mvcc::facts::key_text;

/// A slot's queue shrinks below this length.
const WAITING_LIST_SHRINK_SIZE: usize = 8;
const WAITING_LIST_MAX_CAPACITY: usize = 16;

/// One slot: (hash of a key, command) in arrival order. The first entry with a hash owns that key.
#[derive(Default)]
struct Latch {
    waiting: VecDeque<(u64, u64)>,
}

impl Latch {
    fn first_by_hash(&self, hash: u64) -> Option<u64> {
        self.waiting.iter().find(|(h, _)| *h == hash).map(|(_, cid)| *cid)
    }

    /// Removes `command`; if it owned `hash`, returns the new owner.
    fn pop(&mut self, hash: u64, command: u64) -> Option<u64> {
        let held = self.first_by_hash(hash) == Some(command);
        if let Some(at) = self.waiting.iter().position(|entry| *entry == (hash, command)) {
            self.waiting.remove(at);
        }
        if self.waiting.capacity() > WAITING_LIST_MAX_CAPACITY
            && self.waiting.len() < WAITING_LIST_SHRINK_SIZE
        {
            self.waiting.shrink_to_fit();
        }
        self.first_by_hash(hash).filter(|_| held)
    }
}

/// Latches that one command needs, and how many of them it owns. Acquires hashes in ascending order, so that
/// two commands never deadlock.
#[derive(Clone, Debug, Default)]
pub struct Lock {
    required_hashes: Vec<u64>,
    owned_count: usize,
    /// The keys by their hashes, for a person who steps; empty otherwise.
    names: Vec<(u64, String)>,
    /// Engine time at which the last latch was acquired.
    acquired_at: Option<EngineInstant>,
}

impl Lock {
    /// Creates the lock for these keys.
    pub fn new<'a, K: Hash + 'a>(keys: impl IntoIterator<Item = &'a K>) -> Lock {
        let mut required_hashes: Vec<u64> = keys.into_iter().map(hash).collect();
        required_hashes.sort_unstable();
        required_hashes.dedup();
        Lock { required_hashes, ..Lock::default() }
    }

    /// Keeps the names of the keys for [`Latches::probe`].
    pub fn set_names<'a>(&mut self, keys: impl IntoIterator<Item = &'a Key>) {
        self.names = keys.into_iter().map(|key| (hash(&key), key_text(key))).collect();
    }

    /// Whether the command owns all its latches.
    pub fn acquired(&self) -> bool {
        self.required_hashes.len() == self.owned_count
    }

    /// Returns the number of latches needed.
    pub fn len(&self) -> usize {
        self.required_hashes.len()
    }

    /// Whether no latch is needed.
    pub fn is_empty(&self) -> bool {
        self.required_hashes.is_empty()
    }
}

fn hash<K: Hash>(key: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Latches of a store.
pub struct Latches {
    slots: Vec<CachePadded<Mutex<Latch>>>,
}

impl Latches {
    /// Creates at least `size` slots.
    pub fn new(size: usize) -> Latches {
        Latches { slots: (0..size.max(1).next_power_of_two()).map(|_| CachePadded::default()).collect() }
    }

    fn slot_of(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// Acquires the missing latches of `command`; returns false if another command owns one of them.
    /// `command` then waits in that latch's queue, and the owner's [`Latches::release`] returns `command`.
    pub fn acquire(&self, lock: &mut Lock, command: u64) -> bool {
        let mut acquired = 0;
        for &hash in &lock.required_hashes[lock.owned_count..] {
            let mut latch = self.slots[self.slot_of(hash)].lock();
            let holder = latch.first_by_hash(hash);
            if holder != Some(command) {
                latch.waiting.push_back((hash, command));
            }
            if holder.is_some_and(|cid| cid != command) {
                break;
            }
            acquired += 1;
        }
        lock.owned_count += acquired;
        if lock.acquired() && lock.acquired_at.is_none() {
            lock.acquired_at = Some(EngineClock::now());
        }
        lock.acquired()
    }

    /// Releases all latches of `command` and leaves the queue where it waits; returns the commands to wake.
    pub fn release(&self, lock: &Lock, command: u64) -> Vec<u64> {
        let mut wakeup = Vec::new();
        for (i, &hash) in lock.required_hashes.iter().enumerate() {
            // A command is in no queue after the one where it waits.
            if i > lock.owned_count {
                break;
            }
            // The command may already own this latch without having been woken.
            wakeup.extend(self.slots[self.slot_of(hash)].lock().pop(hash, command));
        }
        wakeup.sort_unstable();
        wakeup.dedup();
        wakeup
    }

    /// Passes the latch of one key from `command`, which holds it, to `next`. No other command gets it in
    /// between. Returns whether `next` has its latch. TiKV: `release` with `keep_latches_for_next_cmd`.
    pub fn pass_on(&self, command: u64, lock: &mut Lock, next: u64) -> bool {
        let &[hash] = lock.required_hashes.as_slice() else { return false };
        let mut latch = self.slots[self.slot_of(hash)].lock();
        let first = latch.waiting.iter_mut().find(|(h, _)| *h == hash);
        match first {
            Some((_, owner)) if *owner == command => *owner = next,
            _ => return false,
        }
        lock.owned_count = 1;
        true
    }

    /// Returns the owner of the latch that `lock` waits for.
    pub fn holder(&self, lock: &Lock) -> Option<u64> {
        let hash = *lock.required_hashes.get(lock.owned_count)?;
        self.slots[self.slot_of(hash)].lock().first_by_hash(hash)
    }

    /// Returns the queues of the slots that the lock of `command` uses; `released`: it has released them.
    pub fn probe(&self, lock: &Lock, command: u64, released: bool) -> LatchesProbe {
        let mut slots: Vec<usize> = lock.required_hashes.iter().map(|h| self.slot_of(*h)).collect();
        slots.sort_unstable();
        slots.dedup();
        let queue = |slot: usize| {
            let mut queue: Vec<u64> = Vec::new();
            for (_, cid) in &self.slots[slot].lock().waiting {
                if !queue.contains(cid) {
                    queue.push(*cid);
                }
            }
            let here = lock.names.iter().filter(|(hash, _)| self.slot_of(*hash) == slot);
            LatchSlot { slot: slot as u64, queue, keys: here.map(|(_, name)| name.clone()).collect() }
        };
        let held = lock.acquired_at.filter(|_| released).map_or(0, |at| at.elapsed().as_nanos() as u64);
        LatchesProbe {
            store: u64::from(tracepoints::thread::store()),
            slots: slots.into_iter().map(queue).collect(),
            command,
            since_ns: lock.acquired_at.map_or(0, |at| at.0),
            held_ns: held,
        }
    }

    /// Whether no command owns or waits for any latch.
    pub fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.lock().waiting.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn commands_on_one_key_run_in_arrival_order() {
        let latches = Latches::new(256);
        let (mut a, mut b, mut c) = (Lock::new(&["k"]), Lock::new(&["k"]), Lock::new(&["k"]));
        assert!(latches.acquire(&mut a, 1));
        assert!(!latches.acquire(&mut b, 2));
        assert!(!latches.acquire(&mut c, 3));
        assert_eq!(latches.probe(&a, 1, false).slots[0].queue, [1, 2, 3]);
        assert_eq!((latches.holder(&c), latches.holder(&a)), (Some(1), None));
        b.set_names(&[Key::from_raw(b"k")]);
        assert_eq!((latches.probe(&b, 2, false).since_ns, latches.probe(&b, 2, false).command), (0, 2));
        assert_eq!(latches.release(&a, 1), [2]);
        assert!(latches.acquire(&mut b, 2));
        assert_eq!(latches.release(&b, 2), [3]);
        assert!(latches.acquire(&mut c, 3));
        assert!(latches.release(&c, 3).is_empty());
        assert!(latches.is_idle());
    }

    #[test]
    fn a_latch_is_passed_on_before_all_that_wait() {
        let latches = Latches::new(16);
        let (mut a, mut b, mut next) = (Lock::new(&["k", "l"]), Lock::new(&["k"]), Lock::new(&["k"]));
        assert!(latches.acquire(&mut a, 1));
        assert!(!latches.acquire(&mut b, 2));
        assert!(latches.pass_on(1, &mut next, 3) && next.acquired());
        assert!(!latches.pass_on(1, &mut Lock::new(&["k"]), 4), "1 does not have the latch any more");
        assert!(latches.release(&a, 1).is_empty(), "2 waits for 3");
        assert_eq!(latches.release(&next, 3), [2]);
        assert!(latches.acquire(&mut b, 2));
        latches.release(&b, 2);
        assert!(latches.is_idle());
    }

    #[test]
    fn other_keys_of_a_slot_do_not_wait() {
        let latches = Latches::new(1);
        let (mut a, mut b) = (Lock::new(&["a"]), Lock::new(&["b"]));
        assert!(latches.acquire(&mut a, 1));
        assert!(latches.acquire(&mut b, 2));
        assert!(latches.release(&b, 2).is_empty());
        assert!(latches.release(&a, 1).is_empty());
        assert!(latches.is_idle());
    }

    #[test]
    fn a_command_that_stops_waiting_leaves_the_queue() {
        let latches = Latches::new(16);
        let (mut a, mut b, mut c) = (Lock::new(&["k"]), Lock::new(&["k", "l"]), Lock::new(&["k"]));
        assert!(latches.acquire(&mut a, 1));
        let _ = latches.acquire(&mut b, 2);
        assert!(!latches.acquire(&mut c, 3));
        latches.release(&b, 2);
        assert_eq!(latches.release(&a, 1), [3]);
        assert!(latches.acquire(&mut c, 3));
        latches.release(&c, 3);
        assert!(latches.is_idle());
    }

    #[test]
    fn a_released_latch_wakes_the_next_command() {
        let latches = Latches::new(16);
        let (mut a, mut b, mut c) = (Lock::new(&["k"]), Lock::new(&["k"]), Lock::new(&["k"]));
        assert!(latches.acquire(&mut a, 1));
        assert!(!latches.acquire(&mut b, 2) && !latches.acquire(&mut c, 3));
        assert_eq!(latches.release(&a, 1), [2]);
        assert_eq!(latches.release(&b, 2), [3], "2 was woken, but did not acquire");
        assert!(latches.acquire(&mut c, 3));
    }

    /// Runs commands with random keys and wakes them in random order: no two commands on the same key ever
    /// run together, and all commands finish.
    #[test]
    fn random_commands_exclude_each_other_and_all_finish() {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..50 {
            let latches = Latches::new(4);
            let keys: Vec<Vec<u8>> = (0..40)
                .map(|_| (0..rng.random_range(1..4)).map(|_| rng.random_range(0..6)).collect())
                .collect();
            let mut locks: Vec<Lock> = keys.iter().map(Lock::new).collect();
            let mut runnable: Vec<usize> = (0..keys.len()).collect();
            let (mut running, mut done) = (Vec::<usize>::new(), 0);
            while done < keys.len() {
                let start = !runnable.is_empty() && (running.is_empty() || rng.random_bool(0.6));
                if start {
                    let command = runnable.swap_remove(rng.random_range(0..runnable.len()));
                    if latches.acquire(&mut locks[command], command as u64) {
                        let clash =
                            running.iter().any(|r| keys[*r].iter().any(|k| keys[command].contains(k)));
                        assert!(!clash, "two commands run on one key");
                        running.push(command);
                    }
                } else {
                    assert!(!running.is_empty(), "no command runs or can run: a wakeup was lost");
                    let command = running.swap_remove(rng.random_range(0..running.len()));
                    runnable
                        .extend(latches.release(&locks[command], command as u64).iter().map(|c| *c as usize));
                    done += 1;
                }
            }
            assert!(latches.is_idle());
        }
    }
}
