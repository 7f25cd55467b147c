//! A concurrency limit that can be resized while permits are held.
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// A semaphore with a variable number of permits; clones share it.
#[derive(Clone, Debug)]
pub struct ResizableSemaphore {
    semaphore: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    permits: usize,
    /// Number of held permits that will not return to the semaphore.
    excess: usize,
}

/// The right to run, until it is dropped.
#[derive(Debug)]
pub struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    state: Arc<Mutex<State>>,
}

impl ResizableSemaphore {
    /// Creates at least one permit, and at most the number that a semaphore can count.
    pub fn new(permits: usize) -> Self {
        let permits = permits.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            semaphore: Arc::new(Semaphore::new(permits)),
            state: Arc::new(Mutex::new(State { permits, excess: 0 })),
        }
    }

    /// Changes the number of permits. Held permits stay valid.
    pub fn set(&self, permits: usize) {
        let permits = permits.clamp(1, Semaphore::MAX_PERMITS);
        let mut state = self.state.lock();
        if permits < state.permits {
            let fewer = state.permits - permits;
            state.excess += fewer - self.semaphore.forget_permits(fewer);
        } else {
            let more = permits - state.permits;
            let kept = more.min(state.excess);
            state.excess -= kept;
            self.semaphore.add_permits(more - kept);
        }
        state.permits = permits;
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// Never, as the semaphore is never closed.
    pub async fn acquire(&self) -> Result<Permit, AcquireError> {
        let permit = self.semaphore.clone().acquire_owned().await?;
        Ok(Permit { permit: Some(permit), state: self.state.clone() })
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// If no permit is free.
    pub fn try_acquire(&self) -> Result<Permit, TryAcquireError> {
        let permit = self.semaphore.clone().try_acquire_owned()?;
        Ok(Permit { permit: Some(permit), state: self.state.clone() })
    }
}

impl Drop for Permit {
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
    fn permits_follow_the_limit_while_some_are_held() {
        let limit = ResizableSemaphore::new(2);
        let taken: Vec<Permit> = (0..2).map(|_| limit.try_acquire().unwrap()).collect();
        assert!(limit.try_acquire().is_err());
        limit.set(3);
        let third = limit.try_acquire().unwrap();
        limit.set(1);
        drop(third);
        assert!(limit.try_acquire().is_err(), "two of one are held");
        limit.set(2);
        assert!(limit.try_acquire().is_err(), "two of two are held");
        drop(taken);
        let again: Vec<Permit> = (0..2).map(|_| limit.try_acquire().unwrap()).collect();
        assert!(limit.try_acquire().is_err());
        drop(again);
        limit.set(usize::MAX);
        limit.set(0);
        let _one = limit.try_acquire().unwrap();
        assert!(limit.try_acquire().is_err(), "at least one, and no more");
    }
}
