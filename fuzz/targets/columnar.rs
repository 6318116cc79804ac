#![no_main]

#[path = "../checks/columnar.rs"]
mod check;
#[path = "../checks/shard.rs"]
#[allow(dead_code, reason = "what is read is checked as other shards are")]
mod shard;

use std::sync::Once;

static QUIET: Once = Once::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // The fuzzer's own hook ends the process at every panic. arrow-rs panics on some damaged tables, and packmill makes
    // errors of that; what it does not catch still ends the process.
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    check::columnar(data);
});
