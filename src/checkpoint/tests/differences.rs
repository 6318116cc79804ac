//! Every difference is named, and what changes no row is none.

use super::super::fingerprint::Fingerprint;
use super::super::keys::Keys;
use super::super::print::{Form, SourcePrint, TokenizerPrint, hash_of_texts, shard_print};
use super::{recipe, source, state, tokenizer};
use crate::checkpoint::State;
use crate::recipe::{
    FieldLoss, Io, Labels, LossWeights, Markers, MaskConfig, OnBadRecord, OnExhausted, Overlong,
    Recipe, RowKind, ScheduleEntry, Strategy, Train,
};
use crate::shard::{Codec, ShardFile, Stamp};
use std::path::{Path, PathBuf};

struct Stream {
    recipe: Recipe,
    sources: Vec<SourcePrint>,
    tokenizer: TokenizerPrint,
}

impl Stream {
    fn new() -> Self {
        Stream {
            recipe: recipe(&["sgd", "gsm8k"], 64),
            sources: vec![source("sgd", 127), source("gsm8k", 4)],
            tokenizer: tokenizer(),
        }
    }

    fn print(&self) -> Fingerprint {
        Fingerprint::of(&self.recipe, &self.sources, &self.tokenizer)
    }
}

/// The same stream, of a packmill whose examples are of that version.
fn of_version(version: u32) -> Fingerprint {
    let mut print = Stream::new().print();
    let mut keys = Keys::default();
    keys.examples_version(version);
    print.keys.extend(keys.0);
    print
}

#[test]
fn other_examples_are_another_stream_and_other_lengths() {
    let (one, two) = (of_version(1), of_version(2));
    assert_eq!(
        one,
        Stream::new().print(),
        "checkpoints without it are of version 1"
    );
    assert_eq!(
        one.differences(&two),
        ["examples version: 1 in the checkpoint, 2 here"]
    );
    assert_eq!(
        two.differences(&one),
        ["examples version: 2 in the checkpoint, 1 here"]
    );
    assert_ne!(one.examples_of(0), two.examples_of(0));
}

/// What a checkpoint of the plain stream says to the changed one.
fn differences(change: impl FnOnce(&mut Stream)) -> Vec<String> {
    let mut changed = Stream::new();
    change(&mut changed);
    let (then, now) = (Stream::new().print(), changed.print());
    let found = then.differences(&now);
    assert_eq!(then == now, found.is_empty(), "{found:?}");
    found
}

#[track_caller]
fn names(difference: &str, change: impl FnOnce(&mut Stream)) {
    assert_eq!(differences(change), [difference]);
}

