//! Options of the database and its column families; the defaults are TiKV's.
use std::{path::PathBuf, sync::Arc};

use rocksdb::{
    BlockBasedOptions, Cache, ChecksumType, DBCompactionPri, DBCompressionType, DBRecoveryMode, Options,
};

use crate::{CF_LOCK, CF_RAFT, CF_WRITE, CfName, CompactionFilterFactory, slice_transform};

/// Compression of blocks in SST files.
pub type CompressionType = DBCompressionType;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: u64 = 1 << 30;
const LEVELS: usize = 7;
/// Limit that is never reached; RocksDB would treat 0 bytes to compact as a constant lack of compactions.
const NO_LIMIT: u64 = i64::MAX as u64;

/// TiKV reads tables of version 2 to 5 and writes 2.
const TABLE_FORMAT_VERSION: i32 = 2;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
const MEMTABLE_PREFIX_BLOOM_RATIO: f64 = 0.1;

/// Options of the whole database. TiKV: the `[rocksdb]` section.
#[derive(Debug, Clone)]
pub struct DbConfig {
    /// Whether to create a missing database.
    pub create_if_missing: bool,
    /// Bytes of the block cache shared by all column families.
    pub block_cache_capacity: usize,
    /// Maximum number of threads for flushes and compactions.
    pub max_background_jobs: i32,
    /// Maximum number of open SST files; -1 for all.
    pub max_open_files: i32,
    /// Bytes of WAL files above which memtables are flushed.
    pub max_total_wal_size: u64,
    /// Directory of the WAL, if not the database directory.
    pub wal_dir: Option<PathBuf>,
    /// Whether RocksDB counts its tickers and histograms.
    pub enable_statistics: bool,
    /// Do not flush memtables at open and close, for tools that must not change SSTs.
    pub avoid_flush: bool,
    /// Column family default.
    pub defaultcf: CfConfig,
    /// Column family lock.
    pub lockcf: CfConfig,
    /// Column family write.
    pub writecf: CfConfig,
    /// Column family raft.
    pub raftcf: CfConfig,
    /// Filters of compactions, by column family.
    pub compaction_filters: Vec<(CfName, Arc<dyn CompactionFilterFactory>)>,
}

impl Default for DbConfig {
    fn default() -> DbConfig {
        DbConfig {
            create_if_missing: true,
            block_cache_capacity: 128 * MIB,
            max_background_jobs: 2,
            max_open_files: 1024,
            max_total_wal_size: 4 * GIB,
            wal_dir: None,
            enable_statistics: true,
            avoid_flush: false,
            defaultcf: CfConfig::default(),
            lockcf: CfConfig {
                block_size: 16 * KIB,
                write_buffer_size: 32 * MIB,
                max_bytes_for_level_base: 128 * MIB as u64,
                level0_file_num_compaction_trigger: 1,
                compression_per_level: [CompressionType::None; LEVELS],
                bottommost_compression: None,
                compaction_pri: DBCompactionPri::ByCompensatedSize,
                optimize_filters_for_hits: false,
                ..CfConfig::default()
            },
            writecf: CfConfig {
                whole_key_filtering: false,
                optimize_filters_for_hits: false,
                ..CfConfig::default()
            },
            raftcf: CfConfig {
                block_size: 16 * KIB,
                max_bytes_for_level_base: 128 * MIB as u64,
                level0_file_num_compaction_trigger: 1,
                compression_per_level: [CompressionType::None; LEVELS],
                bottommost_compression: None,
                compaction_pri: DBCompactionPri::ByCompensatedSize,
                ..CfConfig::default()
            },
            compaction_filters: Vec::new(),
        }
    }
}

impl DbConfig {
    /// Returns small buffers, for tests and for many stores in one process.
    pub fn small() -> DbConfig {
        let mut config = DbConfig { block_cache_capacity: 8 * MIB, ..DbConfig::default() };
        for cf in [&mut config.defaultcf, &mut config.lockcf, &mut config.writecf, &mut config.raftcf] {
            cf.write_buffer_size = 4 * MIB;
        }
        config
    }

