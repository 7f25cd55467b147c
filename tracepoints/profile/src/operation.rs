//! Recorded operations and requests, with their steps and critical paths.
use tracepoints::{
    collector::RecordedRequest,
    critical::CriticalPath,
    trace::{Step, TraceRecord},
};

/// One operation, or one of its requests, with its steps.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The request's id.
    pub id: u64,
    /// TiKV's RPC name in snake case, or `client` for a client's whole operation.
    pub kind: String,
    /// Time of its start in ns, on the clock of the whole recording.
    pub begin_ns: u64,
    /// The steps by time.
    pub steps: Vec<Step>,
    /// The critical path of the steps.
    pub path: CriticalPath,
    /// Number of its missing stamps.
    pub dropped: u64,
}

impl Operation {
    /// Makes an operation and finds its critical path.
    pub fn new(id: u64, kind: &str, begin_ns: u64, steps: Vec<Step>) -> Self {
        let path = CriticalPath::find(&steps);
        Self { id, kind: kind.to_owned(), begin_ns, steps, path, dropped: 0 }
    }

    /// Converts a request that a collector recorded.
    pub fn recorded(request: &RecordedRequest) -> Self {
        let steps = request.trace().steps;
        let begin = request.stamps.first().map_or(request.begin_ns, |s| s.at);
        Self { dropped: request.truncated, ..Self::new(request.id, &request.kind.name(), begin, steps) }
    }

    /// Converts a trace as a whole: the client's operation, or its only request.
    pub fn stepped(trace: &TraceRecord) -> Self {
        let root = trace.requests.iter().find(|r| r.parent == 0);
        let (id, kind) = root.map_or((0, "request".into()), |r| (r.id, r.kind.name()));
        Self { dropped: trace.summary.dropped, ..Self::new(id, &kind, 0, trace.steps.clone()) }
    }

    /// Converts the requests of a trace one by one, without the client's own steps.
    pub fn requests_of(trace: &TraceRecord) -> Vec<Self> {
        let of = |id: u64| trace.steps.iter().filter(move |s| s.request == id).cloned().collect::<Vec<_>>();
        trace.requests.iter().map(|r| Self::new(r.id, &r.kind.name(), 0, of(r.id))).collect()
    }

    /// Returns the time in ns that its main lane covers.
    pub fn duration_ns(&self) -> u64 {
        self.path.total_ns
    }
}
