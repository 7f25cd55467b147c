//! Holding an operation changes neither its steps nor their times: clients run on engine time, too.
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use recipes::{Front, Runner, front::Listener, library, scenario::Block};
use tracepoints::{
    Session, SessionConfig, SessionEvent,
    session::Mode,
    trace::{Step, Trace},
};

/// Time of the long hold: a client with heartbeats would send one after 10 s.
const LONG_HOLD: Duration = Duration::from_secs(12);
/// Time of every other hold.
const SHORT_HOLD: Duration = Duration::from_millis(20);

/// Holds the operation at every stage, if `slow`, and at one of them for long.
#[derive(Default)]
struct Stepper {
    slow: bool,
    long_at: &'static str,
    traces: Vec<Arc<Mutex<Trace>>>,
}

impl Front for Stepper {
    fn after(&mut self, block: &Block, output: &str, mistake: Option<String>) {
        assert_eq!(mistake, None, "{}: {output}", block.text);
    }

    fn config(&mut self) -> SessionConfig {
        SessionConfig { mode: if self.slow { Mode::Step } else { Mode::Run }, ..SessionConfig::default() }
    }

    fn begin(&mut self, _: &str, session: &Arc<Session>) -> Listener {
        let trace = Arc::<Mutex<Trace>>::default();
        self.traces.push(trace.clone());
        let (session, mut long_at) = (session.clone(), Some(self.long_at));
        // Another thread than the listener's, so that events arrive while the operation is held.
        let (holds, held) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for (id, stage) in held {
                let long = long_at.take_if(|at| *at == stage).is_some();
                std::thread::sleep(if long { LONG_HOLD } else { SHORT_HOLD });
                session.release(id, Mode::Step);
            }
        });
        Box::new(move |event| {
            trace.lock().unwrap().apply(&event, None);
            if let SessionEvent::Held(hold) = event {
                holds.send((hold.id, hold.stage.name())).unwrap();
            }
        })
    }
}

fn steps(slow: bool) -> (Vec<Step>, u64) {
    let mut stepper = Stepper { slow, long_at: "raft_propose", ..Stepper::default() };
    Runner::new(library::find("txn_2pc").unwrap()).unwrap().run(&mut stepper).unwrap();
    let trace = stepper.traces[0].lock().unwrap();
    let summary = trace.summary();
    assert!(summary.accounted > 0.99 && summary.dropped == 0, "{summary:?}");
    (trace.steps.clone(), summary.wall_ns)
}

/// The stages of the main lane in their order, and those of each replica, sorted: replicas run in parallel.
fn stages(steps: &[Step]) -> (Vec<String>, Vec<String>) {
    let main = steps.iter().filter(|s| s.lane == "main").map(|s| format!("{} {}", s.kind, s.stage)).collect();
    let mut replicas: Vec<String> =
        steps.iter().filter(|s| s.lane != "main").map(|s| format!("{} {}", s.kind, s.stage)).collect();
    replicas.sort();
    (main, replicas)
}

#[test]
fn a_slowly_stepped_commit_has_the_same_steps() {
    let ((fast, _), (slow, wall_ns)) = (steps(false), steps(true));
    let ((fast_main, fast_replicas), (slow_main, slow_replicas)) = (stages(&fast), stages(&slow));
    assert_eq!(slow_main, fast_main);
    assert_eq!(slow_replicas, fast_replicas);
    assert_eq!(slow.len(), fast.len());
    assert!(wall_ns < LONG_HOLD.as_nanos() as u64, "the holds take no time of the operation: {wall_ns} ns");
    let parts: u64 = slow.iter().filter(|s| s.lane == "main").map(|s| s.dur_ns).max().unwrap_or(0);
    assert!(parts <= wall_ns, "no stage is longer than the operation: {parts} of {wall_ns} ns");
}
