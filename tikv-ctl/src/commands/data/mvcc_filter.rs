//! Selects the MVCC records that `scan` and `mvcc` print.
use clap::Args;
use kvproto::kvrpcpb::{MvccInfo, MvccLock, MvccValue, MvccWrite};

/// Filter of MVCC records.
#[derive(Clone, Debug, Args)]
pub struct MvccFilter {
    /// Print only the records with this start_ts
    #[arg(long)]
    pub start_ts: Option<u64>,
    /// Print only the records with this commit_ts
    #[arg(long)]
    pub commit_ts: Option<u64>,
    /// Column families to print, e.g. default,lock,write
    #[arg(long, value_name = "CF", value_delimiter = ',', default_value = "default")]
    pub show_cf: Vec<String>,
}

impl MvccFilter {
    fn shows(&self, cf: &str) -> bool {
        self.show_cf.iter().any(|shown| shown == cf)
    }

    fn keeps_start(&self, ts: u64) -> bool {
        self.start_ts.is_none_or(|wanted| wanted == ts)
    }

    fn keeps_commit(&self, ts: u64) -> bool {
        self.commit_ts.is_none_or(|wanted| wanted == ts)
    }

    /// Whether this lock is shown.
    pub fn shows_lock(&self, lock: &MvccLock) -> bool {
        self.shows("lock") && self.keeps_start(lock.start_ts)
    }

    /// Whether this value is shown. As in TiKV's tool, `--commit-ts` filters values by their start.
    pub fn shows_value(&self, value: &MvccValue) -> bool {
        self.shows("default") && self.keeps_commit(value.start_ts)
    }

    /// Whether this write is shown.
    pub fn shows_write(&self, write: &MvccWrite) -> bool {
        self.shows("write") && self.keeps_start(write.start_ts) && self.keeps_commit(write.commit_ts)
    }

    /// Returns `info` without the records that the filter hides.
    pub fn apply(&self, info: &MvccInfo) -> MvccInfo {
        let lock = info.lock.clone().filter(|lock| self.shows_lock(lock));
        let values = info.values.iter().filter(|value| self.shows_value(value));
        let writes = info.writes.iter().filter(|write| self.shows_write(write));
        MvccInfo { lock, writes: writes.cloned().collect(), values: values.cloned().collect() }
    }
}
