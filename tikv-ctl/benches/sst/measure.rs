//! Costs of one run of a tool: CPU time, wall time, memory, as the system counts them for that process.
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The cost of one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// User and system time of all its threads.
    pub cpu: Duration,
    pub wall: Duration,
    /// Maximum resident memory, in bytes.
    pub peak: u64,
}

/// Runs `command` to its end; it must succeed.
pub fn run(command: &mut Command) -> Cost {
    let (cost, status) = wait(command);
    assert!(status == 0, "{command:?}: wait status {status:#x}");
    cost
}

/// Runs `command` to its end, with any result.
pub fn try_run(command: &mut Command) -> Cost {
    wait(command).0
}

#[allow(clippy::zombie_processes)] // wait4 waits for it and returns its cost
fn wait(command: &mut Command) -> (Cost, i32) {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let child = command.spawn().expect("the tool starts");
    let mut status = 0;
    // SAFETY: zeroes are a valid rusage, and the call writes only to the two places it is given.
    let (waited, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(child.id() as i32, &mut status, 0, &mut usage), usage)
    };
    let wall = start.elapsed();
    assert!(waited > 0, "wait4: {}", std::io::Error::last_os_error());
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    let cost =
        Cost { cpu: time(usage.ru_utime) + time(usage.ru_stime), wall, peak: (usage.ru_maxrss as u64) << 10 };
    (cost, status)
}

/// Returns the middle run by CPU time, with the median of the other figures.
pub fn median(costs: Vec<Cost>) -> Cost {
    fn middle<T: Ord + Copy>(mut all: Vec<T>) -> T {
        all.sort();
        all[all.len() / 2]
    }
    Cost {
        cpu: middle(costs.iter().map(|cost| cost.cpu).collect()),
        wall: middle(costs.iter().map(|cost| cost.wall).collect()),
        peak: middle(costs.iter().map(|cost| cost.peak).collect()),
    }
}

pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
