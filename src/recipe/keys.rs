//! The keys of a recipe: the one table behind reading, suggestions, printing and the schema. Each struct's
//! file holds the lines for its own keys.

use super::shape::{ANY_SIZE, Key, Section, Shape, Text, at_least, between, choice, key};
use super::{
    Recipe, batch, duplicates, filter, limits, mask, mixture, pack, read, render, source,
    special_tokens, split, template, tokenizer,
};
use serde::Serialize;
use serde_json::Value;

/// World sizes divide `lanes`, and each lane keeps a pool: no cluster needs more.
const MOST_LANES: u64 = 1 << 16;
/// Threads that one process can reasonably start.
const MOST_WORKERS: u64 = 1 << 12;
/// Batches that a channel can reasonably hold.
const MOST_PREFETCH: u64 = 1 << 16;
/// `cu_seqlens` count tokens in 32 bits.
pub(super) const MOST_TOKENS: u64 = i32::MAX as u64;

pub(super) const FILLED: Shape = Shape::Text(Text::Filled);

/// The whole recipe.
pub(super) static RECIPE: Section = Section {
    defaults: || json(&Recipe::default()),
    keys: &[
        key("version", between(1, 1), "Format of the recipe."),
        key(
            "seed",
            at_least(0),
            "Key of the order: another seed, another shuffle.",
        ),
        key(
            "tokenizer",
            Shape::Located(&tokenizer::KEYS),
            "The tokenizer: a folder with tokenizer.json, a tokenizer.json or a Hub \
             id in the local cache.",
        )
        .required()
        .elsewhere(&[
            "tokenizer_path",
            "tokenizer_name",
            "tokenizer_name_or_path",
            "model",
        ]),
        key(
            "tokenizer_check",
            Shape::Nullable(&at_least(1)),
            "One record in so many is encoded by the reference engine too; a difference ends the run. null: none.",
        ),
        key(
            "template",
            Shape::Nullable(&Shape::Located(&template::KEYS)),
            "The chat template and what it sees, for sources without their own.",
        )
        .elsewhere(&["chat_template"]),
        key(
            "render",
            render::CHOICE,
            "What a conversation becomes, for sources that do not say it themselves.",
        ),
        key(
            "special_tokens_in_text",
            special_tokens::CHOICE,
            "What becomes of a special token that a row's text spells, for sources that do not say it themselves.",
        )
        .elsewhere(&["split_special_tokens", "sanitize_control_tokens"]),
        key(
            "filter",
            Shape::Nullable(&Shape::Section(&filter::KEYS)),
            "What is left out, of sources without their own; null leaves out nothing.",
        )
        .elsewhere(&["filters"]),
        key(
            "split",
            Shape::Nullable(&Shape::Section(&split::KEYS)),
            "What is held out for evaluation, of sources without their own; null holds nothing out.",
        )
        .elsewhere(&["validation", "eval", "validation_split"]),
        key(
            "duplicates",
            duplicates::CHOICE,
            "What becomes of records whose bytes stood in the corpus before.",
        )
        .elsewhere(&["dedup", "deduplicate", "dedupe"]),
        key(
            "sources",
            Shape::List {
                of: &Shape::Section(&source::KEYS),
                what: "sources",
            },
            "The data sets, in this order.",
        )
        .required()
        .elsewhere(&["data", "datasets", "dataset", "corpus", "corpora"]),
        key(
            "mask",
            Shape::Section(&mask::KEYS),
            "Which tokens are trained, for sources without their own.",
        )
        .elsewhere(&["masking"]),
        key(
            "pack",
            Shape::Section(&pack::KEYS),
            "How examples become rows.",
        )
        .elsewhere(&["packing"]),
        key(
            "batch",
            Shape::Section(&batch::KEYS),
            "How rows become batches.",
        ),
        key(
            "plan",
            Shape::Choice(&[
                choice(
                    "lanes",
                    "Endless streams of any size, resumable at any world size.",
                ),
                choice(
                    "global",
                    "Exact epochs on any number of ranks, of sources that are held.",
                ),
            ]),
            "How the order is dealt to ranks.",
        ),
        key(
            "lanes",
            between(1, MOST_LANES),
            "Fixed shares of the order. The world size must divide it.",
        ),
        key(
            "shuffle",
            Shape::Flag,
            "Whether blocks are shuffled; false deals them in corpus order.",
        ),
        key(
            "hold",
            ANY_SIZE,
            "A source that decodes to at most this many bytes is shuffled record by \
             record, a larger one block by block.",
        ),
        key(
            "epochs",
            Shape::Nullable(&at_least(1)),
            "Passes over the corpus; null goes on without end.",
        )
        .elsewhere(&["num_epochs", "num_train_epochs"]),
        key(
            "on_exhausted",
            Shape::Nullable(&Shape::Choice(&[
                choice("repeat", "A source that ends begins again."),
                choice("stop", "The stream ends with the first source that ends."),
            ])),
            "What the end of a source does, with weights; null is repeat.",
        ),
        key(
            "schedule",
            Shape::Nullable(&Shape::List {
                of: &Shape::Section(&mixture::SCHEDULE),
                what: "entries",
            }),
            "Weights that take the place of the sources' own from a row on.",
        ),
        key(
            "on_bad_record",
            Shape::Choice(&[
                choice("stop", "The run ends with an error that names the record."),
                choice(
                    "skip",
                    "The record is skipped and counted, up to 8 + max_fraction of the \
             records read.",
                )
                .with(&read::SKIP),
            ]),
            "What a record does that cannot be read or understood.",
        ),
        key(
            "limits",
            Shape::Section(&limits::KEYS),
            "What input may use up; what passes a limit is a bad record.",
        ),
        key(
            "workers",
            Shape::Nullable(&between(1, MOST_WORKERS)),
            "Worker threads; null takes the machine's cores. Changes no token.",
        )
        .elsewhere(&["num_workers", "threads", "num_proc"]),
        key(
            "prefetch",
            between(1, MOST_PREFETCH),
            "Batches in the channel. Changes no token.",
        )
        .elsewhere(&["prefetch_factor", "queue_size"]),
        key(
            "io",
            Shape::Choice(&[
                choice("auto", "Maps on local file systems, reads elsewhere."),
                choice(
                    "mmap",
                    "Maps always: a shard that shrinks meanwhile ends the process.",
                ),
                choice("pread", "Reads always."),
            ]),
            "How local shards are read. Changes no token.",
        ),
    ],
};

/// Plain structs of texts and numbers: they have no way to fail, and the tests look.
pub(super) fn json(defaults: &impl Serialize) -> Value {
    serde_json::to_value(defaults).unwrap_or_default()
}

/// Where a key of this name stands, or one that other tools call so: its path.
pub(super) fn anywhere(name: &str) -> Option<String> {
    find(&RECIPE, "", &|key| key.name == name)
        .or_else(|| find(&RECIPE, "", &|key| key.elsewhere.contains(&name)))
}

fn find(section: &Section, path: &str, wanted: &dyn Fn(&Key) -> bool) -> Option<String> {
    section.keys.iter().find_map(|key| {
        let path = join(path, key.name);
        if wanted(key) {
            return Some(path);
        }
        let list = match key.shape.inner() {
            Shape::List { .. } => "[]",
            _ => "",
        };
        let below = key.shape.section()?;
        find(below, &format!("{path}{list}"), wanted)
    })
}

/// The path of a key in the section at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    }
}
