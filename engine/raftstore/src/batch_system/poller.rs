//! Pollers: the threads that run FSMs.
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, unbounded};

use tracepoints::label;

use super::{
    Fsm,
    mailbox::Mailbox,
    router::{Router, Scheduled},
};

/// Decides where an FSM goes after it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleResult {
    /// Return to the mailbox; scheduled again if messages are queued.
    Release,
    /// Held at a gate: stay in the mailbox until [`Mailbox::wake`].
    Park,
    /// Remove from the router and drop.
    Stop,
}

/// Runs FSMs on one poller; lives on that poller's thread.
pub trait PollHandler<N: Fsm, C: Fsm>: Send + 'static {
    /// Called before a round.
    fn begin(&mut self, batch_size: usize);
    /// Processes the messages of the control FSM.
    fn handle_control(&mut self, control: &mut C, mailbox: &Mailbox<C>);
    /// Processes the messages of a normal FSM.
    fn handle_normal(&mut self, normal: &mut N, mailbox: &Mailbox<N>) -> HandleResult;
    /// Called after a round, before the FSMs are released.
    fn end(&mut self);
}

/// Creates the handler of each poller.
pub trait HandlerBuilder<N: Fsm, C: Fsm> {
    /// Handler of one poller.
    type Handler: PollHandler<N, C>;
    /// Creates the handler of the poller with this number.
    fn build(&mut self, poller: usize) -> Self::Handler;
}

/// Pollers of one kind of FSM. TiKV: `batch_system::batch::BatchSystem`.
pub struct BatchSystem<N: Fsm, C: Fsm> {
    router: Router<N, C>,
    receiver: Receiver<Scheduled<N, C>>,
    address: fn(&N) -> u64,
    workers: Vec<JoinHandle<()>>,
    max_batch_size: usize,
}

impl<N: Fsm, C: Fsm> BatchSystem<N, C> {
    /// Creates a system without pollers. `address` returns the router address of a normal FSM.
    pub fn new(control: Box<C>, address: fn(&N) -> u64, max_batch_size: usize) -> Self {
        let (tx, receiver) = unbounded();
        let router = Router::new(control, tx);
        Self { router, receiver, address, workers: Vec::new(), max_batch_size: max_batch_size.max(1) }
    }

    /// Returns the router to the FSMs.
    pub fn router(&self) -> &Router<N, C> {
        &self.router
    }

    /// Starts `pool_size` pollers, named `{name}-{n}`; their stamps carry `store_id`.
    pub fn spawn<B: HandlerBuilder<N, C>>(
        &mut self,
        name: &str,
        store_id: u64,
        pool_size: usize,
        mut builder: B,
    ) -> std::io::Result<()> {
        for n in 0..pool_size.max(1) {
            let thread_name = format!("{name}-{n}");
            let mut poller = Poller {
                router: self.router.clone(),
                receiver: self.receiver.clone(),
                handler: builder.build(n),
                address: self.address,
                max_batch_size: self.max_batch_size,
            };
            let registered = thread_name.clone();
            let spawned = thread::Builder::new().name(thread_name).spawn(move || {
                tracepoints::register_thread(&registered, store_id);
                poller.poll();
            })?;
            self.workers.push(spawned);
        }
        Ok(())
    }

    /// Stops the pollers, then drops all FSMs. A thread held at a gate ends once the gate releases it.
    pub fn shutdown(&mut self) {
        for _ in &self.workers {
            let _ = self.router.scheduler().send(Scheduled::Stop);
        }
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                log::error!("a poller thread panicked");
            }
        }
        self.router.close_all();
        while self.receiver.try_recv().is_ok() {}
    }
}

/// FSMs of a round, each with its mailbox.
type Batch<N> = Vec<(Mailbox<N>, Box<N>)>;

struct Poller<N: Fsm, C: Fsm, H: PollHandler<N, C>> {
    router: Router<N, C>,
    receiver: Receiver<Scheduled<N, C>>,
    handler: H,
    address: fn(&N) -> u64,
    max_batch_size: usize,
}

impl<N: Fsm, C: Fsm, H: PollHandler<N, C>> Poller<N, C, H> {
    fn poll(&mut self) {
        let (mut normals, mut control, mut running) = (Vec::new(), None, true);
        while running {
            running = self.fetch(&mut normals, &mut control);
            self.run(&mut normals, &mut control);
        }
    }

