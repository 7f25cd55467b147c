//! The macros in all the contexts where engine code uses them.
use tracepoints::{FsmGate, Req, StampSite, ring};

static ONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

/// Sites this thread has stamped since the last call, as (stage, function).
fn stamped() -> Vec<(&'static str, String)> {
    let mut sites: Vec<&'static StampSite> = Vec::new();
    let me = tracepoints::thread::id();
    for ring in ring::rings().iter().filter(|r| r.thread == me) {
        ring.drain(|s| sites.extend(s.site));
    }
    sites.iter().map(|s| (s.stage.name(), s.function())).collect()
}

fn alone(name: &str) -> parking_lot::MutexGuard<'static, ()> {
    let guard = ONE.lock();
    tracepoints::register_thread(name, 1);
    stamped();
    guard
}

struct Getter<S>(S);

trait Get {
    fn get(&self, req: Req) -> u64;
}

impl<S: Clone> Getter<S> {
    fn twice(&self, req: Req, region: u64) {
        tracepoints::stamp!(MVCC_GET, req, region = region);
        tracepoints::stamp!(LOCK_CF_GET, req, region = region, ts = 4u32, found = true, read = None::<u64>);
    }
}

impl<S: Clone> Get for Getter<S> {
    fn get(&self, req: Req) -> u64 {
        match req.id() {
            0 => tracepoints::stamp!(WRITE_CF_SEEK, req),
            _ => tracepoints::stamp!(WRITE_CF_FOUND, req,),
        }
        let closure = |req| {
            tracepoints::stamp!(DEFAULT_CF_GET, req);
            7
        };
        closure(req)
    }
}

async fn task(req: Req) -> Result<(), std::num::ParseIntError> {
    tracepoints::step!(GRPC_RECEIVE, req, len = "12".parse::<u64>()?);
    let inner = async move { tracepoints::step!(GRPC_DECODE, req) };
    inner.await;
    Ok(())
}

fn needs_send<T: Send>(t: T) -> T {
    t
}

#[test]
fn every_place_has_its_own_site_and_names_its_function() {
    let _one = alone("macros");
    let getter = Getter(vec![1u8]);
    getter.twice(Req::NONE, 5);
    assert_eq!(getter.get(Req::NONE), 7);
    tracepoints::step_thread!(RAW_GET, Req::NONE);
    let mut gate = FsmGate::default();
    assert!(!tracepoints::step_fsm!(gate, || unreachable!(), RAFT_READY, Req::NONE, first = 1u64));
    let mut future = std::pin::pin!(needs_send(task(Req::NONE)));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_ready());
    let here = "macros::every_place_has_its_own_site_and_names_its_function";
    let want = [
        ("mvcc_get", "macros::Getter::twice"),
        ("lock_cf_get", "macros::Getter::twice"),
        ("write_cf_seek", "macros::Getter::get"),
        ("default_cf_get", "macros::Getter::get"),
        ("raw_get", here),
        ("raft_ready", here),
        ("grpc_receive", "macros::task"),
        ("grpc_decode", "macros::task"),
    ];
    assert_eq!(stamped(), want.map(|(stage, function)| (stage, function.to_owned())));
}

#[test]
fn off_means_no_record_and_no_evaluated_field() {
    let _one = alone("macros-off");
    let was = tracepoints::recorder::set_on(false);
    let field = || -> u64 { panic!("evaluated while off") };
    tracepoints::stamp!(MVCC_GET, Req::NONE, x = field());
    tracepoints::recorder::set_on(was);
    assert!(stamped().is_empty());
    tracepoints::stamp!(MVCC_GET, Req::NONE, x = 1u64);
    assert_eq!(stamped().len(), 1);
}
