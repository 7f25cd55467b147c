//! Looks up the newest version of one key at or before a timestamp.
use tracepoints::{Probe, Req};

/// Reads one key over a snapshot.
pub struct PointGetter<S> {
    snapshot: S,
    ts: u64,
    isolation: Isolation,
    req: Req,
}

impl<S: Snapshot> PointGetter<S> {
    /// The value of `key` as of the getter's timestamp.
    pub fn get(&mut self, key: &Key) -> Result<Option<Value>> {
        tracepoints::step_thread!(MVCC_GET, self.req, ts = self.ts);
        if self.isolation == Isolation::Si {
            self.load_and_check_lock(key)?;
        }
        self.load_data(key)
    }

    fn load_and_check_lock(&mut self, key: &Key) -> Result<()> {
        tracepoints::step_thread!(LOCK_CF_GET, self.req, ts = self.ts);
        match self.snapshot.get_cf(CF_LOCK, key)? {
            Some(bytes) => Lock::parse(&bytes)?.check_ts(key, self.ts, "blocked"),
            None => Ok(()),
        }
    }

    fn load_data(&mut self, key: &Key) -> Result<Option<Value>> {
        tracepoints::step_thread!(WRITE_CF_SEEK, self.req, ts = self.ts);
        let mut cursor = self.snapshot.cursor_cf(CF_WRITE)?;
        let mut found = cursor.seek(&key.clone().append_ts(self.ts))?;
        while found {
            let write = WriteRef::parse(cursor.value())?;
            match write.write_type {
                WriteType::Put => {
                    tracepoints::step_thread!(WRITE_CF_FOUND, self.req, start_ts = write.start_ts);
                    return self.load_value(key, write).map(Some);
                }
                WriteType::Delete => return Ok(None),
                // Neither changes the value: the version before decides.
                WriteType::Lock | WriteType::Rollback => found = cursor.next()?,
            }
        }
        Ok(None)
    }

    fn load_value(&mut self, key: &Key, write: WriteRef<'_>) -> Result<Value> {
        if let Some(value) = write.short_value {
            return Ok(value.to_vec());
        }
        tracepoints::step_thread!(DEFAULT_CF_GET, self.req, start_ts = write.start_ts);
        let bytes = self.snapshot.get_cf(CF_DEFAULT, &key.clone().append_ts(write.start_ts))?;
        bytes.ok_or_else(|| Error::default_not_found(key, write.start_ts))
    }
}