#[test]
fn what_changes_no_row_makes_no_difference() {
    let found = differences(|s| {
        s.recipe.epochs = Some(3);
        s.recipe.workers = Some(5);
        s.recipe.prefetch = 9;
        s.recipe.io = Io::Pread;
        s.recipe.batch.rows = 2;
        s.recipe.batch.step_rows = Some(64);
        s.recipe.batch.labels = Labels::Shifted;
        s.recipe.hold = 1 << 40;
        s.recipe.on_bad_record = OnBadRecord::Skip { max_fraction: 0.1 };
        s.recipe.folder = PathBuf::from("elsewhere");
        s.recipe.tokenizer.path = "elsewhere".to_owned();
        s.recipe.template.path = Some(PathBuf::from("copy.jinja"));
        s.recipe.sources[0].paths = vec!["moved/*".to_owned()];
        s.sources[0].shards[0].name = "moved".to_owned();
        // A source's own mask that is the recipe's.
        s.recipe.sources[1].mask = Some(MaskConfig::default());
        // Only looked at with train: markers.
        s.recipe.mask.markers = Some(Markers {
            response: "A".to_owned(),
            instruction: None,
        });
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn keys_of_the_recipe() {
    names("seed: 17 in the checkpoint, 18 in the recipe", |s| {
        s.recipe.seed = 18
    });
    names("lanes: 64 in the checkpoint, 32 in the recipe", |s| {
        s.recipe.lanes = 32
    });
    names(
        "pack.sequence_length: 4096 in the checkpoint, 2048 in the recipe",
        |s| {
            s.recipe.pack.sequence_length = 2048;
        },
    );
    names(
        "pack.overlong: truncate in the checkpoint, split in the recipe",
        |s| {
            s.recipe.pack.overlong = Overlong::Split;
        },
    );
    names(
        "pack.lookahead: 128 in the checkpoint, 64 in the recipe",
        |s| {
            s.recipe.pack.lookahead = 64;
        },
    );
    names(
        "pack.max_segments: none in the checkpoint, 8 in the recipe",
        |s| {
            s.recipe.pack.max_segments = Some(8);
        },
    );
    names(
        "pack.segment_multiple: 1 in the checkpoint, 4 in the recipe",
        |s| {
            s.recipe.pack.segment_multiple = 4;
        },
    );
    assert_eq!(
        differences(|s| s.recipe.pack.strategy = Strategy::None).len(),
        3
    );
    assert_eq!(
        differences(|s| s.recipe.shuffle = false),
        [
            "seed: 17 in the checkpoint, not set in the recipe",
            "shuffle: true in the checkpoint, false in the recipe"
        ]
    );
}

#[test]
fn keys_of_a_source() {
    names(
        "source gsm8k: limit: not set in the checkpoint, 9 in the recipe",
        |s| {
            s.recipe.sources[1].limit = Some(9);
        },
    );
    names(
        "source sgd: kind: auto in the checkpoint, chat in the recipe",
        |s| {
            s.recipe.sources[0].kind = RowKind::Chat;
        },
    );
    names(
        "source sgd: fields.messages: not set in the checkpoint, turns in the recipe",
        |s| {
            s.recipe.sources[0].fields.messages = "turns".to_owned();
        },
    );
    names(
        "source sgd: roles: not set in the checkpoint, {\"human\":\"user\"} in the recipe",
        |s| {
            let roles = &mut s.recipe.sources[0].roles;
            roles.insert("human".to_owned(), "user".to_owned());
        },
    );
    names(
        "source gsm8k: mask.train: assistant in the checkpoint, all in the recipe",
        |s| {
            s.recipe.sources[1].mask = Some(MaskConfig {
                train: Train::All,
                ..MaskConfig::default()
            });
        },
    );
    // The recipe's mask and template are those of every source without its own.
    assert_eq!(differences(|s| s.recipe.mask.end_of_turn = false).len(), 2);
    assert_eq!(
        differences(|s| s.recipe.mask.tool_calls = FieldLoss::Skip),
        ["sgd", "gsm8k"].map(|name| format!(
            "source {name}: mask.tool_calls: not set in the checkpoint, skip in the recipe"
        ))
    );
    assert_eq!(
        differences(|s| s.recipe.mask.weights = LossWeights::Use),
        ["sgd", "gsm8k"].map(|name| format!(
            "source {name}: mask.weights: not set in the checkpoint, use in the recipe"
        ))
    );
    assert_eq!(
        differences(|s| s.recipe.template.system = Some("Be brief.".to_owned())),
        ["sgd", "gsm8k"].map(|name| format!(
            "source {name}: template.system: not set in the checkpoint, \"Be brief.\" in the recipe"
        ))
    );
    names(
        "source sgd: form: held in the checkpoint, streamed here",
        |s| {
            s.sources[0].form = Form::Streamed;
        },
    );
    names("source sgd: the chat template's text differs", |s| {
        s.sources[0].template = Some(hash_of_texts([("", "{{ messages }}")]));
    });
}

#[test]
fn long_values_are_cut_and_hashed() {
    let long = |end: char| {
        differences(|s| {
            let text = format!("{}{end}", "x".repeat(5000));
            s.recipe.template.kwargs.insert("a".to_owned(), text.into());
        })
    };
    let (a, b) = (long('a'), long('b'));
    assert!(a[0].len() < 200 && a[0] != b[0], "{a:?} {b:?}");
}

#[test]
fn kwargs_are_a_set_of_variables() {
    let print = |order: [&str; 2]| {
        let mut stream = Stream::new();
        for key in order {
            let kwargs = &mut stream.recipe.template.kwargs;
            kwargs.insert(key.to_owned(), true.into());
        }
        stream.print()
    };
    assert_eq!(print(["a", "b"]), print(["b", "a"]));
}

#[test]
fn tokenizers() {
    names("tokenizer files differ", |s| s.tokenizer.files = 18);
    names("the tokenizer's special tokens differ", |s| {
        s.tokenizer.special_tokens.clear();
    });
    names("tokenizer.pad: 0 in the checkpoint, 3 here", |s| {
        s.tokenizer.pad = 3
    });
    names("tokenizer.bos: none in the checkpoint, 1 here", |s| {
        s.tokenizer.bos = Some(1)
    });
    names(
        "tokenizer version: tokenizers 0.23.2 in the checkpoint, tokenizers 0.24.0 here",
        |s| s.tokenizer.version = "tokenizers 0.24.0".to_owned(),
    );
}

#[test]
fn sources() {
    names(
        "sources only in the checkpoint: gsm8k, only in the recipe: math",
        |s| {
            s.recipe.sources[1].name = "math".to_owned();
        },
    );
    names(
        "sources come in another order: sgd, gsm8k in the checkpoint, gsm8k, sgd in the recipe",
        |s| {
            s.recipe.sources.reverse();
            s.sources.reverse();
        },
    );
}

#[test]
fn shards() {
    names(
        "source gsm8k: shard 3 differs (gsm8k-00003.jsonl.zst)",
        |s| {
            s.sources[1].shards[3].hash += 1;
        },
    );
    names(
        "source gsm8k: shard 0 differs (gsm8k-00000.jsonl.zst): 1000000000 bytes in the checkpoint, \
         1000000001 here",
        |s| s.sources[1].shards[0].bytes += 1,
    );
    names(
        "source sgd: one or more of the shards 111 to 126 differ (sgd-00111.jsonl.zst, …)",
        |s| s.sources[0].shards[126].hash += 1,
    );
    names("source sgd: 127 shards in the checkpoint, 126 here", |s| {
        s.sources[0].shards.pop();
    });
    // Every shard is in a group.
    for shard in 0..127 {
        let found = differences(|s| s.sources[0].shards[shard].hash += 1);
        assert_eq!(found.len(), 1, "shard {shard}: {found:?}");
    }
    // The same shards in another order are others.
    assert_eq!(differences(|s| s.sources[0].shards.swap(0, 1)).len(), 1);
}

#[test]
fn a_fingerprint_that_was_saved_names_the_same_differences() {
    let saved = state(&["sgd", "gsm8k"], 64, 0, 1, 0);
    let read = State::parse(&saved.to_text(), Path::new("file")).unwrap();
    let mut now = Stream::new();
    now.sources = vec![source("sgd", 3), source("gsm8k", 3)];
    assert!(read.fingerprint.differences(&now.print()).is_empty());
    now.sources[1].shards[1].hash += 1;
    assert_eq!(
        read.fingerprint.differences(&now.print()),
        ["source gsm8k: shard 1 differs (gsm8k-00001.jsonl.zst)"]
    );
}

#[test]
fn a_shards_print_follows_all_that_it_is_made_of() {
    let file = |size_bytes, codec| ShardFile {
        path: PathBuf::new(),
        name: "a".to_owned(),
        stamp: Stamp {
            size_bytes,
            modified_s: 0,
            modified_ns: 0,
            device: 0,
            inode: 0,
        },
        codec,
    };
    let plain = || file(9, Codec::Plain);
    let frames = |end, decoded| [(0..end, decoded)];
    let prints = [
        shard_print(&plain(), b"head", b"tail", []),
        shard_print(&file(10, Codec::Plain), b"head", b"tail", []),
        shard_print(&file(9, Codec::Zstd), b"head", b"tail", []),
        shard_print(&file(9, Codec::Gzip), b"head", b"tail", []),
        shard_print(&plain(), b"Head", b"tail", []),
        shard_print(&plain(), b"head", b"tails", []),
        shard_print(&plain(), b"headt", b"ail", []),
        shard_print(&plain(), b"head", b"tail", frames(4, None)),
        shard_print(&plain(), b"head", b"tail", frames(5, None)),
        shard_print(&plain(), b"head", b"tail", frames(4, Some(7))),
    ];
    let different: std::collections::BTreeSet<u64> = prints.into_iter().collect();
    assert_eq!(different.len(), prints.len());
    let mut touched = plain();
    touched.stamp.modified_s = 7;
    touched.stamp.inode = 8;
    touched.name = "b".to_owned();
    assert_eq!(shard_print(&touched, b"head", b"tail", []), prints[0]);
    assert_ne!(hash_of_texts([("a", "bc")]), hash_of_texts([("ab", "c")]));
}

#[test]
fn a_mixture_is_told_by_its_weights_its_schedule_and_its_end() {
    let mixture = |change: &dyn Fn(&mut Recipe)| {
        let mut stream = Stream::new();
        for source in &mut stream.recipe.sources {
            source.weight = Some(1_000_000);
        }
        let weights = [("sgd".to_owned(), 2_000_000)].into();
        stream.recipe.schedule = vec![ScheduleEntry { row: 9, weights }];
        change(&mut stream.recipe);
        stream.print()
    };
    let then = mixture(&|_| {});
    let differences = |change: &dyn Fn(&mut Recipe)| then.differences(&mixture(change));
    let none: [&str; 0] = [];
    // Not named is 0.
    let zero = |recipe: &mut Recipe| {
        let weights = &mut recipe.schedule[0].weights;
        weights.insert("gsm8k".to_owned(), 0);
    };
    assert_eq!(differences(&zero), none);
    assert_eq!(
        differences(&|recipe| recipe.sources[1].weight = Some(500_000)),
        ["source gsm8k: weight in millionths: 1000000 in the checkpoint, 500000 in the recipe"]
    );
    assert_eq!(
        differences(&|recipe| recipe.on_exhausted = OnExhausted::Stop),
        ["on_exhausted: repeat in the checkpoint, stop in the recipe"]
    );
    assert_eq!(
        differences(&|recipe| recipe.schedule[0].row = 10),
        [
            "schedule in millionths: {\"9\":{\"sgd\":2000000}} in the checkpoint, {\"10\":{\"sgd\":2000000}} \
             in the recipe"
        ]
    );
    assert_eq!(differences(&|recipe| recipe.schedule.clear()).len(), 1);
    // Without weights the other keys say nothing.
    assert_ne!(then, Stream::new().print());
    let mut stop = Stream::new();
    stop.recipe.on_exhausted = OnExhausted::Stop;
    assert_eq!(stop.print(), Stream::new().print());
}
