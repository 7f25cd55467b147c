//! How many may do something at once, which can change while they do it.
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// A number of turns; clones share it.
#[derive(Clone, Debug)]
pub struct Limit {
    semaphore: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    turns: usize,
    /// Turns that are taken and will not come back.
    excess: usize,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    state: Arc<Mutex<State>>,
}

impl Limit {
    /// At least one turn, and as many as a semaphore counts at most.
    pub fn new(turns: usize) -> Self {
        let turns = turns.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            semaphore: Arc::new(Semaphore::new(turns)),
            state: Arc::new(Mutex::new(State { turns, excess: 0 })),
        }
    }

    /// So many from now on; turns that are taken end by themselves.
    pub fn set(&self, turns: usize) {
        let turns = turns.clamp(1, Semaphore::MAX_PERMITS);
        let mut state = self.state.lock();
        if turns < state.turns {
            let fewer = state.turns - turns;
            state.excess += fewer - self.semaphore.forget_permits(fewer);
        } else {
            let more = turns - state.turns;
            let kept = more.min(state.excess);
            state.excess -= kept;
            self.semaphore.add_permits(more - kept);
        }
        state.turns = turns;
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// Never, as nobody closes the semaphore.
    pub async fn turn(&self) -> Result<Turn, AcquireError> {
        let permit = self.semaphore.clone().acquire_owned().await?;
        Ok(Turn { permit: Some(permit), state: self.state.clone() })
    }

    /// A turn, if one is free.
    ///
    /// # Errors
    /// Where none is.
    pub fn try_turn(&self) -> Result<Turn, TryAcquireError> {
        let permit = self.semaphore.clone().try_acquire_owned()?;
        Ok(Turn { permit: Some(permit), state: self.state.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let Some(permit) = self.permit.take().filter(|_| state.excess > 0) else { return };
        state.excess -= 1;
        permit.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_number_whatever_is_taken() {
        let limit = Limit::new(2);
        let taken: Vec<Turn> = (0..2).map(|_| limit.try_turn().unwrap()).collect();
        assert!(limit.try_turn().is_err());
        limit.set(3);
        let third = limit.try_turn().unwrap();
        limit.set(1);
        drop(third);
        assert!(limit.try_turn().is_err(), "two are taken of one");
        limit.set(2);
        assert!(limit.try_turn().is_err(), "two are taken of two");
        drop(taken);
        let again: Vec<Turn> = (0..2).map(|_| limit.try_turn().unwrap()).collect();
        assert!(limit.try_turn().is_err());
        drop(again);
        limit.set(usize::MAX);
        limit.set(0);
        let _one = limit.try_turn().unwrap();
        assert!(limit.try_turn().is_err(), "at least one, and no more");
    }
}
