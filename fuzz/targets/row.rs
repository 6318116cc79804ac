#![no_main]

#[path = "../checks/row.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::row(data));
