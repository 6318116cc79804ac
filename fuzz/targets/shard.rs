#![no_main]

#[path = "../checks/shard.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::shard(data));
