//! The demo's chats: one to six questions about one topic, most answers short, some long.

use super::grammar::{Grammar, Voice};
use super::random::Random;
use super::tools;
use serde_json::{Value, json};

/// Topics of `grammar.txt`, each with the rules `ask`, `answer`, `more`, `long` and `system`.
const TOPICS: [&str; 5] = ["garden", "kitchen", "code", "sky", "words"];

/// Of a hundred chats: those in which functions are called.
const WITH_TOOLS: usize = 15;
/// Of a hundred chats: those in which every answer is long.
const THOROUGH: usize = 3;
/// Of a hundred answers elsewhere: those that are long.
const LONG: usize = 7;
/// Of a hundred answers: those that the user doubts. Such an answer is marked `"train": false` and corrected.
const DOUBTED: usize = 2;
/// Of a hundred chats: those with a system message.
const WITH_SYSTEM: usize = 70;

/// One chat as a row of the corpus: `messages`, and `tools` where there are some.
pub(crate) fn chat(grammar: &Grammar<'_>, random: &mut Random) -> anyhow::Result<Value> {
    if random.chance(WITH_TOOLS) {
        tools::chat(grammar, random)
    } else {
        talk(grammar, random)
    }
}

fn talk(grammar: &Grammar<'_>, random: &mut Random) -> anyhow::Result<Value> {
    let mut voice = Voice::new(grammar);
    let topic = TOPICS[random.below(TOPICS.len())];
    let rule = |part: &str| format!("{topic}.{part}");
    let thorough = random.chance(THOROUGH);
    // The smaller of two throws: short chats are more frequent than long ones.
    let questions = random.between(1, 6).min(random.between(1, 8));

    let mut messages = Vec::new();
    if random.chance(WITH_SYSTEM) && voice.knows(&rule("system")) {
        messages.push(message("system", voice.say(random, &rule("system"))?));
    }
    for question in 0..questions {
        let asked = if question == 0 { "ask" } else { "more" };
        messages.push(message(
            "user",
            unsaid(&mut voice, random, &rule(asked), &messages)?,
        ));
        if random.chance(DOUBTED) {
            let mut wrong = message("assistant", voice.say(random, &rule("answer"))?);
            wrong["train"] = Value::Bool(false);
            messages.push(wrong);
            messages.push(message("user", voice.say(random, "doubt")?));
            let again = voice.say(random, "again")?;
            let better = voice.say(random, &rule("answer"))?;
            messages.push(message("assistant", format!("{again} {better}")));
        } else {
            let long = thorough || random.chance(LONG);
            let answer = if long { "long" } else { "answer" };
            messages.push(message("assistant", voice.say(random, &rule(answer))?));
        }
    }
    if questions > 2 && random.chance(50) {
        messages.push(message("user", voice.say(random, "thanks")?));
        messages.push(message("assistant", voice.say(random, "welcome")?));
    }
    Ok(json!({ "messages": messages }))
}

/// A text of the rule that nobody has said yet, if a few tries find one: people do not ask the same thing twice.
fn unsaid(
    voice: &mut Voice<'_, '_>,
    random: &mut Random,
    rule: &str,
    messages: &[Value],
) -> anyhow::Result<String> {
    let mut text = voice.say(random, rule)?;
    for _ in 0..8 {
        if messages.iter().all(|said| said["content"] != text.as_str()) {
            break;
        }
        text = voice.say(random, rule)?;
    }
    Ok(text)
}

/// A message of a role.
pub(crate) fn message(role: &str, content: impl Into<String>) -> Value {
    json!({ "role": role, "content": content.into() })
}
