//! Programs against the engine, which is their naive twin: text, spans, pieces, and fuel.

mod generated;
mod written;

use crate::render::conversation::{Conversation, Message};
use crate::render::page::Tracking;
use crate::render::row::Row;
use crate::render::row::RowReader;
use crate::render::template::{Input, from_json};
use crate::render::{ChatTemplate, Ending, TemplateContext, TemplateLimits};
use minijinja::Value;

/// Renders a conversation both ways, in all ways of following it; how many of these the program took.
fn compare(template: &ChatTemplate, conversation: &Conversation) -> usize {
    let mut taken = 0;
    let mut modes = vec![
        Tracking::Off,
        Tracking::Position,
        Tracking::Sentinels {
            open: '⟦',
            close: '⟧',
        },
    ];
    if !template.has_generation_tags() {
        modes.push(Tracking::Turns);
    }
    for ending in [Ending::Whole, Ending::GenerationPrompt] {
        let input = Input::new(conversation, ending).unwrap();
        for tracking in modes.iter().copied() {
            let Some(mut own) = template.run_program(&input, tracking) else {
                continue;
            };
            taken += 1;
            let twin = template.run_engine(&input, tracking);
            let twin = twin.unwrap_or_else(|error| panic!("the program printed {own:?}: {error}"));
            assert!(twin.fuel <= own.fuel, "{} > {}", twin.fuel, own.fuel);
            own.fuel = twin.fuel;
            // What a captured block's position is, nobody says.
            if tracking == Tracking::Position && own.spans != twin.spans {
                let (own, twin) = (
                    template.render_by_program(conversation, ending),
                    template.render_by_engine(conversation, ending),
                );
                assert_eq!(own.unwrap().unwrap(), twin.unwrap());
                continue;
            }
            assert_eq!(own, twin, "{tracking:?}");
        }
    }
    taken
}

/// A template and what beside a row it sees.
fn template(source: &str) -> Option<ChatTemplate> {
    within(source, TemplateLimits::default())
}

fn within(source: &str, limits: TemplateLimits) -> Option<ChatTemplate> {
    let token = |name: &str, token: &str| (name.to_owned(), token.to_owned());
    let kwargs = serde_json::json!({"thinking": true, "names": ["a", "b"], "x": null});
    let context = TemplateContext {
        now: Some("2026-11-24".to_owned()),
        special_tokens: vec![token("bos_token", "<s>"), token("eos_token", "</s>")],
        kwargs: kwargs.as_object().unwrap().clone(),
        limits,
    };
    ChatTemplate::compile(source, context).ok()
}

/// A row as the reader reads it; none where it refuses it.
fn row(row: &serde_json::Value) -> Option<Conversation> {
    let reader = RowReader::new(&Default::default(), None);
    match reader.read(row.to_string().as_bytes()).ok()? {
        Row::Chat(conversation) => Some(conversation),
        _ => None,
    }
}

/// The same row as whoever writes values by hand has it: other maps, and nothing left out.
fn by_hand(row: &serde_json::Value) -> Conversation {
    let value = |name: &str| row.get(name).cloned().map(from_json);
    let messages = row["messages"].as_array().unwrap().iter();
    Conversation {
        messages: messages
            .map(|message| {
                let role = message["role"].as_str().unwrap_or_default();
                Message::new(role, from_json(message.clone()))
            })
            .collect(),
        tools: value("tools"),
        documents: value("documents"),
        kwargs: match row.get("chat_template_kwargs") {
            Some(serde_json::Value::Object(map)) => map
                .iter()
                .map(|(name, value)| (name.clone(), from_json(value.clone())))
                .collect(),
            _ => Vec::new(),
        },
    }
}

/// A one-shot iterator, which a look would use up.
fn one_shot() -> Value {
    Value::make_one_shot_iterator(["a", "b"].map(Value::from).into_iter())
}
