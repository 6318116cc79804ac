//! A configuration that is taken apart, and the recipe that comes of it.

use super::{About, Beside, Converted, Keys, Note};
use serde_json::{Map, Value, json};

/// Keys that begin with these, or are these, are a trainer's in every dialect: named in one line.
const TRAINERS: &[&str] = &[
    "accelerator_config",
    "activation_offloading",
    "adam",
    "adapter",
    "amp",
    "bf16",
    "ddp",
    "debug",
    "deepspeed",
    "do_",
    "early_stopping",
    "eval_",
    "evals_",
    "evaluation_",
    "finetuning_type",
    "flash_attn",
    "flash_attention",
    "fp16",
    "fsdp",
    "full_determinism",
    "gradient_checkpointing",
    "half_precision",
    "hub_",
    "include_",
    "learning_rate",
    "load_best",
    "load_in",
    "local_rank",
    "log",
    "lora",
    "lr_",
    "max_grad_norm",
    "max_steps",
    "metric_",
    "mlflow",
    "model_init_kwargs",
    "neftune",
    "optim",
    "output_dir",
    "overwrite_output_dir",
    "peft",
    "plot_loss",
    "push_to_hub",
    "quantization",
    "ray_",
    "report_to",
    "resume",
    "rope_scaling",
    "run_name",
    "save_",
    "saves_",
    "stage",
    "swanlab",
    "tf32",
    "torch",
    "trust_remote_code",
    "use_",
    "wandb",
    "warmup",
    "weight_decay",
    "xformers",
    "special_",
    "strict",
    "liger",
    "bnb",
    "auto_resume",
    "dataloader",
    "project",
    "parallelism_config",
    "average_tokens",
    "auto_find",
    "batch_eval",
    "disable_tqdm",
    "ignore_data_skip",
    "jit_mode",
    "label_",
    "length_column",
    "mp_parameters",
    "past_index",
    "per_device_eval",
    "prediction_loss",
    "remove_unused",
    "restore_callback",
    "skip_memory",
    "trackio",
    "train_sampling",
    "vllm",
    "router_aux",
    "greater_is_better",
    "enable_jit",
    "gradient_clipping",
    "hf_",
    "revision",
    "tokenizer_type",
    "model_type",
    "is_",
    "lisa",
    "unfrozen",
    "comet",
    "gc_steps",
    "sdp_attention",
    "eager_attention",
    "attn_implementation",
    "group_by_modality",
];

/// What is left of the configuration, and what has been written.
pub(super) struct Draft {
    config: Map<String, Value>,
    pub(super) beside: Beside,
    recipe: Map<String, Value>,
    notes: Vec<Note>,
}

impl Draft {
    pub(super) fn new(config: Map<String, Value>, beside: Beside) -> Draft {
        let mut recipe = Map::new();
        recipe.insert("version".to_owned(), json!(1));
        Draft {
            config,
            beside,
            recipe,
            notes: Vec::new(),
        }
    }

    // The configuration

