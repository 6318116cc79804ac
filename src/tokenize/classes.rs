//! Which of its tokenizer classes the reference would take: `AutoTokenizer.from_pretrained` of Transformers
//! 5.23 (`models/auto/tokenization_auto.py`), without remote code and without `mistral_common`.

use super::settings::Settings;
use serde_json::Value;

/// A class of the reference, as far as it changes ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `TokenizersBackend`: the file as it is written.
    Backend,
    /// `LlamaTokenizer`.
    Llama,
    /// `GemmaTokenizer`.
    Gemma,
    /// `GPT2Tokenizer`, `CodeGenTokenizer`.
    Gpt2,
    /// `GPTNeoXTokenizer`.
    GptNeoX,
    /// `Qwen2Tokenizer`.
    Qwen2,
    /// `Qwen3_5Tokenizer`.
    Qwen35,
    /// `CohereTokenizer`.
    Cohere,
    /// A class that rebuilds the pipeline in a way not followed here: the file as it is written.
    Unfollowed,
}

/// Model types whose class the reference sets to `TokenizersBackend`, whatever tokenizer_config.json says.
const BACKEND_MODELS: &str = "EvollaModel arctic aria beam bigbird_pegasus camembertv2-base canary chatlm cohere_asr ernie4_5 \
    ernie4_5_moe flex_olmo fuyu glm glm4 glm4_moe glm4_moe_lite glm4v glm4v_moe glm_image glmasr \
    got_ocr2 gpt_bigcode gradium_phonon_tts granite granitemoe granitemoehybrid granitemoeshared \
    h2ovl_chat hyperclovax hyperclovax_vlm internlm2 internlm3 iquestcoder jamba kimi_k25 kimi_linear \
    kosmos-2 llava llava_next mimo_v2_flash minicpm3 minicpm_ocr minicpmv minicpmv4_6 minicpmv4_7 \
    minimax_m2 modernbert modernbert-decoder molmo molmo2 nemo_speechlm nemotron nvfp4 nystromformer \
    olmo2 olmo3 olmo_hybrid opencua openvla paddleocr_vl pegasus_x persimmon phi3 phi3_v phimoe \
    pix2struct pocket_tts smolvlm stablelm step3_vl umt5 vipllava xlm-roberta-xl";

/// Model types whose published files are known to name a wrong class.
const WRONG_CLASS_MODELS: &str = "arctic chatlm ernie4_5 ernie4_5_moe fuyu h2ovl_chat hyperclovax hyperclovax_vlm \
    hyperclovax_vision_v2 internlm2 internlm3 iquestcoder jamba llava llava_next minicpm3 minicpmv \
    minimax_m2 modernbert modernbert-decoder molmo molmo2 nemotron nvfp4 opencua openvla paddleocr_vl \
    phi3 phi3_v phimoe qwen2 qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen4_exp step3_vl vipllava cohere_asr \
    camembertv2-base siglip2 smolvlm";

/// Models that `mistral_common` serves where it is installed; without it they get `TokenizersBackend`.
const MISTRAL_MODELS: &str =
    "ministral ministral3 mistral mistral3 mistral_large4 mixtral pixtral voxtral voxtral_realtime";

/// Class by model type, for the classes that are followed here.
const MODEL_CLASSES: &[(&str, &str)] = &[
    ("CohereTokenizer", "aya_vision cohere cohere2"),
    (
        "GemmaTokenizer",
        "diffusion_gemma gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text recurrent_gemma \
         shieldgemma2 t5gemma zaya",
    ),
    (
        "GPT2Tokenizer",
        "blip-2 codegen dbrx emu3 gpt2 gpt_neo gptj hyperclovax_vision_v2 instructblip instructblipvideo \
         jais2 opt phi starcoder2",
    ),
    (
        "GPTNeoXTokenizer",
        "falcon_mamba gpt_neox mamba mamba2 mpt olmo olmoe rwkv xlstm",
    ),
    ("LlamaTokenizer", "idefics idefics2"),
    (
        "Qwen2Tokenizer",
        "audioflamingo3 colqwen2 cosmos3_omni dots3_note fun_asr_nano hunyuan_vl internvl lighton_ocr \
         moss_transcribe_diarize ovis2 qianfan_ocr qwen2 qwen2_5_omni qwen2_5_vl qwen2_audio qwen2_moe \
         qwen2_vl qwen3 qwen3_asr qwen3_moe qwen3_next qwen3_omni_moe qwen3_vl qwen3_vl_moe vibevoice",
    ),
    (
        "Qwen3_5Tokenizer",
        "qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen4_exp",
    ),
];

