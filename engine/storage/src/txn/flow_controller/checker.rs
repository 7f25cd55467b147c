//! Watches an engine, and sets the speed and the discard ratio of the scheduler. Mirrors `FlowChecker`.
//!
//! TiKV's checker gets an event for each flush and compaction; this one compares the engine's numbers with those
//! of the last check.
use tracepoints::{EngineClock, clock::EngineInstant};

use super::{
    factors::{FlowControlConfig, FlowControlFactors},
    limits::Limits,
    smoother::Smoother,
};

/// Factor by which each change lowers the speed while level 0 has too many files. The next limit begins at the last
/// speed divided by this factor.
const INC_SLOWDOWN_RATIO: f64 = 0.8;
/// Change of the speed for each memtable, in bytes per second.
const MEMTABLE_STEP: f64 = 1024.0 * 1024.0;
pub(super) const MIN_THROTTLE_SPEED: f64 = 16.0 * 1024.0;
/// Speed above which there is no limit.
pub(super) const MAX_THROTTLE_SPEED: f64 = 200.0 * 1024.0 * 1024.0;
/// Weight of the old discard ratio.
const EMA_FACTOR: f64 = 0.6;
/// Largest first discard ratio.
const FIRST_RATIO: f64 = 0.01;
/// Number of files by which another column family must exceed the limiting one to replace it.
const CF_CHANGE_FILES: f64 = 4.0;
/// Interval of the records of the write flow, in seconds.
const FLOW_INTERVAL_SECS: f64 = 1.0;

/// Numbers of one column family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub memtables: u64,
    pub l0_files: u64,
    pub pending_bytes: u64,
}

/// State of one column family. TiKV: `CfFlowChecker`.
#[derive(Default)]
struct CfFlowChecker {
    name: &'static str,
    last: Option<Sample>,
    memtables: Smoother<20>,
    /// Steps by which memtables have lowered the speed.
    memtable_debt: f64,
    /// Whether memtables set the first limit.
    memtable_init_speed: bool,
    l0_files: Smoother<20>,
    pending_bytes_log2: Smoother<1024>,
    // A restarted store may have high numbers and no write flow yet: each factor limits writes only after it was
    // low or grew. TiKV: `on_start_memtable`, the opposite.
    memtables_active: bool,
    l0_files_active: bool,
    pending_bytes_active: bool,
}

pub(super) struct FlowChecker<E> {
    engine: E,
    cfs: Vec<CfFlowChecker>,
    events: Option<u64>,
    /// Index of the column family that limits the speed.
    throttle_cf: Option<usize>,
    /// Write flow of the last seconds, in bytes per second.
    pub(super) write_flow: Smoother<30>,
    flow_recorded: EngineInstant,
    /// Time of the current check.
    now: EngineInstant,
    /// Speed from which the next limit begins; 0: none.
    last_speed: f64,
    enabled: bool,
}

impl<E: FlowControlFactors> FlowChecker<E> {
    pub fn new(engine: E) -> Self {
        let names = engine.cf_names().into_iter();
        let cfs = names.map(|name| CfFlowChecker { name, ..CfFlowChecker::default() }).collect();
        let now = EngineClock::now();
        Self {
            engine,
            cfs,
            events: None,
            throttle_cf: None,
            write_flow: Smoother::default(),
            flow_recorded: now,
            now,
            last_speed: 0.0,
            enabled: true,
        }
    }

    /// Reads the engine's numbers and changes the limits.
    pub fn check(&mut self, limits: &Limits) {
        self.check_at(limits, EngineClock::now());
    }

    pub(super) fn check_at(&mut self, limits: &Limits, now: EngineInstant) {
        self.now = now;
        let config = limits.config.lock().clone();
        let recorded = self.record_write_flow(limits);
        if config.enable != self.enabled {
            self.enabled = config.enable;
            self.reset(limits);
        }
        let events = self.engine.events();
        let is_new = self.events.replace(events) != Some(events);
        // Rejected commands cause no flush and no compaction, so the rejection might never end without this check.
        let again = recorded && limits.discard_ratio() > 0.0;
        if !config.enable || !(is_new || again) {
            return;
        }
        for cf in 0..self.cfs.len() {
            let name = self.cfs[cf].name;
            let now = Sample {
                memtables: self.engine.num_immutable_mem_table(name),
                l0_files: self.engine.num_l0_files(name),
                pending_bytes: self.engine.pending_compaction_bytes(name),
            };
            let last = self.cfs[cf].last.replace(now);
            if last.is_none_or(|last| (last.memtables, last.l0_files) != (now.memtables, now.l0_files)) {
                self.on_memtable_change(limits, &config, cf, now.memtables as f64);
                self.on_l0_change(limits, &config, cf, now.l0_files as f64);
            }
            if again || last.is_none_or(|last| last.pending_bytes != now.pending_bytes) {
                self.on_pending_compaction_bytes_change(limits, &config, cf, now.pending_bytes);
            }
        }
    }

    /// Removes all limits. TiKV: `FlowChecker::reset_statistics`.
    fn reset(&mut self, limits: &Limits) {
        limits.limiter.set_speed(f64::INFINITY);
        limits.set_discard_ratio(0.0);
        self.throttle_cf = None;
    }

