#![no_main]

#[path = "../checks/markers.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::markers(data));
