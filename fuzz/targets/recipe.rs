#![no_main]

#[path = "../checks/recipe.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::recipe(data));