/// Classes that rebuild the pipeline and are not followed here.
const UNFOLLOWED_CLASSES: &str = "AlbertTokenizer BartTokenizer BarthezTokenizer BertTokenizer BigBirdTokenizer BlenderbotTokenizer \
    CLIPTokenizer CamembertTokenizer CodeLlamaTokenizer DebertaTokenizer DebertaV2Tokenizer \
    DistilBertTokenizer EsmcTokenizer FNetTokenizer FunnelTokenizer HerbertTokenizer LasrTokenizer \
    LayoutLMv2Tokenizer LayoutLMv3Tokenizer LayoutXLMTokenizer LukeTokenizer MBart50Tokenizer \
    MBartTokenizer MLukeTokenizer MPNetTokenizer MarkupLMTokenizer MobileBertTokenizer NllbTokenizer \
    NougatTokenizer OpenAIGPTTokenizer PegasusTokenizer ReformerTokenizer RemBertTokenizer \
    RobertaTokenizer SeamlessM4TTokenizer Siglip2Tokenizer SplinterTokenizer SqueezeBertTokenizer \
    T5Tokenizer Tipsv2Tokenizer UdopTokenizer VideoPrismTokenizer WhisperTokenizer XGLMTokenizer \
    XLMRobertaTokenizer XLNetTokenizer";

/// Hub repositories that always get `TokenizersBackend`: beginnings of their ids, in lower case.
const BACKEND_REPOSITORIES: &[&str] = &[
    "deepseek-ai/deepseek-r1-distill-llama-",
    "deepseek-ai/deepseek-coder-",
    "allenai/dolma2-tokenizer",
    "google/umt5-small",
    "naver-clova-ix/donut-",
    "salesforce/blip2-opt-",
    "salesforce/blip2-flan-t5-",
    "salesforce/instructblip-flan-t5-",
    "stepfun-ai/step-3.7-",
];

impl Class {
    /// The class for the files of a folder, and its name if the files give one.
    ///
    /// `repository` is the Hub id, or whatever the folder is called; `byte_level` whether tokenizer.json
    /// mentions `"ByteLevel"`.
    pub(super) fn choose(settings: &Settings, repository: &str, byte_level: bool) -> Class {
        let model = settings.model_text("model_type").filter(|t| !t.is_empty());
        let named = settings
            .text("tokenizer_class")
            .or_else(|| settings.model_text("tokenizer_class"));
        let remote_code = has_remote_code(settings);
        let is = |list: &str| model.is_some_and(|model| listed(list, model));

        let repository = repository.to_lowercase();
        if !remote_code
            && BACKEND_REPOSITORIES
                .iter()
                .any(|known| repository.starts_with(known))
        {
            return Class::Backend;
        }
        let Some(named) = named.map(without_fast) else {
            return registered(model).map_or(Class::Backend, Class::of);
        };
        if remote_code {
            return Class::of(named);
        }
        if named == "LlamaTokenizer" && byte_level && !is(MISTRAL_MODELS) && !is(WRONG_CLASS_MODELS)
        {
            return Class::Backend;
        }
        if is(BACKEND_MODELS) || is(MISTRAL_MODELS) {
            return Class::Backend;
        }
        match registered(model) {
            Some(own) if own != named && is(WRONG_CLASS_MODELS) => Class::of(own),
            _ => Class::of(named),
        }
    }

    /// The class of a name without `Fast`. A name that the reference does not know gets `TokenizersBackend`.
    fn of(name: &str) -> Class {
        match name {
            "LlamaTokenizer" => Class::Llama,
            "GemmaTokenizer" => Class::Gemma,
            "GPT2Tokenizer" | "CodeGenTokenizer" => Class::Gpt2,
            "GPTNeoXTokenizer" => Class::GptNeoX,
            "Qwen2Tokenizer" => Class::Qwen2,
            "Qwen3_5Tokenizer" => Class::Qwen35,
            "CohereTokenizer" => Class::Cohere,
            other if listed(UNFOLLOWED_CLASSES, other) => Class::Unfollowed,
            _ => Class::Backend,
        }
    }