    /// Returns the options of column family `cf`; those of default for an unknown one.
    pub fn cf(&self, cf: &str) -> &CfConfig {
        match cf {
            CF_LOCK => &self.lockcf,
            CF_WRITE => &self.writecf,
            CF_RAFT => &self.raftcf,
            _ => &self.defaultcf,
        }
    }

    pub(crate) fn db_options(&self) -> Options {
        let mut opts = Options::default();
        opts.create_if_missing(self.create_if_missing);
        opts.create_missing_column_families(true);
        opts.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        opts.set_track_and_verify_wals_in_manifest(true);
        opts.set_max_background_jobs(self.max_background_jobs);
        opts.set_max_open_files(self.max_open_files);
        opts.set_max_total_wal_size(self.max_total_wal_size);
        opts.set_bytes_per_sync(MIB as u64);
        opts.set_wal_bytes_per_sync(512 * KIB as u64);
        opts.set_table_cache_num_shard_bits(6);
        opts.set_keep_log_file_num(10);
        opts.set_stats_dump_period_sec(0);
        opts.set_stats_persist_period_sec(0);
        opts.set_avoid_flush_during_recovery(self.avoid_flush);
        opts.set_avoid_flush_during_shutdown(self.avoid_flush);
        if let Some(dir) = &self.wal_dir {
            opts.set_wal_dir(dir);
        }
        if self.enable_statistics {
            opts.enable_statistics();
        }
        opts
    }
}

/// Options of one column family. TiKV: `[rocksdb.defaultcf]` and the like.
#[derive(Debug, Clone)]
pub struct CfConfig {
    /// Bytes of a block before compression.
    pub block_size: usize,
    /// Bytes of a memtable.
    pub write_buffer_size: usize,
    /// Maximum number of memtables, including the active one.
    pub max_write_buffer_number: i32,
    /// Bytes of the first level after L0.
    pub max_bytes_for_level_base: u64,
    /// Bytes of an SST file of that level.
    pub target_file_size_base: u64,
    /// Number of L0 files that triggers a compaction.
    pub level0_file_num_compaction_trigger: i32,
    /// Number of L0 files at which RocksDB slows writes down.
    pub level0_slowdown_writes_trigger: i32,
    /// Number of L0 files at which RocksDB stops writes.
    pub level0_stop_writes_trigger: i32,
    /// Bytes to compact at which RocksDB slows writes down.
    pub soft_pending_compaction_bytes_limit: u64,
    /// Bytes to compact at which RocksDB stops writes.
    pub hard_pending_compaction_bytes_limit: u64,
    /// Whether compactions run only on demand.
    pub disable_auto_compactions: bool,
    /// Compression of each level.
    pub compression_per_level: [CompressionType; LEVELS],
    /// Compression of the last nonempty level.
    pub bottommost_compression: Option<CompressionType>,
    /// Priority of files for compaction.
    pub compaction_pri: DBCompactionPri,
    /// Whether the bloom filter contains whole keys, not only prefixes.
    pub whole_key_filtering: bool,
    /// Whether the last level has no bloom filters.
    pub optimize_filters_for_hits: bool,
}

impl Default for CfConfig {
    fn default() -> CfConfig {
        use DBCompressionType::{Lz4, None, Zstd};
        CfConfig {
            block_size: 32 * KIB,
            write_buffer_size: 128 * MIB,
            max_write_buffer_number: 5,
            max_bytes_for_level_base: 512 * MIB as u64,
            target_file_size_base: 8 * MIB as u64,
            level0_file_num_compaction_trigger: 4,
            level0_slowdown_writes_trigger: 20,
            level0_stop_writes_trigger: 20,
            soft_pending_compaction_bytes_limit: 192 * GIB,
            hard_pending_compaction_bytes_limit: 1024 * GIB,
            disable_auto_compactions: false,
            compression_per_level: [None, None, Lz4, Lz4, Lz4, Zstd, Zstd],
            bottommost_compression: Some(Zstd),
            compaction_pri: DBCompactionPri::MinOverlappingRatio,
            whole_key_filtering: true,
            optimize_filters_for_hits: true,
        }
    }
}

