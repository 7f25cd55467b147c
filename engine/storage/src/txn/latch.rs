//! Latches: commands that touch the same key run one after the other.
//!
//! Mirrors `src/storage/txn/latch.rs`.
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

use crossbeam::utils::CachePadded;
use parking_lot::Mutex;
use tracepoints::probe::{LatchSlot, LatchesProbe};

/// A slot's queue shrinks when it is this long no more.
const WAITING_LIST_SHRINK_SIZE: usize = 8;
const WAITING_LIST_MAX_CAPACITY: usize = 16;

/// One slot: (hash of a key, command) in the order of arrival. The first with a hash holds that key.
#[derive(Default)]
struct Latch {
    waiting: VecDeque<(u64, u64)>,
}

impl Latch {
    fn first_by_hash(&self, hash: u64) -> Option<u64> {
        self.waiting.iter().find(|(h, _)| *h == hash).map(|(_, cid)| *cid)
    }

    /// Takes `who` out; if it held `hash`, tells who holds it then.
    fn pop(&mut self, hash: u64, who: u64) -> Option<u64> {
        let held = self.first_by_hash(hash) == Some(who);
        if let Some(at) = self.waiting.iter().position(|entry| *entry == (hash, who)) {
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

/// The latches that one command needs, and how many of them it has. Hashes are taken in ascending order, so
/// that two commands never wait for each other.
#[derive(Clone, Debug, Default)]
pub struct Lock {
    required_hashes: Vec<u64>,
    owned_count: usize,
}

impl Lock {
    /// For these keys.
    pub fn new<'a, K: Hash + 'a>(keys: impl IntoIterator<Item = &'a K>) -> Lock {
        let mut required_hashes: Vec<u64> = keys.into_iter().map(hash).collect();
        required_hashes.sort_unstable();
        required_hashes.dedup();
        Lock { required_hashes, owned_count: 0 }
    }

    /// Whether it has them all.
    pub fn acquired(&self) -> bool {
        self.required_hashes.len() == self.owned_count
    }

    /// How many it needs.
    pub fn len(&self) -> usize {
        self.required_hashes.len()
    }

    /// Whether it needs none.
    pub fn is_empty(&self) -> bool {
        self.required_hashes.is_empty()
    }
}

fn hash<K: Hash>(key: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// All latches of a store.
pub struct Latches {
    slots: Vec<CachePadded<Mutex<Latch>>>,
}

impl Latches {
    /// With at least `size` slots.
    pub fn new(size: usize) -> Latches {
        Latches { slots: (0..size.max(1).next_power_of_two()).map(|_| CachePadded::default()).collect() }
    }

    fn slot_of(&self, hash: u64) -> usize {
        hash as usize & (self.slots.len() - 1)
    }

    /// Takes the latches that `who` needs and has not; false if it must wait for one of them. Then it is in
    /// that latch's queue, and [`Latches::release`] of who holds it names `who`.
    pub fn acquire(&self, lock: &mut Lock, who: u64) -> bool {
        let mut acquired = 0;
        for &hash in &lock.required_hashes[lock.owned_count..] {
            let mut latch = self.slots[self.slot_of(hash)].lock();
            let holder = latch.first_by_hash(hash);
            if holder != Some(who) {
                latch.waiting.push_back((hash, who));
            }
            if holder.is_some_and(|cid| cid != who) {
                break;
            }
            acquired += 1;
        }
        lock.owned_count += acquired;
        lock.acquired()
    }

    /// Gives all latches of `who` back, also one that it waits for; tells who may come on.
    pub fn release(&self, lock: &Lock, who: u64) -> Vec<u64> {
        let mut wakeup = Vec::new();
        for (i, &hash) in lock.required_hashes.iter().enumerate() {
            // Behind the one it waits for it is in no queue.
            if i > lock.owned_count {
                break;
            }
            // It may have come to hold the last one without having heard of it yet.
            wakeup.extend(self.slots[self.slot_of(hash)].lock().pop(hash, who));
        }
        wakeup.sort_unstable();
        wakeup.dedup();
        wakeup
    }

    /// Who has the latch that `lock` waits for.
    pub fn holder(&self, lock: &Lock) -> Option<u64> {
        let hash = *lock.required_hashes.get(lock.owned_count)?;
        self.slots[self.slot_of(hash)].lock().first_by_hash(hash)
    }

    /// The queues of the slots that `lock` is about.
    pub fn probe(&self, lock: &Lock) -> LatchesProbe {
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
            LatchSlot { slot: slot as u64, queue }
        };
        LatchesProbe {
            store: u64::from(tracepoints::thread::store()),
            slots: slots.into_iter().map(queue).collect(),
        }
    }

    /// Whether nobody holds or waits for any latch.
    pub fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.lock().waiting.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn commands_on_one_key_go_in_the_order_of_arrival() {
        let latches = Latches::new(256);
        let (mut a, mut b, mut c) = (Lock::new(&["k"]), Lock::new(&["k"]), Lock::new(&["k"]));
        assert!(latches.acquire(&mut a, 1));
        assert!(!latches.acquire(&mut b, 2));
        assert!(!latches.acquire(&mut c, 3));
        assert_eq!(latches.probe(&a).slots[0].queue, [1, 2, 3]);
        assert_eq!((latches.holder(&c), latches.holder(&a)), (Some(1), None));
        assert_eq!(latches.release(&a, 1), [2]);
        assert!(latches.acquire(&mut b, 2));
        assert_eq!(latches.release(&b, 2), [3]);
        assert!(latches.acquire(&mut c, 3));
        assert!(latches.release(&c, 3).is_empty());
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
    fn who_gives_up_waiting_leaves_the_queue() {
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
    fn who_gives_up_what_it_was_just_given_passes_it_on() {
        let latches = Latches::new(16);
        let (mut a, mut b, mut c) = (Lock::new(&["k"]), Lock::new(&["k"]), Lock::new(&["k"]));
        assert!(latches.acquire(&mut a, 1));
        assert!(!latches.acquire(&mut b, 2) && !latches.acquire(&mut c, 3));
        assert_eq!(latches.release(&a, 1), [2]);
        assert_eq!(latches.release(&b, 2), [3], "2 was woken, but did not acquire");
        assert!(latches.acquire(&mut c, 3));
    }

    /// Commands with random keys, woken in random order: nobody ever runs beside another on the same key,
    /// and everybody runs.
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
                    let who = runnable.swap_remove(rng.random_range(0..runnable.len()));
                    if latches.acquire(&mut locks[who], who as u64) {
                        let clash = running.iter().any(|r| keys[*r].iter().any(|k| keys[who].contains(k)));
                        assert!(!clash, "two commands run on one key");
                        running.push(who);
                    }
                } else {
                    assert!(!running.is_empty(), "nobody runs and nobody can: a wakeup was lost");
                    let who = running.swap_remove(rng.random_range(0..running.len()));
                    runnable.extend(latches.release(&locks[who], who as u64).iter().map(|c| *c as usize));
                    done += 1;
                }
            }
            assert!(latches.is_idle());
        }
    }
}
