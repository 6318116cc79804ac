//! Keeps the fast engine on its caller's thread.
//!
//! `fastokens` 0.3.5 spreads a long text over threads of its own: a pool of its own for texts from 64 KiB on, rayon's
//! for patterns that it has no scanner for. packmill's workers are as many as the machine has cores, so these would
//! only fight them. The crate takes the number of threads from `FASTOKENS_BPE_THREADS`, an environment variable, which a
//! library must not set while others may read it, and from `available_parallelism`, which counts the CPUs that the
//! *calling thread* may run on. Both are asked once a process, at first use, and kept.
//!
//! So the first use is a thread that lives for this alone and may run on a single CPU: what it asks for comes out as
//! one, and no thread is ever started. Nothing is changed for any other thread, and the environment is left alone.
//! Where a thread cannot be kept to one CPU (only Linux is known to do it) and the process has several, or where
//! somebody else's code in the process used the crate before, the answer is no, and the fast engine is not used.

use std::sync::OnceLock;
use std::thread::available_parallelism;

/// Whether the crate stays on the threads that call it. The first call settles it for the process.
pub(super) fn stays_on_callers_thread() -> bool {
    static SETTLED: OnceLock<bool> = OnceLock::new();
    *SETTLED.get_or_init(|| {
        let thread = std::thread::Builder::new()
            .name("packmill-settle".to_owned())
            .spawn(settle);
        thread.is_ok_and(|thread| thread.join().unwrap_or(false))
    })
}

fn settle() -> bool {
    keep_to_one_cpu();
    if available_parallelism().map_or(usize::MAX, usize::from) != 1 {
        return false;
    }
    // The patterns' number of threads is asked for where the first of them is made.
    let pattern = serde_json::json!({"Regex": "a"});
    let split = fastokens::Split::from_config(&pattern, "Isolated", false);
    split.is_ok() && fastokens::fanout::threads() == 1
}

/// Keeps this thread to one of the CPUs that it may run on, if the system can do that.
#[cfg(target_os = "linux")]
fn keep_to_one_cpu() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else {
        return;
    };
    let Some(cpu) = (0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)) else {
        return;
    };
    let mut one = CpuSet::new();
    one.set(cpu);
    // Where it fails the count that follows says so.
    let _ = sched_setaffinity(None, &one);
}

#[cfg(not(target_os = "linux"))]
fn keep_to_one_cpu() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn no_thread_is_started_and_none_is_kept_from_its_cpus() {
        let before = available_parallelism().unwrap();
        assert!(stays_on_callers_thread());
        assert_eq!(fastokens::fanout::threads(), 1);
        assert_eq!(available_parallelism().unwrap(), before);
    }
}
