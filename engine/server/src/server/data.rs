//! The data directory of a store and its engines.
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
    mpsc::Receiver,
};

use api_version::KvFormat;
use raftstore::store::Engines;

use crate::{
    config::TikvConfig,
    data_dir::DataDir,
    error::StartError,
    gc_worker::{GcContext, GcTask, RawCompactionFilterFactory, WriteCompactionFilterFactory},
    ttl::{TtlCompactionFilterFactory, TtlMetrics},
};

/// The open data of a store.
pub(super) struct Data {
    pub engines: Engines,
    pub gc: Arc<GcContext>,
    /// The tasks of the thread of garbage collection.
    pub gc_tasks: Receiver<(tracepoints::Req, GcTask)>,
    pub ttl_metrics: TtlMetrics,
    /// Whether the API version of the data is checked. Compactions drop no expired key before that.
    is_checked: Arc<AtomicBool>,
    /// Last: releases the lock when nothing is open any more.
    pub dir: DataDir,
}

impl Data {
    /// Opens the data directory. No compaction drops an expired key until [`Data::confirm`].
    pub fn open(config: &TikvConfig) -> Result<Data, StartError> {
        let dir = DataDir::open(&config.storage.data_dir)?;
        check_last_config(&dir, config)?;
        let ttl_metrics = TtlMetrics::default();
        let (gc, gc_tasks) = GcContext::new(config.gc.enable_compaction_filter);
        let is_checked = Arc::<AtomicBool>::default();
        let ttl_filters = TtlCompactionFilterFactory::new(ttl_metrics.clone(), is_checked.clone());
        let engines = open_engines(&dir, config, ttl_filters, &gc)?;
        Ok(Data { engines, gc, gc_tasks, ttl_metrics, is_checked, dir })
    }

    /// Records that the data has the API version of `config`, and writes that configuration beside it.
    pub fn confirm(&self, config: &TikvConfig) -> Result<(), StartError> {
        self.is_checked.store(true, Ordering::Release);
        Ok(self.dir.write_last_config(&config.to_toml()?)?)
    }
}

/// Compares the critical settings with those of the last run, which the data directory has.
fn check_last_config(dir: &DataDir, config: &TikvConfig) -> Result<(), StartError> {
    let Some(text) = dir.read_last_config()? else { return Ok(()) };
    match TikvConfig::from_toml(&text) {
        Ok((last, _)) => config.storage.check_last(&last.storage).map_err(StartError::ApiVersion),
        // The file is written anew at each start, and nothing else depends on it.
        Err(e) => {
            log::warn!("{}: {e}; its settings are not compared", dir.last_config().display());
            Ok(())
        }
    }
}

fn open_engines(
    dir: &DataDir,
    config: &TikvConfig,
    ttl_filters: TtlCompactionFilterFactory,
    gc: &Arc<GcContext>,
) -> Result<Engines, StartError> {
    let raft_dir = match config.raft_engine.dir.as_str() {
        "" => dir.raft_engine(),
        other => other.into(),
    };
    let raft = raft_log_engine::RaftLogEngine::open(raft_dir, &config.raft_engine.build())?;
    let mut db_config = config.build_db_config();
    let filters = &mut db_config.compaction_filters;
    filters.push((engine_rocks::CF_WRITE, Arc::new(WriteCompactionFilterFactory(gc.clone()))));
    match config.storage.kv_format() {
        KvFormat::V1 => {}
        KvFormat::V1ttl => filters.push((engine_rocks::CF_DEFAULT, Arc::new(ttl_filters))),
        KvFormat::V2 => {
            filters.push((engine_rocks::CF_DEFAULT, Arc::new(RawCompactionFilterFactory(gc.clone()))));
        }
    }
    let kv = engine_rocks::RocksEngine::open(dir.kv(), &db_config)?;
    config.tune(&kv)?;
    Ok(Engines::new(kv, raft))
}
