//! Templates of our own, rendered; what they must print is written out, as Transformers 5.23 prints it.

mod details;
mod hostile;
mod owners;
mod python;
mod skip;
mod spans;
mod turns;
mod variables;

use super::*;
use crate::error::Error;
use minijinja::Value;

fn value(json: serde_json::Value) -> Value {
    super::template::from_json(json)
}

/// A conversation of messages as a row has them.
fn chat(messages: serde_json::Value) -> Conversation {
    let serde_json::Value::Array(messages) = messages else {
        panic!("messages are a list");
    };
    let messages = messages
        .into_iter()
        .map(|message| {
            Message::new(
                message["role"].as_str().unwrap_or_default().to_owned(),
                value(message),
            )
        })
        .collect();
    Conversation {
        messages,
        ..Conversation::default()
    }
}

fn hello() -> Conversation {
    chat(serde_json::json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Ciao"},
    ]))
}

fn compiled(source: &str) -> ChatTemplate {
    let context = TemplateContext {
        special_tokens: vec![
            ("bos_token".to_owned(), "<s>".to_owned()),
            ("eos_token".to_owned(), "</s>".to_owned()),
        ],
        ..TemplateContext::default()
    };
    ChatTemplate::compile(source, context).unwrap()
}

fn render(source: &str, conversation: &Conversation) -> crate::Result<Rendered> {
    compiled(source).render(conversation, Ending::Whole)
}

fn text(source: &str) -> String {
    render(source, &hello()).unwrap().text
}

fn failure(source: &str) -> Error {
    render(source, &hello()).unwrap_err()
}

/// What the spans cover.
fn pieces(rendered: &Rendered) -> Vec<&str> {
    rendered
        .spans
        .iter()
        .map(|span| &rendered.text[span.clone()])
        .collect()
}

const CHATML: &str = "\
{%- for message in messages %}
    {{- '<|im_start|>' ~ message.role ~ '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
            {{- message.content ~ '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {{- message.content ~ '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
";
