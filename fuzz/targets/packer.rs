#![no_main]

#[path = "../checks/packer.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::packer(data));
