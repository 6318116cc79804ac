//! A recipe of any text: every fault at once, or a recipe that reads back from its own print.
//!
//! Input: the recipe.

use packmill::Recipe;
use std::path::Path;

pub(super) fn recipe(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let recipe = match Recipe::parse(text, Path::new("/folder")) {
        Ok(recipe) => recipe,
        Err(faults) => {
            assert!(!faults.to_string().is_empty());
            return;
        }
    };
    let printed = recipe.to_string();
    let again = Recipe::parse(&printed, Path::new("/folder"));
    let again = again.unwrap_or_else(|faults| panic!("{faults}\n{printed}"));
    assert_eq!(again, recipe, "{printed}");
    assert_eq!(recipe.checked().as_ref(), Ok(&recipe));
}
