use super::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tokenizers::Tokenizer;

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| Corpus::new().unwrap());

fn tokenizer() -> Tokenizer {
    Tokenizer::from_bytes(CORPUS.tokenizer.as_bytes()).unwrap()
}

fn record(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

fn hash(parts: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for part in parts {
        hasher.update(part.as_ref().as_bytes());
        hasher.update(b"\n");
    }
    format!("{:016x}", hasher.digest())
}

/// The texts, not the stored bytes: those may change with a new zstd, and nothing depends on them.
#[test]
fn texts_and_tokenizer_are_the_same_on_every_machine() {
    assert_eq!(hash(CORPUS.lines()), "bcf60cfa0be948e8");
    assert_eq!(hash([&CORPUS.tokenizer].into_iter()), "7af83063eb7c5ff8");
}

#[test]
fn two_runs_write_the_same_bytes_and_leave_a_changed_file_alone() {
    let [one, two] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = write(one.path()).unwrap();
    let second = write(&two.path().join("made/if/need/be")).unwrap();
    assert_eq!(first.shards.len(), CHAT_SHARDS + SUM_SHARDS);
    assert_eq!(first.records, (CHATS + SUMS) as u64);
    for (a, b) in first.shards.iter().zip(&second.shards) {
        assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap());
    }

    assert_eq!(
        write(one.path()).unwrap(),
        first,
        "again into the same folder"
    );
    fs::write(&first.recipe, "mine").unwrap();
    let error = write(one.path()).unwrap_err().to_string();
    assert!(
        error.contains("recipe.yaml") && error.contains("another folder"),
        "{error}"
    );
    assert_eq!(fs::read(&first.recipe).unwrap(), b"mine");
}

#[test]
fn chats_have_the_variety_that_a_newcomer_should_see() {
    let mut roles: BTreeMap<String, usize> = BTreeMap::new();
    let (mut tools, mut flags, mut shortest, mut longest) = (0, 0, usize::MAX, 0);
    for line in &CORPUS.chats {
        let record = record(line);
        let messages = record["messages"].as_array().unwrap();
        let turns = messages.iter().filter(|m| m["role"] != "system").count();
        (shortest, longest) = (shortest.min(turns), longest.max(turns));
        tools += usize::from(record.get("tools").is_some());
        for message in messages {
            *roles
                .entry(message["role"].as_str().unwrap().to_owned())
                .or_default() += 1;
            flags += usize::from(message.get("train").is_some());
        }
        assert_eq!(messages.last().unwrap()["role"], "assistant");
    }
    assert!((300..600).contains(&tools), "{tools}");
    assert!((50..400).contains(&flags), "{flags}");
    assert_eq!(shortest, 2);
    assert!((12..=18).contains(&longest), "{longest}");
    assert_eq!(
        Vec::from_iter(roles.keys()),
        ["assistant", "system", "tool", "user"]
    );
}

#[test]
fn sums_are_right() {
    for line in &CORPUS.sums {
        let answer = record(line)["completion"][0]["content"]
            .as_str()
            .unwrap()
            .to_owned();
        let (worked, result) = answer.split_once("\n#### ").unwrap();
        let result: u64 = result.parse().unwrap();
        assert!(worked.contains(&format!(" {result}")), "{answer}");
        for equation in worked.split(". ").filter(|part| part.contains(" = ")) {
            let (left, right) = equation.split_once(" = ").unwrap();
            let words: Vec<&str> = left.rsplitn(4, ' ').collect();
            let right: u64 = right
                .split([' ', ',', '.'])
                .next()
                .unwrap()
                .parse()
                .unwrap();
            let [b, a] = [words[0], words[2]].map(|n| n.parse::<u64>().unwrap());
            assert_eq!(
                right,
                if words[1] == "×" { a * b } else { a - b },
                "{equation}"
            );
        }
    }
}

