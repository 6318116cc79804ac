//! The recipe as a whole: what is read, what is refused, and that the table, the structs, the schema, the
//! print and the page in `docs/` agree.

use super::*;

mod faults;
mod hostile;
mod meaning;
mod mixture;
mod round_trip;
mod table;

/// The least that a recipe must say.
const LEAST: &str = "tokenizer: org/model
sources:
  - name: a
    paths: [a.jsonl]
";

/// Lines after [`LEAST`], in a folder that holds nothing.
fn parse_with(more: &str) -> Result<Recipe, Faults> {
    parse(&format!("{LEAST}{more}"))
}

fn parse(text: &str) -> Result<Recipe, Faults> {
    Recipe::parse(text, Path::new("/nowhere"))
}

/// The faults as they are printed.
fn faults(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.to_string().lines().map(str::to_owned).collect(),
    }
}
