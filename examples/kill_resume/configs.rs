//! What is streamed: ways of reading, of ordering, of packing, and numbers of ranks.

use packmill::Recipe;
use packmill::recipe::Plan;
use std::path::Path;

/// Rows that must come in a run with `plan: lanes`, whose streams are without end.
pub(crate) const ROWS: u64 = 640;

/// The largest number of ranks.
pub(crate) const MOST_RANKS: u64 = 8;

/// Epochs of a run with `plan: global`, which streams them all.
const EPOCHS: u64 = 2;

/// One recipe, and the numbers of ranks that take turns with it.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) plan: Plan,
    recipe: String,
    /// Numbers of ranks.
    pub(crate) worlds: Vec<u32>,
}

impl Config {
    fn lanes(name: String, recipe: String) -> Config {
        Config {
            name,
            plan: Plan::Lanes,
            recipe: format!(
                "version: 1\ntokenizer: tokenizer\n{recipe}batch: {{rows: 2}}\nlanes: 8\n"
            ),
            worlds: vec![1, 2, 4, 8],
        }
    }

    fn global(name: String, recipe: String) -> Config {
        Config {
            name,
            plan: Plan::Global,
            recipe: format!(
                "version: 1\ntokenizer: tokenizer\n{recipe}batch: {{rows: 1}}\nplan: global\nepochs: {EPOCHS}\n"
            ),
            worlds: vec![1, 2, 3, 8],
        }
    }

    pub(crate) fn recipe(&self, folder: &Path) -> Recipe {
        Recipe::parse(&self.recipe, folder).unwrap_or_else(|faults| panic!("{faults}"))
    }
}

const SUMS: &str = "  - {name: sums, paths: [\"sums/*\"], mask: {train: completion}}\n";
const MORE: &str = "  - {name: more, paths: [\"more/*\"]}\n";

/// All of them: one of `plan: global` behind every two of `plan: lanes`, so that a short run meets both.
pub(crate) fn all() -> Vec<Config> {
    let (mut all, mut global) = (Vec::new(), global().into_iter());
    for pair in lanes().chunks(2) {
        all.extend_from_slice(pair);
        all.extend(global.next());
    }
    all.extend(global);
    all
}

/// Exact epochs, on numbers of ranks that no number of lanes would fit.
fn global() -> Vec<Config> {
    let mut all = Vec::new();
    for (io, shuffle) in [("mmap", true), ("pread", true), ("mmap", false)] {
        // As many records of each source as make some hundred rows.
        for (packing, pack, names, limit) in [
            (
                "knapsack",
                "sequence_length: 1024, lookahead: 24",
                &["chats"][..],
                2_000,
            ),
            (
                "concat",
                "sequence_length: 512, strategy: concat",
                &["chats", "sums", "more"],
                500,
            ),
            (
                "split",
                "sequence_length: 128, lookahead: 300, overlong: split",
                &["chats", "sums", "more"],
                120,
            ),
            (
                "truncate_left",
                "sequence_length: 128, lookahead: 8, overlong: truncate_left",
                &["chats", "more"],
                250,
            ),
        ] {
            let source = |name: &&str| {
                let mask = if *name == "sums" {
                    ", mask: {train: completion}"
                } else {
                    ""
                };
                format!("  - {{name: {name}, paths: [\"{name}/*\"], limit: {limit}{mask}}}\n")
            };
            let sources: String = names.iter().map(source).collect();
            all.push(Config::global(
                format!("global-{packing}-{io}-{shuffle}"),
                format!("sources:\n{sources}pack: {{{pack}}}\nshuffle: {shuffle}\nio: {io}\n"),
            ));
        }
    }
    all.push(Config::global(
        "global-chosen".to_owned(),
        format!(
            "sources:\n  - {{name: chosen, paths: [\"chosen/*\"], limit: 1500}}\n  - {{name: tables, paths: [\"tables/*\"], limit: 700}}\n{CHOSEN}pack: {{sequence_length: 512, lookahead: 24, overlong: split}}\n"
        ),
    ));
    all
}

/// Records are left out for each reason that there is, and answers have weights.
const CHOSEN: &str = "filter: {tokens: {min: 40}, turns: {min: 2, max: 9}, where: \"messages[0].content | length > 20\"}\nsplit: {fraction: 0.1}\nduplicates: drop\nmask: {weights: use}\n";

fn lanes() -> Vec<Config> {
    // Several examples of a record, some delivered and others in a pool.
    let mut all = vec![Config::lanes(
        "held-per-turn".to_owned(),
        format!(
            "sources:\n  - {{name: chats, paths: [\"chats/*\"], render: per_turn}}\n{SUMS}pack: {{sequence_length: 512, lookahead: 24, overlong: split}}\n"
        ),
    )];
    for (io, shuffle) in [("mmap", true), ("pread", true), ("mmap", false)] {
        for (form, paths, hold) in [("held", "chats/*", "1GiB"), ("streamed", "frames/*", "0")] {
            for (packing, pack) in [
                ("knapsack", "sequence_length: 1024, lookahead: 24"),
                ("concat", "sequence_length: 512, strategy: concat"),
                ("none", "sequence_length: 512, strategy: none"),
                (
                    "split",
                    "sequence_length: 128, lookahead: 8, overlong: split",
                ),
            ] {
                // One source; and three where they are held, two where they are streamed (sums are too few).
                let more = match (packing, form) {
                    ("none", _) => String::new(),
                    (_, "held") => SUMS.to_owned() + MORE,
                    _ => MORE.to_owned(),
                };
                let sources = format!("  - {{name: chats, paths: [\"{paths}\"]}}\n{more}");
                all.push(Config::lanes(
                    format!("{form}-{packing}-{io}-{shuffle}"),
                    format!(
                        "sources:\n{sources}pack: {{{pack}}}\nshuffle: {shuffle}\nhold: {hold}\nio: {io}\n"
                    ),
                ));
            }
        }
    }
    for (form, hold) in [("held", "1GiB"), ("streamed", "0")] {
        for (store, duplicates) in [("chosen", "drop_in_block"), ("tables", "drop")] {
            let chosen = CHOSEN.replace("duplicates: drop", &format!("duplicates: {duplicates}"));
            all.push(Config::lanes(
                format!("{form}-{store}"),
                format!(
                    "sources:\n  - {{name: {store}, paths: [\"{store}/*\"]}}\n{MORE}{chosen}pack: {{sequence_length: 512, lookahead: 24, overlong: split}}\nhold: {hold}\n"
                ),
            ));
        }
    }
    // Mixtures, whose weights change on the way.
    for (form, paths, hold) in [("held", "chats/*", "1GiB"), ("streamed", "frames/*", "0")] {
        all.push(Config::lanes(
            format!("{form}-mixture"),
            format!(
                "sources:\n  - {{name: chats, paths: [\"{paths}\"], weight: 2}}\n  - {{name: more, paths: [\"more/*\"], weight: 1}}\npack: {{sequence_length: 1024, lookahead: 24}}\nschedule: [{{row: 300, weights: {{chats: 1, more: 3}}}}]\nhold: {hold}\n"
            ),
        ));
    }
    all
}