#[test]
fn the_tokenizer_loads_round_trips_and_knows_its_added_tokens() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.get_vocab_size(false), tokenizer::VOCABULARY);
    for line in CORPUS.chats.iter().step_by(40) {
        for text in contents(&record(line)) {
            let ids = tokenizer.encode(text, false).unwrap();
            assert_eq!(tokenizer.decode(ids.get_ids(), false).unwrap(), text);
        }
    }
    let emoji = tokenizer.encode("🦀 ß\u{0}", false).unwrap();
    assert_eq!(
        tokenizer.decode(emoji.get_ids(), false).unwrap(),
        "🦀 ß\u{0}"
    );

    let turn = tokenizer
        .encode("<|im_start|>user\nhi<|im_end|>", false)
        .unwrap();
    assert_eq!(turn.get_ids().first(), Some(&2_049));
    assert_eq!(turn.get_ids().last(), Some(&2_050));
    let config: Value =
        serde_json::from_str(&tokenizer::tokenizer_config(tokenizer::VOCABULARY).unwrap()).unwrap();
    assert_eq!(config["eos_token"], "<|im_end|>");
    assert_eq!(
        tokenizer.token_to_id(config["pad_token"].as_str().unwrap()),
        Some(2_048)
    );
    assert_eq!(
        config["added_tokens_decoder"]["2050"]["content"],
        "<|im_end|>"
    );
}

#[test]
fn the_tokenizer_compresses_as_a_real_one_does() {
    let tokenizer = tokenizer();
    let (mut bytes, mut tokens, mut longest) = (0, 0, 0);
    for line in CORPUS.chats.iter().step_by(7) {
        let mut chat = 0;
        for text in contents(&record(line)) {
            bytes += text.len();
            chat += tokenizer.encode(text, false).unwrap().len();
        }
        tokens += chat;
        longest = longest.max(chat);
    }
    let ratio = bytes as f64 / tokens as f64;
    assert!((3.0..6.0).contains(&ratio), "{ratio} bytes a token");
    assert!(
        longest > 1_024,
        "{longest}: some chats are longer than a row"
    );
}

/// minijinja knows no generation tag; without it the template is plain Jinja.
fn render(context: Value) -> String {
    let template = TEMPLATE
        .replace("{%- generation %}", "")
        .replace("{%- endgeneration %}", "");
    assert!(!template.contains("generation %}"), "a tag was left");
    let mut environment = minijinja::Environment::new();
    let mut syntax = minijinja::syntax::SyntaxConfig::builder();
    environment.set_syntax(
        syntax
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .unwrap(),
    );
    environment.add_template("chat", &template).unwrap();
    environment
        .get_template("chat")
        .unwrap()
        .render(minijinja::Value::deserialize(context).unwrap())
        .unwrap()
}

#[test]
fn the_template_writes_turns() {
    let context = serde_json::json!({
        "messages": [
            { "role": "system", "content": "Be kind." },
            { "role": "user", "content": "Hi" },
            { "role": "assistant", "content": "Hello!" },
            { "role": "user", "content": "More" },
        ],
        "add_generation_prompt": true,
    });
    insta::assert_snapshot!(render(context), @r#"
    <|im_start|>system
    Be kind.<|im_end|>
    <|im_start|>user
    Hi<|im_end|>
    <|im_start|>assistant
    Hello!<|im_end|>
    <|im_start|>user
    More<|im_end|>
    <|im_start|>assistant
    "#);
}

#[test]
fn the_template_writes_tool_calls() {
    let context = serde_json::json!({
        "tools": [{ "type": "function", "function": { "name": "now" } }],
        "messages": [
            { "role": "user", "content": "What time is it?" },
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{ "function": { "name": "now", "arguments": { "zone": "UTC" } } }],
            },
            { "role": "tool", "content": "12:00" },
            { "role": "assistant", "content": "Noon." },
        ],
    });
    insta::assert_snapshot!(render(context), @r#"
    <|im_start|>system
    These functions can be called, one JSON object each:
    {"type": "function", "function": {"name": "now"}}
    To call one, write <tool_call>{"name": …, "arguments": {…}}</tool_call>.<|im_end|>
    <|im_start|>user
    What time is it?<|im_end|>
    <|im_start|>assistant
    <tool_call>{"name": "now", "arguments": {"zone": "UTC"}}</tool_call><|im_end|>
    <|im_start|>tool
    12:00<|im_end|>
    <|im_start|>assistant
    Noon.<|im_end|>
    "#);
}

/// Each answer with its end stands between the tags, and no header does.
#[test]
fn generation_tags_hold_the_answer_and_its_end() {
    let (_, rest) = TEMPLATE.split_once("{%- generation %}").unwrap();
    let (inside, after) = rest.split_once("{%- endgeneration %}").unwrap();
    assert!(inside.contains("message.content") && inside.contains("'<|im_end|>'"));
    assert!(!inside.contains("<|im_start|>"));
    assert!(!after.contains("generation %}"));
}
