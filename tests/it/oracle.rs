//! Equality with the reference (Transformers and TRL), where it is installed beside the project.
//!
//! Needs `../shared/oracle` and the environments that its `setup` makes (`PACKMILL_ORACLE`, by default
//! `~/.cache/packmill-oracle`), and tokenizers (`PACKMILL_TOKENIZERS`, by default `~/.cache/packmill-tokenizers`). Without them
//! nothing is compared, and the tests say so. `PACKMILL_ORACLE_ROWS` sets how many rows of each corpus are compared (40),
//! `PACKMILL_ORACLE_TEMPLATES=all` compares every training template of the TRL package.

use packmill::Recipe;
use packmill::pipeline::Samples;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Oracle {
    shared: PathBuf,
    environments: PathBuf,
    tokenizers: PathBuf,
    templates: PathBuf,
    rows: usize,
}

impl Oracle {
    /// The reference, or the reason why it is not here.
    fn find() -> Result<Self, String> {
        let there = |path: PathBuf| {
            if path.exists() {
                Ok(path)
            } else {
                Err(format!("{} is not here", path.display()))
            }
        };
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
        let from = |name: &str, default: &str| {
            std::env::var_os(name).map_or(home.join(default), PathBuf::from)
        };
        let shared = there(Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"))?;
        there(shared.join("oracle/oracle.py"))?;
        let environments = there(from("PACKMILL_ORACLE", "packmill-oracle"))?;
        for environment in ["venv-trl", "venv-collator"] {
            there(environments.join(environment).join("bin/python"))?;
        }
        let tokenizers = there(from("PACKMILL_TOKENIZERS", "packmill-tokenizers"))?;
        there(tokenizers.join("qwen3/tokenizer.json"))?;
        let packages = there(environments.join("venv-trl/lib"))?;
        let python = std::fs::read_dir(packages)
            .ok()
            .and_then(|mut dir| dir.next()?.ok())
            .ok_or("no packages")?;
        let templates = there(python.path().join("site-packages/trl/chat_templates"))?;
        let rows = std::env::var("PACKMILL_ORACLE_ROWS")
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(40);
        Ok(Oracle {
            shared,
            environments,
            tokenizers,
            templates,
            rows,
        })
    }

    /// The first rows of a corpus, decompressed.
    fn rows(&self, corpus: &str) -> String {
        let mut shards: Vec<PathBuf> = std::fs::read_dir(self.shared.join("corpora"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| {
                let name = p.file_name().unwrap().to_string_lossy().into_owned();
                let rest = name.strip_prefix(corpus);
                rest.is_some_and(|rest| {
                    rest == ".jsonl.zst" || (rest.starts_with('-') && rest.ends_with(".jsonl.zst"))
                })
            })
            .collect();
        shards.sort();
        let mut lines = String::new();
        let mut count = 0;
        for shard in shards {
            let mut text = String::new();
            zstd::Decoder::new(std::fs::File::open(shard).unwrap())
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            for line in text.split_inclusive('\n') {
                if count == self.rows {
                    return lines;
                }
                lines.push_str(line);
                count += 1;
            }
        }
        lines
    }

    /// Compares every row, and gives how many rows the reference could render.
    fn compare(&self, case: &Case) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let corpus = dir.path().join("rows.jsonl");
        let rows = self.rows(case.corpus);
        std::fs::write(&corpus, (case.rows)(&rows)).unwrap();
        let template = self.templates.join(format!("{}.jinja", case.template));
        let tokenizer = self.tokenizers.join(case.tokenizer);
        let environment = if case.mode == "collator" {
            "venv-collator"
        } else {
            "venv-trl"
        };
        let output = dir.path().join("reference.jsonl");
        let mut command = Command::new(self.environments.join(environment).join("bin/python"));
        command
            .arg(self.shared.join("oracle/oracle.py"))
            .args(["--mode", case.mode]);
        command
            .arg("--tokenizer")
            .arg(&tokenizer)
            .arg("--template")
            .arg(&template);
        command
            .arg("--corpus")
            .arg(&corpus)
            .arg("--output")
            .arg(&output);
        if case.mode == "collator" {
            command.args(["--response-template", "<|im_start|>assistant\n"]);
            command.args(["--instruction-template", "<|im_start|>user\n"]);
        }
        assert!(command.status().unwrap().success());
        let mask = match case.mode {
            "collator" => {
                r#"{train: markers, markers: {response: "<|im_start|>assistant\n", instruction: "<|im_start|>user\n"}}"#.to_owned()
            }
            mode => format!("{{train: {mode}}}"),
        };
        // Templates that print the date print the reference's own.
        let today = Command::new("date").arg("+%Y-%m-%d").output().unwrap();
        let today = String::from_utf8(today.stdout).unwrap();
        let today = today.trim();
        let text = format!(
            "version: 1\ntokenizer: {tokenizer:?}\ntemplate: {{path: {template:?}, now: {today}T00:00:00}}\nmask: {mask}\nsources:\n  - name: c\n    paths: [rows.jsonl]\non_bad_record: {{skip: {{max_fraction: 1}}}}\n"
        );
        let recipe = Recipe::parse(&text, dir.path()).unwrap_or_else(|faults| panic!("{faults}"));
        let model = crate::corpus::model(&recipe);
        let reference: Vec<Value> = std::fs::read_to_string(output)
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        let (mut rows, mut compared, mut equal, mut wrong) = (0, 0, 0, 0);
        for (sample, expected) in Samples::open(&recipe, &model, dir.path())
            .unwrap()
            .zip(&reference)
        {
            let sample = sample.unwrap();
            rows += 1;
            if expected.get("error").is_some() {
                continue; // the reference cannot render it; whether we can is not its matter
            }
            compared += 1;
            let ids: Vec<i64> = expected["input_ids"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_i64().unwrap())
                .collect();
            let labels: Vec<i64> = expected["labels"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_i64().unwrap())
                .collect();
            let same = match &sample.content {
                Ok(example) => {
                    let own = example.ids.iter().map(|&id| i64::from(id));
                    own.eq(ids.iter().copied()) && own_labels(example) == labels
                }
                Err(_) => labels.iter().skip(1).all(|&label| label == -100),
            };
            let fault = || {
                let example = sample.content.as_ref().ok()?;
                reference_fault(case, &example.ids, &own_labels(example), &ids, &labels)
            };
            if same {
                equal += 1;
            } else if let Some(why) = fault() {
                wrong += 1;
                if wrong == 1 {
                    eprintln!(
                        "the reference is wrong in {case:?} row {}: {why}",
                        expected["row"]
                    );
                }
            } else if equal + wrong + 1 == compared {
                eprintln!("first difference: {case:?} row {}", expected["row"]);
            }
        }
        eprintln!(
            "{case:?}: {rows} rows in, {compared} compared, {equal} equal, {wrong} where the reference is wrong"
        );
        assert!(rows > 0, "{case:?}: no rows");
        assert_eq!(equal + wrong, compared, "{case:?}");
        compared
    }
}

#[derive(Clone, Copy)]
struct Case<'a> {
    mode: &'a str,
    tokenizer: &'a str,
    template: &'a str,
    corpus: &'a str,
    /// What is made of the corpus's lines.
    rows: fn(&str) -> String,
}

