//! What made a checkpoint, for whoever looks into one: recorded, never compared.

use super::model::Model;
use std::env::consts::{ARCH, OS};

/// Characters of a machine's name that are kept.
const LONGEST_NAME: usize = 64;

/// packmill's version, the tokenizer engine that runs now and the one that it stands for, and the machine.
pub(super) fn made_by(model: &Model) -> String {
    let engine = &model.tokenizer.engine;
    let reference = engine.reference();
    let reference = reference.map_or(String::new(), |own| format!(" for {}", own.name()));
    let engine = format!("{}{reference}", engine.name());
    let version = env!("CARGO_PKG_VERSION");
    let name = name().map_or(String::new(), |name| format!(" {name}"));
    format!("packmill {version}, {engine}, {ARCH} {OS}{name}")
}

/// The machine's name as Linux tells it; elsewhere its kind has to do.
fn name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let plain = name.trim().chars().filter(|c| !c.is_control());
    let name: String = plain.take(LONGEST_NAME).collect();
    (!name.is_empty()).then_some(name)
}
