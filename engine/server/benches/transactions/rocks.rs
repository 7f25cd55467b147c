//! RocksDB without a store: the same reads of CF write, and the same rows written, by threads.
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use engine_rocks::{CF_LOCK, CF_WRITE, DbConfig, IterOptions, RocksEngine};

use crate::{KEYS, Measured, VALUE, Work};

/// The rows of all clients.
pub struct Rows(RocksEngine);

fn key(id: u64, n: u64) -> Vec<u8> {
    format!("bench {id:04} {:08} version", n % KEYS).into_bytes()
}

impl Rows {
    pub fn open(dir: &Path, clients: u64) -> Result<Self> {
        let db = RocksEngine::open(dir, &DbConfig::default())?;
        for id in 0..clients {
            for n in 0..KEYS {
                db.put_cf(CF_WRITE, &key(id, n), &VALUE)?;
            }
        }
        Ok(Self(db))
    }

    fn get(&self, id: u64, n: u64) -> Result<()> {
        let found = self.0.get_value_cf(CF_WRITE, &key(id, n))?;
        ensure!(found.is_some_and(|value| value.len() == VALUE.len()), "a row is missing");
        Ok(())
    }

    fn scan(&self, id: u64) -> Result<()> {
        let from = key(id, 0);
        let mut iter = self.0.iterator_cf(CF_WRITE, IterOptions::default())?;
        let (mut found, mut bytes) = (iter.seek(&from)?, 0);
        for _ in 0..KEYS {
            ensure!(found, "a row is missing");
            bytes += iter.key().to_vec().len() + iter.value().to_vec().len();
            found = iter.next()?;
        }
        ensure!(bytes > 0, "empty rows");
        Ok(())
    }

    /// Writes the locks, and with a synced batch of its own the commit records, as two phases do.
    fn write(&self, id: u64, n: u64, count: usize, phases: usize) -> Result<()> {
        for phase in 0..phases {
            let mut batch = self.0.write_batch();
            for n in (n..).take(count) {
                match phase + 1 == phases {
                    false => batch.put_cf(CF_LOCK, &key(id, n), &VALUE)?,
                    true => {
                        batch.delete_cf(CF_LOCK, &key(id, n))?;
                        batch.put_cf(CF_WRITE, &key(id, n), &VALUE)?;
                    }
                }
            }
            batch.write_opt(true)?;
        }
        Ok(())
    }

    /// Writes a lock and removes it, without a sync: a lock in memory needs none.
    fn lock(&self, id: u64, n: u64) -> Result<()> {
        let mut batch = self.0.write_batch();
        batch.put_cf(CF_LOCK, &key(id, n), &VALUE)?;
        batch.write()?;
        let mut batch = self.0.write_batch();
        batch.delete_cf(CF_LOCK, &key(id, n))?;
        Ok(batch.write()?)
    }

    fn run(&self, id: u64, work: Work, n: u64) -> Result<()> {
        match work {
            Work::Get => self.get(id, n),
            Work::BatchGet => (n..n + 100).try_for_each(|n| self.get(id, n)),
            Work::Scan => self.scan(id),
            Work::Commit(count) => self.write(id, n, count, 2),
            Work::AsyncCommit | Work::OnePc => self.write(id, n, 1, 1),
            Work::PessimisticLock => self.lock(id, n),
        }
    }
}

/// Runs an operation with this number of threads.
pub fn measure(rows: &Arc<Rows>, threads: u64, work: Work, time: Duration) -> Result<Measured> {
    let began = Instant::now();
    let run = |id: u64| {
        let rows = rows.clone();
        move || -> Result<Vec<Duration>> {
            let (mut latencies, mut n) = (Vec::new(), 0);
            while began.elapsed() < time {
                n += 37;
                let at = Instant::now();
                rows.run(id, work, n)?;
                latencies.push(at.elapsed());
            }
            Ok(latencies)
        }
    };
    let running: Vec<_> = (0..threads).map(|id| std::thread::spawn(run(id))).collect();
    let mut latencies = Vec::new();
    for thread in running {
        let ended = thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        latencies.extend(ended?);
    }
    Ok(Measured::new(began, latencies))
}