impl Case<'_> {
    /// Whether the template is one of those that take no row of the corpus.
    fn may_refuse(&self) -> bool {
        match self.template {
            "gemma_training" | "llava_next_training" => true,
            "cohere_training" | "cohere2_training" | "gemma3_training" | "idefics3_training"
            | "smolvlm_training" => self.corpus == "sgd_tools",
            _ => false,
        }
    }
}

impl std::fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Case {
            mode,
            tokenizer,
            template,
            corpus,
            ..
        } = self;
        write!(f, "{mode}, {tokenizer}, {template}, {corpus}")
    }
}

/// Contents as lists of parts, which some templates take alone.
fn in_parts(rows: &str) -> String {
    let mut lines = String::new();
    for line in rows.lines() {
        let mut row: Value = serde_json::from_str(line).unwrap();
        for message in row["messages"].as_array_mut().unwrap() {
            if let Some(text) = message["content"].as_str() {
                message["content"] = serde_json::json!([{"type": "text", "text": text}]);
            }
        }
        lines.push_str(&row.to_string());
        lines.push('\n');
    }
    lines
}

/// The aligned labels of an example that is whole.
fn own_labels(example: &packmill::Example) -> Vec<i64> {
    let mut labels = vec![-100; example.ids.len()];
    for span in &example.trained {
        for at in span.start as usize..span.end as usize {
            labels[at] = i64::from(example.ids[at]);
        }
    }
    labels
}

