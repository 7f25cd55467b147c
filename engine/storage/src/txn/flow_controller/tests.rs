//! The checker on simulated numbers, and on a RocksDB without compactions.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use engine_rocks::{CF_DEFAULT, DbConfig, RocksEngine};
use parking_lot::Mutex;
use tempfile::TempDir;
use tracepoints::{EngineClock, clock::EngineInstant};

use super::{
    FlowControlConfig, FlowControlFactors, FlowController,
    checker::{FlowChecker, MAX_THROTTLE_SPEED, MIN_THROTTLE_SPEED, Sample},
    smoother::{STALE_RECORD_THRESHOLD, Smoother},
};

const MB: f64 = 1024.0 * 1024.0;

/// Simulated numbers of two column families.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<[Sample; 2]>>, Arc<AtomicU64>);

impl Numbers {
    fn set(&self, cf: usize, change: impl FnOnce(&mut Sample)) {
        change(&mut self.0.lock()[cf]);
        self.1.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self, cf: &str) -> Sample {
        self.0.lock()[usize::from(cf == "write")]
    }
}

impl FlowControlFactors for Numbers {
    fn cf_names(&self) -> Vec<&'static str> {
        vec!["default", "write"]
    }
    fn num_l0_files(&self, cf: &str) -> u64 {
        self.get(cf).l0_files
    }
    fn num_immutable_mem_table(&self, cf: &str) -> u64 {
        self.get(cf).memtables
    }
    fn pending_compaction_bytes(&self, cf: &str) -> u64 {
        self.get(cf).pending_bytes
    }
    fn events(&self) -> u64 {
        self.1.load(Ordering::Relaxed)
    }
}

struct Fixture {
    controller: FlowController,
    checker: FlowChecker<Numbers>,
    numbers: Numbers,
    /// The time changes only in [`Fixture::wait`].
    now: EngineInstant,
}

impl Fixture {
    /// A store that writes 10 MB per second and has low numbers.
    fn new() -> Self {
        let numbers = Numbers::default();
        let mut checker = FlowChecker::new(numbers.clone());
        let now = EngineClock::now();
        (0..10).for_each(|_| checker.write_flow.observe(10.0 * MB, now));
        let controller = FlowController::new(FlowControlConfig::default());
        let mut fixture = Self { controller, checker, numbers, now };
        fixture.check();
        fixture
    }

    fn check(&mut self) {
        self.checker.check_at(&self.controller.shared.limits, self.now);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.check();
    }

    fn change(&mut self, cf: usize, change: impl FnOnce(&mut Sample)) {
        self.numbers.set(cf, change);
        self.check();
    }

    fn speed(&self) -> Option<f64> {
        self.controller.speed_limit()
    }
}

#[test]
fn files_in_level_0_lower_the_speed_until_they_are_gone() {
    let mut f = Fixture::new();
    f.change(0, |s| s.l0_files = 20);
    assert_eq!(f.speed(), None, "not above the threshold");
    f.change(0, |s| s.l0_files = 21);
    assert_eq!(f.speed(), Some(10.0 * MB), "the limit begins at the speed of the writes");
    f.change(0, |s| s.l0_files = 22);
    assert_eq!(f.speed(), Some(8.0 * MB));
    f.check();
    assert_eq!(f.speed(), Some(8.0 * MB), "nothing has changed");
    f.change(1, |s| s.l0_files = 23);
    assert_eq!(f.speed(), Some(8.0 * MB), "another column family must be far above");
    f.change(1, |s| s.l0_files = 27);
    assert_eq!(f.speed(), Some(8.0 * MB * 0.8));
    f.change(1, |s| s.l0_files = 3);
    assert_eq!(f.speed(), None);
    f.change(1, |s| s.l0_files = 30);
    assert_eq!(f.speed(), Some(8.0 * MB), "the next limit begins above the last one");
}

#[test]
fn immutable_memtables_lower_the_speed() {
    let mut f = Fixture::new();
    f.change(0, |s| s.memtables = 30);
    assert_eq!(f.speed(), Some(10.0 * MB));
    f.change(0, |s| s.memtables = 31);
    assert_eq!(f.speed(), Some(9.0 * MB));
    f.change(0, |s| s.memtables = 30);
    assert_eq!(f.speed(), Some(10.0 * MB));
    f.change(0, |s| s.memtables = 0);
    assert_eq!(f.speed(), None, "memtables set the limit, so it ends with them");
}

#[test]
fn without_writes_there_is_no_limit() {
    let mut f = Fixture::new();
    f.checker.write_flow = Smoother::default();
    f.change(0, |s| s.l0_files = 40);
    f.change(0, |s| s.memtables = 40);
    assert_eq!(f.speed(), None);
}

#[test]
fn a_limit_stays_between_its_bounds() {
    let mut f = Fixture::new();
    for files in 21..100 {
        f.change(0, |s| s.l0_files = files);
    }
    assert_eq!(f.speed(), Some(MIN_THROTTLE_SPEED));
    f.checker.set_speed(&f.controller.shared.limits, MAX_THROTTLE_SPEED + 1.0);
    assert_eq!(f.speed(), None);
}

