//! What the examples run on where no recipe is given: the corpus of `packmill demo`.

use std::path::PathBuf;
use std::process::Command;

/// Writes the demo's corpus, tokenizer and recipe once and gives the recipe's path.
pub(crate) fn recipe() -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("packmill-examples-{}", env!("CARGO_PKG_VERSION")));
    let recipe = folder.join("recipe.yaml");
    if !recipe.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let status = Command::new(cargo)
            .args(["run", "--quiet", "--bin", "packmill", "--", "demo"])
            .arg(&folder)
            .stdout(std::process::Stdio::null())
            .status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "`packmill demo` should write {}",
            folder.display()
        );
    }
    recipe
}