    /// Takes a key; null is as if it were not there.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        // In the order written, for the notes.
        self.config
            .shift_remove(key)
            .filter(|value| !value.is_null())
    }

    /// Takes a text; another value is noted.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.typed(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// Takes a true or false; another value is noted.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// Takes an integer of at least 0; another value is noted. `3.0` and `1e4` are integers too.
    pub(super) fn count(&mut self, key: &str) -> Option<u64> {
        self.typed(key, "an integer", count_of)
    }

    fn typed<T>(
        &mut self,
        key: &str,
        wanted: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let found = read(&value);
        if found.is_none() {
            self.no_equal(key, format!("`{value}` is not {wanted}"));
        }
        found
    }

    /// Takes a key that packmill has no use for, because it does the same without it.
    pub(super) fn needless(&mut self, keys: &[&str], why: &str) {
        let mut taken = Vec::new();
        for key in keys {
            if self.take(key).is_some_and(|value| value != json!(false)) {
                taken.push(*key);
            }
        }
        if !taken.is_empty() {
            self.otherwise(&taken.join(", "), why);
        }
    }

    // The recipe

    /// Writes a key: `pack.sequence_length`.
    pub(super) fn set(&mut self, path: &str, value: impl Into<Value>) {
        let mut map = &mut self.recipe;
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            if steps.peek().is_none() {
                map.insert(step.to_owned(), value.into());
                return;
            }
            let below = map.entry(step).or_insert_with(|| json!({}));
            let Value::Object(next) = below else { return };
            map = next;
        }
    }

    /// Writes the tokenizer's folder or Hub id.
    pub(super) fn tokenizer(&mut self, path: Option<String>, from: &str) {
        match path {
            Some(path) => self.set("tokenizer.path", path),
            None => self.missing(from, "give `tokenizer` the model's folder or Hub id"),
        }
    }

    /// Rows a micro-batch, and of a step: what a device takes at a time, times accumulation, times ranks.
    pub(super) fn rows(&mut self, rows: u64, accumulation: u64) {
        self.set("batch.rows", rows);
        if accumulation > 1 {
            let ranks = self.beside.world_size.unwrap_or(1);
            let of_all = rows
                .checked_mul(accumulation)
                .and_then(|rows| rows.checked_mul(ranks));
            match of_all {
                Some(rows) => self.set("batch.step_rows", rows),
                None => self.no_equal("the rows of a step", "their number has more than 64 bits"),
            }
            if self.beside.world_size.is_none() {
                let says = "batch.step_rows counts the rows of all ranks: it is for one, multiply it by the number of ranks";
                self.missing("the number of ranks", says);
            }
        }
    }

    /// Passes over the corpus, which all ranks end together; without end where the trainer counts steps (`max_steps`, of
    /// which -1 is none).
    pub(super) fn epochs_or_steps(&mut self, key: &str, default: u64) {
        let steps = self.take("max_steps").as_ref().and_then(count_of);
        let epochs = self.take(key);
        if steps.is_some_and(|steps| steps > 0) {
            return;
        }
        let epochs = epochs.unwrap_or_else(|| json!(default));
        match count_of(&epochs).filter(|count| *count > 0) {
            Some(epochs) => {
                self.set("epochs", epochs);
                // The plan under which epochs end on several ranks.
                self.set("plan", "global");
            }
            None => self.no_equal(
                key,
                format!("{epochs} epochs: end the trainer after as many steps"),
            ),
        }
    }

    /// What is held out: the share under `key`, and under `others` data sets of their own, which have no equal.
    pub(super) fn held_out(&mut self, key: &str, others: &str) {
        match self.take(key).map(|size| size.as_f64()) {
            None | Some(Some(0.0)) => {}
            Some(Some(share)) if share < 1.0 => {
                self.set("split", json!({"fraction": share}));
                self.otherwise(key, "a hash of each record decides whether it is held out, so the share is about as large");
            }
            _ => self.no_equal(
                key,
                "a number of records: give split.fraction the share that they are",
            ),
        }
        if self.take(others).is_some() {
            self.no_equal(
                others,
                "split holds out of the sources; stream other files by a recipe of their own",
            );
        }
    }

    /// Takes epochs back, where sources are drawn by weights.
    pub(super) fn without_epochs(&mut self, keys: &str, says: &str) {
        self.recipe.shift_remove("epochs");
        self.recipe.shift_remove("plan");
        self.otherwise(keys, says);
    }

    // Notes

    pub(super) fn missing(&mut self, keys: &str, says: impl Into<String>) {
        self.note(keys, About::Missing, says);
    }

    pub(super) fn no_equal(&mut self, keys: &str, says: impl Into<String>) {
        self.note(keys, About::NoEqual, says);
    }

    pub(super) fn otherwise(&mut self, keys: &str, says: impl Into<String>) {
        self.note(keys, About::Otherwise, says);
    }

    fn note(&mut self, keys: &str, about: About, says: impl Into<String>) {
        self.notes.push(Note {
            keys: keys.to_owned(),
            about,
            says: says.into(),
        });
    }

    /// Notes what nobody took.
    pub(super) fn finish(mut self) -> Converted {
        let is_trainers = |key: &String| TRAINERS.iter().any(|begin| key.starts_with(begin));
        let keys = std::mem::take(&mut self.config).into_iter();
        let keys = keys
            .filter(|(_, value)| !value.is_null())
            .map(|(key, _)| key);
        let (trainers, others): (Vec<_>, Vec<_>) = keys.partition(is_trainers);
        if self.beside.keys == Keys::Written {
            for key in others {
                self.no_equal(&key, "");
            }
            if !trainers.is_empty() {
                self.note(&trainers.join(", "), About::Trainer, "");
            }
        }
        Converted {
            recipe: Value::Object(self.recipe),
            notes: self.notes,
        }
    }
}

/// An integer of at least 0, also where it is written as a float.
pub(super) fn count_of(value: &Value) -> Option<u64> {
    let float = || {
        value
            .as_f64()
            .filter(|float| float.fract() == 0.0 && (0.0..9e15).contains(float))
    };
    value.as_u64().or_else(|| float().map(|float| float as u64))
}

/// Whether a data set's path names files here, rather than one on the Hub.
pub(super) fn is_file(path: &str) -> bool {
    const ENDINGS: &[&str] = &[
        ".json", ".jsonl", ".parquet", ".arrow", ".zst", ".gz", ".txt", ".csv",
    ];
    path.starts_with(['/', '.', '~']) || ENDINGS.iter().any(|ending| path.ends_with(ending))
}

/// A source's name, of letters that say where it comes from, that none of the others has.
pub(super) fn name_of(path: &str, others: &[Value]) -> String {
    let last = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path);
    let stem = last.split('.').next().unwrap_or(last);
    let stem = if stem.is_empty() || stem.contains('*') {
        "data"
    } else {
        stem
    };
    let taken = |name: &str| others.iter().any(|other| other["name"] == name);
    if !taken(stem) {
        return stem.to_owned();
    }
    let numbered = (2..).map(|number| format!("{stem}-{number}"));
    let mut free = numbered.filter(|name| !taken(name));
    free.next().unwrap_or_default()
}