    /// Takes all scheduled FSMs, waiting for the first; returns false if the poller must end.
    fn fetch(&self, normals: &mut Batch<N>, control: &mut Option<Box<C>>) -> bool {
        let Ok(mut next) = self.receiver.recv() else { return false };
        loop {
            match next {
                Scheduled::Normal(mailbox, fsm) => normals.push((mailbox, fsm)),
                Scheduled::Control(fsm) => *control = Some(fsm),
                Scheduled::Stop => return false,
            }
            if normals.len() >= self.max_batch_size {
                return true;
            }
            match self.receiver.try_recv() {
                Ok(more) => next = more,
                Err(_) => return true,
            }
        }
    }

    fn run(&mut self, normals: &mut Batch<N>, control: &mut Option<Box<C>>) {
        self.handler.begin(normals.len());
        if let Some(mut fsm) = control.take() {
            let mailbox = self.router.control().clone();
            self.handler.handle_control(&mut fsm, &mailbox);
            mailbox.release(fsm, false);
            label::clear();
        }
        let mut results = Vec::with_capacity(normals.len());
        for (mailbox, fsm) in normals.iter_mut() {
            let stopped = fsm.is_stopped();
            results.push(if stopped { HandleResult::Stop } else { self.handler.handle_normal(fsm, mailbox) });
            label::clear();
        }
        self.handler.end();
        label::clear();
        for ((mailbox, fsm), result) in normals.drain(..).zip(results) {
            match result {
                HandleResult::Stop => self.router.close_mailbox((self.address)(&fsm), &mailbox),
                result => mailbox.release(fsm, result == HandleResult::Park),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam::channel::{Sender, bounded};

    use super::*;
    use crate::batch_system::SendError;

    struct Counter {
        addr: u64,
        sum: u64,
        stopped: bool,
        park_at: Option<u64>,
    }

    enum Msg {
        Add(u64),
        Ask(Sender<u64>),
        Park,
        Stop,
    }

    impl Fsm for Counter {
        type Message = Msg;
        fn is_stopped(&self) -> bool {
            self.stopped
        }
    }

    #[derive(Clone)]
    struct Handler;

    impl PollHandler<Counter, Counter> for Handler {
        fn begin(&mut self, _: usize) {}
        fn handle_control(&mut self, control: &mut Counter, mailbox: &Mailbox<Counter>) {
            self.handle_normal(control, mailbox);
        }
        fn handle_normal(&mut self, fsm: &mut Counter, mailbox: &Mailbox<Counter>) -> HandleResult {
            // As at a gate: the first run after the wake continues.
            if fsm.park_at.take().is_some() {
                fsm.sum += 1000;
            }
            while let Some(msg) = mailbox.try_recv() {
                match msg {
                    Msg::Add(n) => fsm.sum += n,
                    Msg::Ask(tx) => tx.send(fsm.sum).unwrap(),
                    Msg::Park => {
                        fsm.park_at = Some(fsm.sum);
                        return HandleResult::Park;
                    }
                    Msg::Stop => return HandleResult::Stop,
                }
            }
            HandleResult::Release
        }
        fn end(&mut self) {}
    }

    impl HandlerBuilder<Counter, Counter> for Handler {
        type Handler = Handler;
        fn build(&mut self, _: usize) -> Handler {
            self.clone()
        }
    }

    fn counter(addr: u64) -> Box<Counter> {
        Box::new(Counter { addr, sum: 0, stopped: false, park_at: None })
    }

    fn system(pollers: usize) -> BatchSystem<Counter, Counter> {
        let mut system = BatchSystem::new(counter(0), |c: &Counter| c.addr, 2);
        system.spawn("test", 1, pollers, Handler).unwrap();
        system
    }

    fn ask(router: &Router<Counter, Counter>, addr: u64) -> u64 {
        let (tx, rx) = bounded(1);
        assert!(router.send(addr, Msg::Ask(tx)).is_ok());
        rx.recv_timeout(Duration::from_secs(10)).unwrap()
    }

    #[test]
    fn every_message_is_handled_once_by_its_fsm() {
        let mut system = system(3);
        let router = system.router().clone();
        for addr in 1..=8 {
            router.register(addr, counter(addr));
        }
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for n in 0..4000_u64 {
                        assert!(router.send(1 + n % 8, Msg::Add(1)).is_ok());
                    }
                });
            }
        });
        let sum: u64 = (1..=8).map(|addr| ask(&router, addr)).sum();
        assert_eq!(sum, 16_000);
        system.shutdown();
        assert!(matches!(router.send(1, Msg::Add(1)), Err(SendError::Disconnected(_))));
    }

    #[test]
    fn a_parked_fsm_resumes_only_on_wake_while_others_run() {
        let mut system = system(1);
        let router = system.router().clone();
        let parked = router.register(1, counter(1));
        router.register(2, counter(2));
        let (tx, rx) = bounded(1);
        parked.send(Msg::Park).ok().unwrap();
        parked.send(Msg::Add(5)).ok().unwrap();
        parked.send(Msg::Ask(tx)).ok().unwrap();
        // The only poller is free: the other FSM answers, and the parked FSM's mailbox keeps its messages.
        assert_eq!(ask(&router, 2), 0);
        assert_eq!(ask(&router, 2), 0);
        assert!(rx.try_recv().is_err());
        assert_eq!(parked.len(), 2);
        parked.wake();
        assert_eq!(rx.recv_timeout(Duration::from_secs(10)).unwrap(), 1005);
        system.shutdown();
    }

    #[test]
    fn a_wake_before_the_park_is_not_lost() {
        let mailbox = Mailbox::new(counter(1), Box::new(|_, _| {}));
        let (tx, rx) = unbounded();
        let woken =
            Mailbox::new(counter(2), Box::new(move |_, fsm: Box<Counter>| tx.send(fsm.addr).unwrap()));
        mailbox.send(Msg::Add(1)).ok().unwrap();
        woken.send(Msg::Add(1)).ok().unwrap();
        assert_eq!(rx.try_recv(), Ok(2));
        woken.wake();
        woken.release(counter(2), true);
        assert_eq!(rx.try_recv(), Ok(2), "scheduled at once");
        woken.release(counter(2), true);
        woken.send(Msg::Add(1)).ok().unwrap();
        assert!(rx.try_recv().is_err(), "a message does not wake a parked FSM");
        woken.wake();
        assert_eq!(rx.try_recv(), Ok(2));
    }

    /// Parks and wakes FSMs at random while other threads send: every message is handled.
    #[test]
    fn random_parks_and_wakes_lose_no_message() {
        const SENT: u64 = 3 * 6000;
        let mut system = system(3);
        let router = system.router().clone();
        let mailboxes: Vec<_> = (1..=4).map(|addr| router.register(addr, counter(addr))).collect();
        let done = std::sync::atomic::AtomicBool::new(false);
        let sum = thread::scope(|s| {
            s.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    mailboxes.iter().for_each(Mailbox::wake);
                    thread::yield_now();
                }
            });
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    s.spawn(|| {
                        for n in 0..SENT / 3 {
                            let message = if n % 13 == 0 { Msg::Park } else { Msg::Add(1) };
                            assert!(router.send(1 + n % 4, message).is_ok());
                        }
                    })
                })
                .collect();
            let sent = senders.into_iter().all(|sender| sender.join().is_ok());
            let asked: Vec<_> = (1..=4)
                .map(|addr| {
                    let (tx, rx) = bounded(1);
                    assert!(router.send(addr, Msg::Ask(tx)).is_ok());
                    rx.recv_timeout(Duration::from_secs(60))
                })
                .collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(sent);
            asked.into_iter().map(|sum| sum.expect("an FSM does not answer")).sum::<u64>()
        });
        let parks = 3 * (SENT / 3).div_ceil(13);
        assert_eq!(sum, (SENT - parks) + 1000 * parks, "each message once, each park resumed once");
        assert!(mailboxes.iter().all(Mailbox::is_empty));
        system.shutdown();
    }

    #[test]
    fn a_stopped_fsm_is_gone() {
        let mut system = system(2);
        let router = system.router().clone();
        router.register(7, counter(7));
        router.send(7, Msg::Stop).ok().unwrap();
        for _ in 0..1000 {
            if router.mailbox(7).is_none() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        assert!(router.mailbox(7).is_none());
        system.shutdown();
    }
}
