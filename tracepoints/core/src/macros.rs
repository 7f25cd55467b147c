//! The stamp macros: every stage is stamped through one of them, so that every call site records its own file
//! and line.

/// Stamps that `req` reached a stage: `stamp!(GRPC_DECODE, req, region = r, term = t)`; up to four fields.
#[macro_export]
macro_rules! stamp {
    ($stage:ident, $req:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        fn __here() {}
        fn __function() -> &'static str {
            std::any::type_name_of_val(&__here)
        }
        static SITE: $crate::StampSite = $crate::StampSite::new(
            $crate::stage::$stage, file!(), line!(), &[$(stringify!($name)),*], __function,
        );
        #[$crate::linkme::distributed_slice($crate::sites::SITES)]
        #[linkme(crate = $crate::linkme)]
        static LISTED: &$crate::StampSite = &SITE;
        if $crate::recorder::on() {
            $crate::recorder::record(&SITE, $req, $crate::field::pack([$($crate::field::Field::to_u64($value)),*]));
        }
    }};
}

/// Stamps a stage in a task and, if the request is stepped and a gate is set here, waits until it is
/// released.
#[macro_export]
macro_rules! step {
    ($stage:ident, $req:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let __req: $crate::Req = $req;
        $crate::stamp!($stage, __req $(, $name = $value)*);
        if __req.stepped() {
            $crate::gate::hold($crate::stage::$stage, __req).await;
        }
    }};
}

/// Steps like [`step!`] where no task can wait: the thread itself waits. For stages with `hold = "thread"` in
/// the catalogue.
#[macro_export]
macro_rules! step_thread {
    ($stage:ident, $req:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let __req: $crate::Req = $req;
        $crate::stamp!($stage, __req $(, $name = $value)*);
        if __req.stepped() {
            $crate::gate::block($crate::stage::$stage, __req);
        }
    }};
}

/// Steps like [`step!`], and publishes facts after the stamp and before the gate. Evaluates the facts only for a
/// stepped request.
#[macro_export]
macro_rules! step_facts {
    ($stage:ident, $req:expr, $facts:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let __req: $crate::Req = $req;
        $crate::stamp!($stage, __req $(, $name = $value)*);
        if __req.stepped() {
            $crate::session::publish(__req, || $crate::Probe::Facts($facts));
            $crate::gate::hold($crate::stage::$stage, __req).await;
        }
    }};
}

/// Steps like [`step_thread!`] at a stage inside of another one (`inside = true` in the catalogue): stamps only
/// a stepped request, so that any other one pays one test of a bit. Evaluates the fields and the facts only then.
#[macro_export]
macro_rules! step_inside {
    ($stage:ident, $req:expr, $facts:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let __req: $crate::Req = $req;
        if __req.stepped() {
            $crate::stamp!($stage, __req $(, $name = $value)*);
            $crate::session::publish(__req, || $crate::Probe::Facts($facts));
            $crate::gate::block($crate::stage::$stage, __req);
        }
    }};
}

/// Publishes facts of a stepped request, for its last stamp on this thread: `facts!(req, Facts::new("Answer"))`.
/// Evaluates the facts only for a stepped request.
#[macro_export]
macro_rules! facts {
    ($req:expr, $facts:expr) => {
        $crate::probe!($req, || $crate::Probe::Facts($facts))
    };
}

/// Steps like [`step!`] in an FSM: `true` if the FSM must park now and run again from here when `wake` is
/// called.
#[macro_export]
macro_rules! step_fsm {
    ($gate:expr, $wake:expr, $stage:ident, $req:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let __req: $crate::Req = $req;
        if !$gate.resumes_with($crate::stage::$stage, __req) {
            $crate::stamp!($stage, __req $(, $name = $value)*);
        }
        __req.stepped() && $gate.holds($crate::stage::$stage, __req, $wake)
    }};
}

/// Steps like [`step_fsm!`]. For a stepped request, evaluates `publish` after the stamp and before the gate, and again
/// when the FSM resumes here.
#[macro_export]
macro_rules! step_fsm_probe {
    ($gate:expr, $wake:expr, $publish:expr, $stage:ident, $req:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        let __req: $crate::Req = $req;
        if !$gate.resumes_with($crate::stage::$stage, __req) {
            $crate::stamp!($stage, __req $(, $name = $value)*);
        }
        __req.stepped() && {
            $publish;
            $gate.holds($crate::stage::$stage, __req, $wake)
        }
    }};
}

/// Publishes its owner's state if the request is stepped: `probe!(req, || Probe::Note(..))`.
#[macro_export]
macro_rules! probe {
    ($req:expr, $make:expr) => {{
        let __req: $crate::Req = $req;
        if __req.stepped() {
            $crate::session::publish(__req, $make);
        }
    }};
}

/// Publishes a region's state if a request in that region is stepped: `probe_region!(region_id, ||
/// Probe::Raft(..))`.
#[macro_export]
macro_rules! probe_region {
    ($region:expr, $make:expr) => {{
        if $crate::session::watches_region($region) {
            $crate::session::publish($crate::Req::NONE, $make);
        }
    }};
}