#[test]
fn bytes_to_compact_reject_a_growing_share_of_commands() {
    let mut f = Fixture::new();
    let config =
        FlowControlConfig { soft_pending_compaction_bytes_limit: 1 << 10, ..FlowControlConfig::default() };
    f.controller.set_config(config);
    f.change(0, |s| s.pending_bytes = 1 << 9);
    assert!(f.controller.discard_ratio() == 0.0 && !f.controller.should_drop());
    // The average of all samples must exceed the soft limit.
    (0..200_u64).for_each(|n| f.change(0, |s| s.pending_bytes = (1 << 30) + n));
    let ratio = f.controller.discard_ratio();
    assert!((0.6..0.7).contains(&ratio), "20 of 30 doublings above the soft limit: {ratio}");
    let dropped = (0..1000).filter(|_| f.controller.should_drop()).count();
    assert!((500..800).contains(&dropped), "{dropped} of 1000");
    f.change(1, |s| s.pending_bytes = 1);
    assert_eq!(f.controller.discard_ratio(), ratio, "a column family with fewer bytes decides nothing");
    (0..200_u64).for_each(|n| f.change(0, |s| s.pending_bytes = (1 << 50) + n));
    (0..1100_u64).for_each(|n| f.change(0, |s| s.pending_bytes = (1 << 50) + n));
    assert_eq!(f.controller.discard_ratio(), 1.0, "above the hard limit all commands are rejected");
    assert!(f.controller.should_drop());
    (0..1100_u64).for_each(|n| f.change(0, |s| s.pending_bytes = 2 + n % 2));
    assert_eq!(f.controller.discard_ratio(), 0.0);
}

#[test]
fn a_rejection_ends_without_events() {
    let mut f = Fixture::new();
    let config =
        FlowControlConfig { soft_pending_compaction_bytes_limit: 1 << 10, ..FlowControlConfig::default() };
    f.controller.set_config(config);
    (0..200_u64).for_each(|n| f.change(0, |s| s.pending_bytes = (1 << 50) + n));
    let rejecting = f.controller.discard_ratio();
    assert!(rejecting > 0.9, "{rejecting}");
    // The last compaction ends, and the store writes nothing more.
    f.change(0, |s| s.pending_bytes = 2);
    assert!(f.controller.discard_ratio() > 0.0);
    for _ in 0..STALE_RECORD_THRESHOLD.as_secs() + 2 {
        f.wait(Duration::from_secs(1));
    }
    assert_eq!(f.controller.discard_ratio(), 0.0, "old samples are dropped");
}

#[test]
fn dropping_the_controller_ends_its_thread() {
    let numbers = Numbers::default();
    let controller = FlowController::new(FlowControlConfig::default());
    controller.start(numbers.clone(), 1).unwrap();
    let clone = controller.clone();
    drop(controller);
    assert_eq!(Arc::strong_count(&numbers.0), 2, "a clone keeps the thread");
    drop(clone);
    assert_eq!(Arc::strong_count(&numbers.0), 1, "the thread has released its engine");
}

#[test]
fn high_numbers_of_a_restart_do_not_count() {
    let numbers = Numbers::default();
    numbers.set(0, |s| *s = Sample { memtables: 30, l0_files: 30, pending_bytes: 1 << 50 });
    let mut checker = FlowChecker::new(numbers.clone());
    checker.write_flow.observe(MB, EngineClock::now());
    let controller = FlowController::new(FlowControlConfig::default());
    checker.check(&controller.shared.limits);
    assert_eq!((controller.speed_limit(), controller.discard_ratio()), (None, 0.0));
    numbers.set(0, |s| s.l0_files = 31);
    checker.check(&controller.shared.limits);
    assert_eq!(controller.speed_limit(), Some(MB), "the number grew");
}

#[test]
fn disabled_flow_control_has_no_limits() {
    let mut f = Fixture::new();
    f.change(0, |s| s.l0_files = 21);
    assert!(f.speed().is_some());
    f.controller.set_config(FlowControlConfig { enable: false, ..FlowControlConfig::default() });
    f.check();
    assert_eq!(f.speed(), None);
    f.change(0, |s| s.l0_files = 25);
    assert_eq!(f.speed(), None);
}

/// Waits until RocksDB has reported a flush or compaction. The caller of a flush may continue before that.
fn await_event(engine: &RocksEngine, before: u64) {
    let waiting = Instant::now();
    while engine.events() == before {
        assert!(waiting.elapsed() < Duration::from_secs(30), "RocksDB reports no event");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn files_of_a_real_engine_limit_the_speed_until_a_compaction() {
    let dir = TempDir::new().unwrap();
    let engine = RocksEngine::open(dir.path().join("db"), &DbConfig::small()).unwrap();
    engine.set_options_cf(CF_DEFAULT, &[("disable_auto_compactions", "true")]).unwrap();
    let controller =
        FlowController::new(FlowControlConfig { l0_files_threshold: 3, ..FlowControlConfig::default() });
    let mut checker = FlowChecker::new(engine.clone());
    checker.write_flow.observe(MB, EngineClock::now());
    checker.check(&controller.shared.limits);
    let mut limited = 0;
    for n in 0..5 {
        engine.put_cf(CF_DEFAULT, format!("zkey{n}").as_bytes(), &[7; 100]).unwrap();
        let events = engine.events();
        engine.flush_cfs(&[CF_DEFAULT], true).unwrap();
        await_event(&engine, events);
        checker.check(&controller.shared.limits);
        limited += i32::from(controller.speed_limit().is_some());
        assert_eq!(engine.num_l0_files(CF_DEFAULT), n + 1);
    }
    assert_eq!(limited, 2, "the fourth and the fifth file exceed the threshold");
    let events = engine.events();
    engine.compact_range_cf(CF_DEFAULT, None, None).unwrap();
    await_event(&engine, events);
    checker.check(&controller.shared.limits);
    assert_eq!((engine.num_l0_files(CF_DEFAULT), controller.speed_limit()), (0, None));
}
