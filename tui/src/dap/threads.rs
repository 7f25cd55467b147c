//! Threads of the protocol: the operation itself, and each real thread with its store.
use tracepoints::trace::Step;

/// The number of the operation, whose stack joins the real threads.
pub const OPERATION: i64 = 1;

/// The threads that passed a stage, in the order of their first one.
#[derive(Debug, Default)]
pub struct Threads {
    known: Vec<(u64, String)>,
    /// Number of steps that were read.
    read: usize,
}

impl Threads {
    /// Begins an operation: its steps are read from the first one. Known threads keep their numbers.
    pub fn begin(&mut self) {
        self.read = 0;
    }

    /// Reads the steps that are new; returns the numbers of new threads.
    pub fn read(&mut self, steps: &[Step]) -> Vec<i64> {
        let mut new = Vec::new();
        for step in steps.iter().skip(self.read) {
            if self.position(step).is_none() {
                self.known.push((step.store, step.thread.clone()));
                new.push(self.known.len() as i64 + OPERATION);
            }
        }
        self.read = steps.len();
        new
    }

    /// The number and name of each thread.
    pub fn list(&self, operation: &str) -> Vec<(i64, String)> {
        let name = |(store, thread): &(u64, String)| match store {
            0 => format!("client or PD: {thread}"),
            store => format!("store {store}: {thread}"),
        };
        let real = self.known.iter().enumerate().map(|(i, known)| (i as i64 + OPERATION + 1, name(known)));
        std::iter::once((OPERATION, format!("operation {operation}"))).chain(real).collect()
    }

    /// The number of a step's thread.
    pub fn number_of(&self, step: &Step) -> i64 {
        self.position(step).map_or(OPERATION, |i| i as i64 + OPERATION + 1)
    }

    /// The newest step of a thread up to `cursor`; for the operation, the step at `cursor`.
    pub fn step_of(&self, thread: i64, steps: &[Step], cursor: usize) -> Option<usize> {
        let up_to = &steps[..steps.len().min(cursor + 1)];
        if thread == OPERATION {
            return up_to.len().checked_sub(1);
        }
        let (store, name) = self.known.get(usize::try_from(thread.saturating_sub(OPERATION + 1)).ok()?)?;
        up_to.iter().rposition(|s| s.store == *store && s.thread == *name)
    }

    fn position(&self, step: &Step) -> Option<usize> {
        self.known.iter().position(|(store, thread)| *store == step.store && *thread == step.thread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_number() {
        let step = |store, thread: &str| Step { store, thread: thread.into(), ..Step::default() };
        let steps = [step(0, "client"), step(1, "grpc-1"), step(1, "grpc-1"), step(2, "grpc-1")];
        let mut threads = Threads::default();
        assert_eq!(threads.read(&steps[..2]), [2, 3]);
        assert_eq!(threads.read(&steps), [4]);
        threads.begin();
        assert_eq!(threads.read(&steps[..1]), [0; 0], "the next operation");
        let list = threads.list("get k1");
        assert_eq!(list[0], (1, "operation get k1".into()));
        assert_eq!(list[2], (3, "store 1: grpc-1".into()));
        assert_eq!((threads.number_of(&steps[3]), threads.number_of(&step(9, "x"))), (4, OPERATION));
        assert_eq!(threads.step_of(3, &steps, 3), Some(2));
        assert_eq!(threads.step_of(3, &steps, 0), None);
        assert_eq!((threads.step_of(1, &steps, 2), threads.step_of(99, &steps, 2)), (Some(2), None));
    }
}
