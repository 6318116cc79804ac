//! A template of any text, on a conversation: compiled, rendered and its turns told within its limits, or refused.
//!
//! Input: the template, and behind a NUL byte perhaps a row of messages.

use packmill::recipe::{LimitsConfig, SourceConfig};
use packmill::render::row::{Row, RowReader};
use packmill::render::{ChatTemplate, Ending, TemplateContext, TemplateLimits};

const CHAT: &[u8] = br#"{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": "So?"}, {"role": "assistant", "content": "No."}]}"#;

/// Small, so that what wastes is told soon.
const LIMITS: LimitsConfig = LimitsConfig {
    template_fuel: 20_000,
    template_output_bytes: 1 << 14,
    ..LimitsConfig::DEFAULT
};

pub(super) fn template(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0);
    let (source, row) = match end {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, CHAT),
    };
    let Ok(source) = std::str::from_utf8(source) else {
        return;
    };
    let rows = RowReader::new(&SourceConfig::default(), None);
    let Ok(Row::Chat(chat)) = rows.read(row) else {
        return;
    };
    let context = TemplateContext {
        now: Some("2026-11-24T00:00:00".to_owned()),
        special_tokens: vec![("eos_token".to_owned(), "<eos>".to_owned())],
        limits: TemplateLimits::of(&LIMITS),
        ..TemplateContext::default()
    };
    let Ok(template) = ChatTemplate::compile(source, context) else {
        return;
    };
    for ending in [Ending::Whole, Ending::GenerationPrompt] {
        let Ok(rendered) = template.render(&chat, ending) else {
            continue;
        };
        assert!(rendered.text.len() as u64 <= LIMITS.template_output_bytes);
        let mut end = 0;
        for span in &rendered.spans {
            assert!(end <= span.start && span.start <= span.end);
            assert!(rendered.text.get(span.clone()).is_some());
            end = span.end;
        }
        if ending == Ending::Whole
            && let Ok(turns) = template.turns(&chat, &rendered)
        {
            assert_eq!(turns.spans.len(), turns.owners.len());
            assert!(
                turns
                    .owners
                    .iter()
                    .all(|owner| *owner < chat.messages.len())
            );
            assert!(
                turns
                    .spans
                    .iter()
                    .all(|span| rendered.text.get(span.clone()).is_some())
            );
        }
        // The same again: a template has no memory.
        assert_eq!(template.render(&chat, ending).ok(), Some(rendered));
    }
}
