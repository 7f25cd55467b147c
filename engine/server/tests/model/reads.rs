//! Reads on leaders and followers, and the locks that are left.
use kvproto::kvrpcpb::*;
use rand::Rng;

use super::{KEYS, Run, caller::owned, percolator::Key};

/// A value, or the start of the transaction whose lock the reader must resolve.
type Read = Result<Option<Vec<u8>>, u64>;

impl Run {
    fn read_ts(&mut self) -> u64 {
        let now = self.caller.ts();
        // An old timestamp now and then: a few transactions back.
        match self.rng.random_bool(0.3) {
            true => self.open.first().map_or(now, |txn| txn.start),
            false => now,
        }
    }

    /// Gets and batch-gets each key, on the leader or on a follower.
    pub fn read_keys(&mut self) {
        let (ts, follower) = (self.read_ts(), self.rng.random_bool(0.4));
        let batch = self.rng.random_bool(0.5);
        for group in self.caller.groups(&KEYS) {
            let found =
                if batch { self.batch_get(&group, ts, follower) } else { self.get(&group, ts, follower) };
            let expected: Vec<Read> = group.iter().map(|key| self.model.read(key, ts)).collect();
            assert_eq!(found, expected, "{}: {group:?} at {ts}, follower {follower}", self.context);
            if expected.iter().any(Result::is_err) {
                self.count("blocked read");
            }
            if follower {
                self.count("follower read");
            }
        }
    }

    fn get(&self, keys: &[Key], ts: u64, follower: bool) -> Vec<Read> {
        let get = |key: &Key| {
            let reply = self.caller.call(key, follower, async |mut client, context| {
                let request = GetRequest {
                    context: Some(context),
                    key: key.to_vec(),
                    version: ts,
                    ..Default::default()
                };
                client.kv_get(request).await
            });
            match reply.error {
                Some(error) => Err(self.locked_by(error)),
                None => Ok((!reply.not_found).then_some(reply.value)),
            }
        };
        keys.iter().map(get).collect()
    }

    fn batch_get(&self, keys: &[Key], ts: u64, follower: bool) -> Vec<Read> {
        let reply = self.caller.call(keys[0], follower, async |mut client, context| {
            let keys = owned(keys);
            let request = BatchGetRequest { context: Some(context), keys, version: ts, ..Default::default() };
            client.kv_batch_get(request).await
        });
        let find = |key: &Key| match reply.pairs.iter().find(|pair| pair.key == *key) {
            Some(KvPair { error: None, value, .. }) => Ok(Some(value.clone())),
            _ => Ok(None),
        };
        let mut found: Vec<Read> = keys.iter().map(find).collect();
        // A locked key is reported with its lock, without the field `key`.
        for error in reply.pairs.into_iter().filter_map(|pair| pair.error) {
            let lock = error.locked.clone().unwrap_or_else(|| panic!("{}: {error:?}", self.context));
            let n = keys.iter().position(|key| lock.key == *key).unwrap();
            found[n] = Err(lock.lock_version);
        }
        found
    }

    fn locked_by(&self, error: KeyError) -> u64 {
        error.locked.as_ref().unwrap_or_else(|| panic!("{}: {error:?}", self.context)).lock_version
    }

    /// Scans each region forwards or backwards.
    pub fn scan(&mut self) {
        let (ts, reverse) = (self.read_ts(), self.rng.random_bool(0.5));
        for group in self.caller.groups(&KEYS) {
            let (first, last) = (group[0], [group[group.len() - 1], b"\0"].concat());
            let reply = self.caller.call(first, false, async |mut client, context| {
                // A scan in reverse begins at the upper end.
                let (start_key, end_key) =
                    if reverse { (last.clone(), first.to_vec()) } else { (first.to_vec(), last.clone()) };
                let request = ScanRequest {
                    context: Some(context),
                    start_key,
                    end_key,
                    limit: 100,
                    version: ts,
                    reverse,
                    ..Default::default()
                };
                client.kv_scan(request).await
            });
            let pair = |pair: KvPair| match pair.error {
                Some(error) => Err(self.locked_by(error)),
                None => Ok((pair.key, pair.value)),
            };
            let mut found: Vec<_> = reply.pairs.into_iter().map(pair).collect();
            if reverse {
                found.reverse();
            }
            let row = |key: &Key| match self.model.read(key, ts) {
                Ok(value) => value.map(|value| Ok((key.to_vec(), value))),
                Err(lock) => Some(Err(lock)),
            };
            let expected: Vec<_> = group.iter().filter_map(row).collect();
            assert_eq!(found, expected, "{}: {group:?} at {ts}, reverse {reverse}", self.context);
        }
    }

    /// Compares the locks of all regions with the model's.
    pub fn check_locks(&mut self) {
        let ts = self.caller.ts();
        let mut found = Vec::new();
        for group in self.caller.groups(&KEYS) {
            let reply = self.caller.call(group[0], false, async |mut client, context| {
                let request = ScanLockRequest {
                    context: Some(context),
                    start_key: group[0].to_vec(),
                    max_version: ts,
                    limit: 100,
                    ..Default::default()
                };
                client.kv_scan_lock(request).await
            });
            assert!(reply.error.is_none(), "{}: {reply:?}", self.context);
            found.extend(reply.locks.into_iter().map(|lock| (lock.key, lock.lock_version)));
        }
        assert_eq!(found, self.model.locked(), "{}: locks", self.context);
    }
}
