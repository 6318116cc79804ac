//! Whether a model that is trained with a source's template learns to stop.

use super::encode::Encoder;
use crate::mask::{self, Tokens};
use crate::recipe::Train;
use crate::render::{Conversation, Ending, Message};
use crate::tokenize::{Encoding, SpecialTokens};
use minijinja::Value;

/// Whether the end of an answer is trained, asked of a conversation that goes on after one, because some
/// templates leave the terminator to the message that follows. None where it cannot be told: another
/// policy, a template that does not take the probe, or nothing shown to be trained.
pub(crate) fn is_trained(encoder: &Encoder) -> Option<bool> {
    if !matches!(encoder.mask.train, Train::Assistant | Train::LastAssistant) {
        return None;
    }
    let template = encoder.templates.choose(false).ok()?;
    let probe = probe();
    let rendered = template.render(&probe, Ending::Whole).ok()?;
    let spans = if template.has_generation_tags() {
        rendered.spans.clone()
    } else {
        template.turns(&probe, &rendered).ok()?.spans
    };
    if spans.is_empty() {
        return None;
    }
    let mut encoding = Encoding::default();
    let engine = &encoder.tokenizer.engine;
    engine
        .encode(&rendered.text, SpecialTokens::Leave, &mut encoding)
        .ok()?;
    let tokens = Tokens {
        text: &rendered.text,
        ids: &encoding.ids,
        offsets: &encoding.offsets,
    };
    let trained = mask::spans_to_tokens(&spans, &encoding.offsets);
    let stops = mask::trains_stop_token(&tokens, &trained, |id| encoder.tokenizer.is_added(id));
    Some(encoder.mask.end_of_turn && stops)
}

fn probe() -> Conversation {
    let message = |role: &str, content: &str| {
        Message::new(
            role,
            Value::from_pairs([("role", role), ("content", content)]),
        )
    };
    Conversation {
        messages: vec![
            message("user", "one"),
            message("assistant", "two"),
            message("user", "three"),
        ],
        ..Conversation::default()
    }
}
