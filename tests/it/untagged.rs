//! Spans of templates without generation tags: those of TRL that have a tagged twin give the twin's spans or are refused.
//!
//! Needs the templates of the TRL package where the reference is installed (`PACKMILL_ORACLE`, by default
//! `~/.cache/packmill-oracle`) and the corpora (`PACKMILL_CORPORA`, by default `../shared/corpora`). Without them nothing is compared, and the test says so.
//! `PACKMILL_TWIN_ROWS` sets how many rows of each corpus are rendered (300). No tokenizer is needed: spans are compared
//! in bytes of the text, which are the same tokens under any.

use packmill::recipe::{FieldLoss, SourceConfig};
use packmill::render::row::{Row, RowReader};
use packmill::render::{ChatTemplate, Conversation, Ending, TemplateContext};
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The templates' folder, or what is missing.
fn templates() -> Result<PathBuf, String> {
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let oracle = std::env::var_os("PACKMILL_ORACLE")
        .map_or(home.join(".cache/packmill-oracle"), PathBuf::from);
    let lib = oracle.join("venv-trl/lib");
    let missing = |_| format!("{} is not here", lib.display());
    for python in std::fs::read_dir(&lib).map_err(missing)? {
        let folder = python
            .map_err(missing)?
            .path()
            .join("site-packages/trl/chat_templates");
        if folder.exists() {
            return Ok(folder);
        }
    }
    Err(format!("no TRL in {}", lib.display()))
}

/// The first rows of a corpus as conversations.
fn rows(corpus: &str, count: usize) -> Result<Vec<Conversation>, String> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora");
    let folder = std::env::var_os("PACKMILL_CORPORA").map_or(beside, PathBuf::from);
    let missing = |_| format!("{} is not here", folder.display());
    let mut shards: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map_err(missing)?
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.strip_prefix(corpus)
                .is_some_and(|rest| rest.starts_with(['-', '.']))
        })
        .collect();
    shards.sort();
    let reader = RowReader::new(&SourceConfig::default(), None);
    let mut rows = Vec::new();
    for shard in shards {
        let mut text = String::new();
        let file = std::fs::File::open(shard).unwrap();
        zstd::Decoder::new(file)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        for line in text.lines().take(count - rows.len()) {
            rows.push(match reader.read(line.as_bytes()).unwrap() {
                Row::Chat(chat) => chat,
                Row::ChatCompletion { conversation, .. } => conversation,
                _ => panic!("{corpus} holds no chats"),
            });
        }
    }
    Ok(rows)
}

/// The same with contents as lists of parts, which some templates take alone.
fn in_parts(conversation: &Conversation) -> Conversation {
    let mut conversation = conversation.clone();
    for message in &mut conversation.messages {
        let Ok(pairs) = message
            .value
            .as_object()
            .unwrap()
            .try_iter_pairs()
            .ok_or(())
        else {
            continue;
        };
        message.value = minijinja::Value::from_pairs(pairs.map(|(key, item)| {
            let part =
                |text: &str| minijinja::Value::from_pairs([("type", "text"), ("text", text)]);
            match (key.as_str(), item.as_str()) {
                (Some("content"), Some(text)) => {
                    (key.clone(), minijinja::Value::from(vec![part(text)]))
                }
                _ => (key, item),
            }
        }));
    }
    conversation
}

fn compile(folder: &Path, name: &str) -> ChatTemplate {
    let source = std::fs::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
    let context = TemplateContext {
        now: Some("2026-11-24T00:00:00".to_owned()),
        special_tokens: [
            ("bos_token", "<bos>"),
            ("eos_token", "<eos>"),
            ("pad_token", "<pad>"),
        ]
        .map(|(name, token)| (name.to_owned(), token.to_owned()))
        .to_vec(),
        ..TemplateContext::default()
    };
    ChatTemplate::compile(&source, context).unwrap()
}

/// Spans that touch joined, empty ones gone.
fn joined(spans: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut joined: Vec<Range<usize>> = Vec::new();
    for span in spans.iter().filter(|span| !span.is_empty()) {
        match joined.last_mut() {
            Some(last) if last.end == span.start => last.end = span.end,
            _ => joined.push(span.clone()),
        }
    }
    joined
}

#[derive(Default)]
struct Count {
    rows: usize,
    comparable: usize,
    given: usize,
    different: usize,
    refused: Option<String>,
    /// Rows whose tool calls can be left out, of those that have some.
    cut: (usize, usize),
}

