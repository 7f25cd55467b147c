//! Stamp, publish, then hold: at a gate a person sees the state of that moment.

/// Like `tracepoints::step!`, but publishes `$probe` between the stamp and the gate.
macro_rules! step_probe {
    ($stage:ident, $req:expr, $probe:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let __req: tracepoints::Req = $req;
        tracepoints::stamp!($stage, __req $(, $name = $value)*);
        if __req.stepped() {
            tracepoints::probe!(__req, $probe);
            tracepoints::gate::hold(tracepoints::stage::$stage, __req).await;
        }
    }};
}

/// Like `tracepoints::step_thread!`, but publishes `$probe` between the stamp and the gate.
macro_rules! step_thread_probe {
    ($stage:ident, $req:expr, $probe:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let __req: tracepoints::Req = $req;
        tracepoints::stamp!($stage, __req $(, $name = $value)*);
        if __req.stepped() {
            tracepoints::probe!(__req, $probe);
            tracepoints::gate::block(tracepoints::stage::$stage, __req);
        }
    }};
}