    /// Special tokens that the class assumes where the files say nothing, not even null.
    pub(super) fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Class::Backend | Class::Unfollowed => &[],
            Class::Llama => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
            ],
            Class::Gemma => &[
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
            Class::Gpt2 => &[
                ("bos_token", "<|endoftext|>"),
                ("eos_token", "<|endoftext|>"),
                ("unk_token", "<|endoftext|>"),
            ],
            Class::GptNeoX => &[
                ("bos_token", "<|endoftext|>"),
                ("eos_token", "<|endoftext|>"),
                ("unk_token", "<|endoftext|>"),
                ("pad_token", "<|padding|>"),
            ],
            Class::Qwen2 | Class::Qwen35 => &[
                ("eos_token", "<|endoftext|>"),
                ("unk_token", "<|endoftext|>"),
                ("pad_token", "<|endoftext|>"),
            ],
            Class::Cohere => &[
                ("bos_token", "<BOS_TOKEN>"),
                ("eos_token", "<|END_OF_TURN_TOKEN|>"),
                ("unk_token", "<UNK>"),
                ("sep_token", "<SEP>"),
                ("pad_token", "<PAD>"),
                ("cls_token", "<CLS>"),
                ("mask_token", "<MASK_TOKEN>"),
            ],
        }
    }
}

/// Whether the settings point at tokenizer code of their own. The reference runs it only when told to.
pub(super) fn has_remote_code(settings: &Settings) -> bool {
    match settings.config.get("auto_map") {
        Some(Value::Array(_)) => true,
        Some(Value::Object(map)) => map.get("AutoTokenizer").is_some_and(|v| !v.is_null()),
        _ => false,
    }
}

fn registered(model: Option<&str>) -> Option<&'static str> {
    let model = model?;
    MODEL_CLASSES
        .iter()
        .find(|(_, models)| listed(models, model))
        .map(|(class, _)| *class)
}

fn listed(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|item| item == name)
}

fn without_fast(name: &str) -> &str {
    name.strip_suffix("Fast").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(config: Value, model: Value) -> Settings {
        let mut settings = Settings::default();
        if let Value::Object(config) = config {
            settings.config = config;
        }
        if let Value::Object(model) = model {
            settings.model = Some(model);
        }
        settings
    }

    #[test]
    fn the_class_is_the_one_that_the_reference_takes() {
        let table = [
            (json!({}), json!(null), false, Class::Backend),
            (
                json!({}),
                json!({"model_type": "qwen3"}),
                true,
                Class::Qwen2,
            ),
            (
                json!({"tokenizer_class": "PreTrainedTokenizerFast"}),
                json!(null),
                true,
                Class::Backend,
            ),
            (
                json!({"tokenizer_class": "LlamaTokenizerFast"}),
                json!(null),
                false,
                Class::Llama,
            ),
            (
                json!({"tokenizer_class": "LlamaTokenizerFast"}),
                json!(null),
                true,
                Class::Backend,
            ),
            (
                json!({"tokenizer_class": "LlamaTokenizer"}),
                json!({"model_type": "llama"}),
                false,
                Class::Llama,
            ),
            (
                json!({"tokenizer_class": "LlamaTokenizer"}),
                json!({"model_type": "mistral"}),
                false,
                Class::Backend,
            ),
            (
                json!({"tokenizer_class": "LlamaTokenizer"}),
                json!({"model_type": "phi3"}),
                false,
                Class::Backend,
            ),
            (
                json!({"tokenizer_class": "GPT2Tokenizer"}),
                json!({"model_type": "qwen2"}),
                true,
                Class::Qwen2,
            ),
            (
                json!({"tokenizer_class": "GPT2Tokenizer"}),
                json!({"model_type": "qwen3"}),
                true,
                Class::Gpt2,
            ),
            (
                json!({"tokenizer_class": "PreTrainedTokenizerFast"}),
                json!({"model_type": "qwen3"}),
                true,
                Class::Backend,
            ),
            (
                json!({"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["a", null]}}),
                json!({"model_type": "own"}),
                false,
                Class::Backend,
            ),
            (
                json!({"tokenizer_class": "T5TokenizerFast"}),
                json!(null),
                false,
                Class::Unfollowed,
            ),
        ];
        for (config, model, byte_level, class) in table {
            let case = format!("{config} {model}");
            assert_eq!(
                Class::choose(&settings(config, model), "folder", byte_level),
                class,
                "{case}"
            );
        }
        let llama = settings(json!({"tokenizer_class": "GPT2Tokenizer"}), json!(null));
        assert_eq!(
            Class::choose(&llama, "allenai/dolma2-tokenizer", true),
            Class::Backend
        );
    }
}