impl Count {
    fn add(&mut self, tagged: &ChatTemplate, untagged: &ChatTemplate, conversation: &Conversation) {
        self.rows += 1;
        let render = |template: &ChatTemplate| template.render(conversation, Ending::Whole);
        let (Ok(expected), Ok(plain)) = (render(tagged), render(untagged)) else {
            return;
        };
        if expected.text != plain.text {
            return;
        }
        self.comparable += 1;
        match untagged.turns(conversation, &plain) {
            Ok(turns) => {
                self.given += 1;
                let (own, twins) = (joined(&turns.spans), joined(&expected.spans));
                if own != twins {
                    self.different += 1;
                    if self.different == 1 {
                        let shown = |spans: &[Range<usize>]| -> Vec<String> {
                            let cut = |span: &Range<usize>| plain.text[span.clone()].to_owned();
                            spans.iter().map(cut).collect()
                        };
                        eprintln!(
                            "different: {:#?}\nthe twin's: {:#?}",
                            shown(&own),
                            shown(&twins)
                        );
                    }
                }
                let calls = |m: &packmill::render::Message| {
                    m.value.get_attr("tool_calls").is_ok_and(|c| c.is_true())
                };
                if conversation.messages.iter().any(calls) {
                    let cut = |template: &ChatTemplate, rendered| {
                        let turns = template.turns(conversation, rendered).ok()?;
                        let skip = FieldLoss::Skip;
                        let parts = template
                            .without_fields(conversation, rendered, &turns, skip, skip)
                            .ok()?;
                        let spans: Vec<_> = parts.iter().map(|(span, _)| span.clone()).collect();
                        Some(joined(&spans))
                    };
                    let (own, twins) = (cut(untagged, &plain), cut(tagged, &expected));
                    if let (Some(own), Some(twins)) = (&own, &twins) {
                        assert_eq!(own, twins);
                    }
                    self.cut.1 += 1;
                    self.cut.0 += usize::from(own.is_some());
                }
                let tagged_owners = tagged.owners(conversation, &expected);
                if let (Ok(owners), true) = (tagged_owners, turns.spans == expected.spans) {
                    assert_eq!(turns.owners, owners);
                }
            }
            Err(error) => self.refused = self.refused.take().or(Some(error.to_string())),
        }
    }

    fn enough(&self) -> bool {
        self.given * 100 >= self.comparable * 95
    }
}

#[test]
fn untagged_templates_give_their_twins_spans() {
    let count = std::env::var("PACKMILL_TWIN_ROWS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(300);
    let loaded = templates().and_then(|folder| {
        let corpora = ["sgd_tools", "gsm8k"].map(|corpus| rows(corpus, count));
        let [tools, gsm8k] = corpora;
        Ok((folder, [tools?, gsm8k?]))
    });
    let (folder, corpora) = match loaded {
        Ok(loaded) => loaded,
        Err(reason) => {
            eprintln!("the reference is not installed, so nothing was compared: {reason}");
            return;
        }
    };
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| Some(name.strip_suffix("_training.jinja")?.to_owned()))
        .filter(|name| folder.join(format!("{name}.jinja")).exists())
        .collect();
    names.sort();
    assert!(!names.is_empty());
    eprintln!(
        "| template | sgd_tools | gsm8k | in parts: sgd_tools | gsm8k | different | calls left out |"
    );
    let (mut templates, mut enough, mut different) = (0, 0, 0);
    for name in &names {
        let tagged = compile(&folder, &format!("{name}_training"));
        let untagged = compile(&folder, name);
        assert!(tagged.has_generation_tags() && !untagged.has_generation_tags());
        let mut counts: [Count; 4] = Default::default();
        for (index, corpus) in corpora.iter().enumerate() {
            for conversation in corpus {
                counts[index].add(&tagged, &untagged, conversation);
                counts[index + 2].add(&tagged, &untagged, &in_parts(conversation));
            }
        }
        let unlike: usize = counts.iter().map(|count| count.different).sum();
        let cell = |count: &Count| match count.comparable {
            0 => "–".to_owned(),
            comparable => format!("{} of {comparable}", count.given),
        };
        let cut = counts
            .iter()
            .map(|count| count.cut)
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let cells: Vec<String> = counts.iter().map(cell).collect();
        eprintln!(
            "| {name} | {} | {unlike} | {} of {} |",
            cells.join(" | "),
            cut.0,
            cut.1
        );
        if let Some(refused) = counts.iter().find_map(|count| count.refused.as_ref()) {
            eprintln!("  {name}: {refused}");
        }
        templates += 1;
        enough += usize::from(counts.iter().all(Count::enough));
        different += unlike;
        // Contents in parts may be printed as Python prints lists, private characters escaped.
        let as_they_are = counts
            .iter()
            .take(2)
            .all(|count| count.cut.0 == count.cut.1);
        assert!(as_they_are, "{name}: tool calls cannot be left out");
    }
    eprintln!("{enough} of {templates} templates give spans on at least 95% of the rows");
    assert_eq!(different, 0, "no span may differ from the twin's");
    assert!(enough * 100 >= templates * 95);
}
