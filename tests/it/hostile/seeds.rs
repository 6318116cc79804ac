//! The seeds of `fuzz/`, through the same checks: whatever fuzzing found once stays found.

#[path = "../../../fuzz/checks/checkpoint.rs"]
mod checkpoint;
#[path = "../../../fuzz/checks/columnar.rs"]
mod columnar;
#[path = "../../../fuzz/checks/markers.rs"]
mod markers;
#[path = "../../../fuzz/checks/packer.rs"]
mod packer;
#[path = "../../../fuzz/checks/recipe.rs"]
mod recipe;
#[path = "../../../fuzz/checks/row.rs"]
mod row;
#[path = "../../../fuzz/checks/shard.rs"]
pub(super) mod shard;
#[path = "../../../fuzz/checks/template.rs"]
mod template;

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|seed| seed.unwrap().path())
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    for seed in seeds {
        let data = std::fs::read(&seed).unwrap();
        super::ends(move || check(&data));
    }
}

#[test]
fn of_every_target_pass() {
    replay("shard", shard::shard);
    replay("columnar", columnar::columnar);
    replay("row", row::row);
    replay("template", template::template);
    replay("markers", markers::markers);
    replay("packer", packer::packer);
    replay("recipe", recipe::recipe);
    replay("checkpoint", checkpoint::checkpoint);
}