    /// Records the speed of the writes once per interval, and returns whether it did. TiKV:
    /// `FlowChecker::update_statistics`.
    fn record_write_flow(&mut self, limits: &Limits) -> bool {
        let secs = self.now.saturating_since(self.flow_recorded).as_secs_f64();
        if secs < FLOW_INTERVAL_SECS {
            return false;
        }
        let bytes = limits.limiter.take_consumed();
        self.flow_recorded = self.now;
        // If all writes of the second waited, their speed is unknown, not zero.
        if bytes != 0 {
            self.write_flow.observe(bytes as f64 / secs, self.now);
        }
        true
    }

    fn on_memtable_change(&mut self, limits: &Limits, config: &FlowControlConfig, cf: usize, count: f64) {
        let threshold = config.memtables_threshold as f64;
        let checker = &mut self.cfs[cf];
        let before = checker.memtables.recent();
        checker.memtables.observe(count, self.now);
        checker.memtables_active |= count < threshold || checker.memtables.is_increasing();
        if !checker.memtables_active || self.cfs.iter().any(|other| count < other.memtables.recent()) {
            return;
        }
        let checker = &mut self.cfs[cf];
        let speed = limits.limiter.speed();
        let too_many = checker.memtables.avg() > threshold;
        let new = match (speed.is_finite(), too_many) {
            (false, true) => match self.write_flow.percentile_90() {
                flow if flow < f64::EPSILON => f64::INFINITY,
                flow => {
                    checker.memtable_init_speed = true;
                    self.throttle_cf = Some(cf);
                    flow
                }
            },
            (true, _) if !too_many || count < threshold => {
                if std::mem::take(&mut checker.memtable_init_speed) {
                    f64::INFINITY
                } else {
                    speed + std::mem::take(&mut checker.memtable_debt) * MEMTABLE_STEP
                }
            }
            (true, _) => {
                let more = (count - before).clamp(-1.0, 1.0);
                checker.memtable_debt += more;
                speed - more * MEMTABLE_STEP
            }
            (false, false) => f64::INFINITY,
        };
        self.set_speed(limits, new);
    }

    fn on_l0_change(&mut self, limits: &Limits, config: &FlowControlConfig, cf: usize, files: f64) {
        let threshold = config.l0_files_threshold as f64;
        let checker = &mut self.cfs[cf];
        checker.l0_files.observe(files, self.now);
        checker.l0_files_active |= files < threshold || checker.l0_files.is_increasing();
        if !checker.l0_files_active {
            return;
        }
        if let Some(limiting) = self.throttle_cf.filter(|limiting| *limiting != cf) {
            // The limiting column family must not change with every flush.
            if files <= self.cfs[limiting].l0_files.max() + CF_CHANGE_FILES {
                return;
            }
            self.throttle_cf = Some(cf);
        }
        if self.cfs[cf].memtable_init_speed {
            return;
        }
        let speed = limits.limiter.speed();
        let new = match (speed.is_finite(), files > threshold) {
            (false, true) => {
                self.throttle_cf = Some(cf);
                let first = match self.last_speed {
                    none if none < f64::EPSILON => self.write_flow.percentile_90(),
                    last => last,
                };
                if first < f64::EPSILON { f64::INFINITY } else { first }
            }
            (true, true) => speed * INC_SLOWDOWN_RATIO,
            (true, false) => {
                self.last_speed = speed / INC_SLOWDOWN_RATIO;
                f64::INFINITY
            }
            (false, false) => f64::INFINITY,
        };
        self.set_speed(limits, new);
    }

    /// TiKV: `FlowChecker::update_speed_limit`.
    pub(super) fn set_speed(&mut self, limits: &Limits, speed: f64) {
        let speed = if speed > MAX_THROTTLE_SPEED {
            self.throttle_cf = None;
            f64::INFINITY
        } else {
            speed.max(MIN_THROTTLE_SPEED)
        };
        limits.limiter.set_speed(speed);
    }

    /// Between the soft and the hard limit, the ratio grows with the logarithm of the bytes.
    fn on_pending_compaction_bytes_change(
        &mut self,
        limits: &Limits,
        config: &FlowControlConfig,
        cf: usize,
        bytes: u64,
    ) {
        let log2 = |bytes: u64| (bytes.max(1) as f64).log2();
        let soft = log2(config.soft_pending_compaction_bytes_limit);
        let hard = log2(config.hard_pending_compaction_bytes_limit);
        let recent = log2(bytes);
        let checker = &mut self.cfs[cf];
        checker.pending_bytes_log2.observe(recent, self.now);
        checker.pending_bytes_active |= recent < soft || checker.pending_bytes_log2.is_increasing();
        let avg = checker.pending_bytes_log2.avg();
        // The column family with the most bytes decides.
        if !checker.pending_bytes_active
            || self.cfs.iter().any(|other| recent < other.pending_bytes_log2.recent())
        {
            return;
        }
        let old = limits.discard_ratio();
        let ratio = if avg < soft {
            0.0
        } else {
            let new = (avg - soft) / (hard - soft);
            if old == 0.0 { new.min(FIRST_RATIO) } else { EMA_FACTOR * old + (1.0 - EMA_FACTOR) * new }
        };
        // Equal limits make the ratio infinite or NaN, which count as 1 and 0.
        limits.set_discard_ratio(ratio);
    }
}