impl CfConfig {
    /// Raises the limits at which RocksDB itself stalls writes, so that flow control acts before it. Memtables
    /// keep a limit, because they occupy memory; TiKV's RocksDB has none with `disable_write_stall`.
    pub fn disable_write_stall(&mut self, max_write_buffer_number: i32) {
        self.max_write_buffer_number = self.max_write_buffer_number.max(max_write_buffer_number);
        self.level0_slowdown_writes_trigger = i32::MAX;
        self.level0_stop_writes_trigger = i32::MAX;
        self.soft_pending_compaction_bytes_limit = NO_LIMIT;
        self.hard_pending_compaction_bytes_limit = NO_LIMIT;
    }

    /// Returns RocksDB's names and values of the options that [`CfConfig::disable_write_stall`] changes.
    pub fn stall_options(&self) -> [(&'static str, String); 5] {
        [
            ("max_write_buffer_number", self.max_write_buffer_number.to_string()),
            ("level0_slowdown_writes_trigger", self.level0_slowdown_writes_trigger.to_string()),
            ("level0_stop_writes_trigger", self.level0_stop_writes_trigger.to_string()),
            ("soft_pending_compaction_bytes_limit", self.soft_pending_compaction_bytes_limit.to_string()),
            ("hard_pending_compaction_bytes_limit", self.hard_pending_compaction_bytes_limit.to_string()),
        ]
    }

    fn table_options(&self, cache: Option<&Cache>) -> BlockBasedOptions {
        let mut table = BlockBasedOptions::default();
        table.set_format_version(TABLE_FORMAT_VERSION);
        table.set_checksum_type(ChecksumType::CRC32c);
        table.set_block_size(self.block_size);
        table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
        table.set_whole_key_filtering(self.whole_key_filtering);
        table.set_optimize_filters_for_memory(false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        if let Some(cache) = cache {
            table.set_block_cache(cache);
        }
        table
    }

    /// Returns the table options alone, for SST files written outside of the database.
    pub(crate) fn sst_options(&self) -> Options {
        let mut opts = Options::default();
        opts.set_block_based_table_factory(&self.table_options(None));
        opts
    }

    pub(crate) fn options(&self, cf: &str, cache: &Cache) -> Options {
        let mut opts = Options::default();
        opts.set_block_based_table_factory(&self.table_options(Some(cache)));
        set_prefix_extractor(&mut opts, cf);
        opts.set_memtable_prefix_bloom_ratio(MEMTABLE_PREFIX_BLOOM_RATIO);
        opts.set_write_buffer_size(self.write_buffer_size);
        opts.set_max_write_buffer_number(self.max_write_buffer_number);
        opts.set_num_levels(LEVELS as i32);
        opts.set_level_compaction_dynamic_level_bytes(true);
        opts.set_max_bytes_for_level_base(self.max_bytes_for_level_base);
        opts.set_target_file_size_base(self.target_file_size_base);
        opts.set_level_zero_file_num_compaction_trigger(self.level0_file_num_compaction_trigger);
        opts.set_level_zero_slowdown_writes_trigger(self.level0_slowdown_writes_trigger);
        opts.set_level_zero_stop_writes_trigger(self.level0_stop_writes_trigger);
        opts.set_soft_pending_compaction_bytes_limit(self.soft_pending_compaction_bytes_limit as usize);
        opts.set_hard_pending_compaction_bytes_limit(self.hard_pending_compaction_bytes_limit as usize);
        opts.set_disable_auto_compactions(self.disable_auto_compactions);
        opts.set_compression_per_level(&self.compression_per_level);
        if let Some(compression) = self.bottommost_compression {
            opts.set_bottommost_compression_type(compression);
        }
        opts.set_compaction_pri(self.compaction_pri);
        opts.set_optimize_filters_for_hits(self.optimize_filters_for_hits);
        opts
    }
}

fn set_prefix_extractor(opts: &mut Options, cf: &str) {
    match cf {
        CF_WRITE => opts.set_prefix_extractor(slice_transform::fixed_suffix()),
        CF_LOCK | CF_RAFT => opts.set_prefix_extractor(slice_transform::noop()),
        _ => {}
    }
}