/// Why labels that differ from the reference's are right nevertheless, where they are known to be.
///
/// R15, a span without text: `diffusion_gemma_training` opens a generation block around the empty content of a
/// message that only calls tools. The reference takes the token at the span's start to the one at its end - 1 for
/// trained; where one token straddles that place, as `><` does between `<tool_response|>` and `<|turn>model`, both are
/// that token, and the end of a tool's answer is learnt. A span without text has no token to train.
fn reference_fault(
    case: &Case,
    own_ids: &[u32],
    own: &[i64],
    ids: &[i64],
    labels: &[i64],
) -> Option<&'static str> {
    let empty_spans = case.template == "diffusion_gemma_training" && case.corpus == "sgd_tools";
    let same_ids = own_ids
        .iter()
        .map(|&id| i64::from(id))
        .eq(ids.iter().copied());
    if !empty_spans || !same_ids {
        return None;
    }
    let mut at = (0..own.len()).filter(|&at| own[at] != labels[at]);
    let straddling = |at: usize| {
        let alone = |at: usize| labels.get(at).is_none_or(|&label| label == -100);
        own[at] == -100 && at > 0 && alone(at - 1) && alone(at + 1)
    };
    at.all(straddling)
        .then_some("R15: an empty span trains the token that straddles its place")
}

fn check(cases: &[Case<'_>]) {
    let oracle = match Oracle::find() {
        Ok(oracle) => oracle,
        Err(reason) => {
            eprintln!("the reference is not installed, so nothing was compared: {reason}");
            return;
        }
    };
    for case in cases {
        if !oracle.tokenizers.join(case.tokenizer).exists() {
            eprintln!(
                "tokenizer {} is not here, so {case:?} was not compared",
                case.tokenizer
            );
            continue;
        }
        let compared = oracle.compare(case);
        // Templates refuse whole corpora: no tools, no system message, contents in parts only.
        assert!(
            compared > 0 || case.may_refuse(),
            "{case:?}: the reference renders no row"
        );
    }
}

fn assistant<'a>(template: &'a str, corpus: &'a str) -> Case<'a> {
    Case {
        mode: "assistant",
        tokenizer: "qwen3",
        template,
        corpus,
        rows: str::to_owned,
    }
}

#[test]
fn assistant_spans() {
    check(&[
        assistant("qwen3_training", "sgd"),
        assistant("qwen3_training", "sgd_tools"),
    ]);
}

#[test]
fn completion() {
    check(&[Case {
        mode: "completion",
        ..assistant("qwen3_training", "gsm8k")
    }]);
}

#[test]
fn collator_markers() {
    check(&[Case {
        mode: "collator",
        ..assistant("qwen3_training", "sgd")
    }]);
}

#[test]
fn other_tokenizers() {
    for corpus in ["sgd", "sgd_tools"] {
        for (tokenizer, template) in [
            ("llama3_1", "llama3_training"),
            ("deepseek_v3", "deepseekv3_training"),
            // The templates of models that were made with this tokenizer; it has none of its own.
            ("llama2", "phi3_training"),
        ] {
            check(&[Case {
                tokenizer,
                ..assistant(template, corpus)
            }]);
        }
    }
    check(&[Case {
        tokenizer: "llama2",
        rows: in_parts,
        ..assistant("llava_next_training", "sgd")
    }]);
}

#[test]
fn training_templates() {
    let all = std::env::var("PACKMILL_ORACLE_TEMPLATES").is_ok_and(|v| v == "all");
    let mut names: Vec<String> = vec![
        "gptoss_training".to_owned(),
        "deepseekv3_training".to_owned(),
    ];
    if let (true, Ok(oracle)) = (all, Oracle::find()) {
        names = std::fs::read_dir(&oracle.templates)
            .unwrap()
            .filter_map(|e| {
                e.unwrap()
                    .file_name()
                    .to_string_lossy()
                    .strip_suffix(".jinja")
                    .map(str::to_owned)
            })
            .filter(|name| name.ends_with("_training"))
            .collect();
        names.sort();
    }
    for name in &names {
        check(&[assistant(name, "sgd"), assistant(name, "sgd_tools")]);
    }
}
