//! Where stretches of a content come out, against templates of which it is known.

use super::*;
use crate::example::LossWeight;
use crate::render::Detail;
use proptest::prelude::*;

const VERBATIM: &str =
    "{% for m in messages %}<a>{% generation %}{{ m.content }}{% endgeneration %}<e>{% endfor %}";

const TRIMMED: &str = "{% for m in messages %}<a>{% generation %}{{ m.content | trim }}{% endgeneration %}<e>{% endfor %}";

/// As Qwen3's: thoughts of the last message alone, both parts trimmed.
const THINKS: &str = "{% for m in messages %}<a>{% generation %}{% set said = m.content %}{% if '</think>' in said %}\
{% set thought = said.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}{% set said = said.split('</think>')[-1].lstrip('\n') %}\
{% if loop.last %}{{ '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + said }}{% else %}{{ said }}{% endif %}{% else %}{{ said }}{% endif %}{% endgeneration %}<e>{% endfor %}";

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::compile(source, TemplateContext::default()).unwrap()
}

fn chat(contents: &[(&str, Vec<Detail>)]) -> Conversation {
    let messages = contents.iter().map(|(content, details)| {
        let pairs = [("role", "assistant"), ("content", content)];
        let mut message = Message::new("assistant", minijinja::Value::from_pairs(pairs));
        message.details.clone_from(details);
        message
    });
    Conversation {
        messages: messages.collect(),
        ..Conversation::default()
    }
}

fn untrained(bytes: std::ops::Range<usize>) -> Detail {
    Detail {
        part: None,
        bytes,
        weight: None,
    }
}

/// What of the text is lighter, a flag a byte.
fn flags(template: &ChatTemplate, chat: &Conversation) -> (String, crate::Result<Vec<bool>>) {
    let rendered = template.render(chat, Ending::Whole).unwrap();
    let lighter = template.lighter(chat, &rendered, |_| true);
    let flags = lighter.map(|lighter| {
        let within = |at: &usize| lighter.iter().any(|of| of.text.contains(at));
        (0..rendered.text.len()).map(|at| within(&at)).collect()
    });
    (rendered.text, flags)
}

fn contents() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a"),
        Just("b"),
        Just("É"),
        Just(" "),
        Just("\n"),
        Just("<"),
        Just(">"),
        Just("["),
        Just("."),
        Just("日本"),
        Just("<e>"),
        Just("<a>"),
        Just("word two"),
    ];
    prop::collection::vec(piece, 1..12).prop_map(|pieces| pieces.concat())
}

/// Two stretches of a text, between characters.
fn details(text: &str, cuts: [prop::sample::Index; 4]) -> Vec<Detail> {
    let places: Vec<usize> = text
        .char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect();
    let mut cuts = cuts.map(|cut| places[cut.index(places.len())]);
    cuts.sort_unstable();
    let [a, b, c, d] = cuts;
    [a..b, c..d]
        .into_iter()
        .filter(|bytes| !bytes.is_empty())
        .map(untrained)
        .collect()
}

proptest! {
    /// The twin knows where the template puts the content: between `<a>` and `<e>`.
    #[test]
    fn stretches_are_where_the_content_was_put(
        (first, second) in (contents(), contents()),
        cuts in any::<[prop::sample::Index; 4]>(),
        trims: bool,
    ) {
        let chat = chat(&[(&first, Vec::new()), (&second, details(&second, cuts))]);
        let template = template(if trims { TRIMMED } else { VERBATIM });
        let (text, found) = flags(&template, &chat);
        // A content without a letter or any other place for a mark may be refused, never misplaced.
        let Ok(found) = found else {
            prop_assert!(second.trim().is_empty() || !second.chars().any(char::is_alphanumeric), "{:?} is refused", second);
            return Ok(());
        };
        let (start, kept) = if trims {
            let before = first.trim().len() + 9;
            (before, second.len() - second.trim_start().len()..second.trim_end().len())
        } else {
            (first.len() + 9, 0..second.len())
        };
        let mut expected = vec![false; text.len()];
        for detail in &chat.messages[1].details {
            for at in detail.bytes.clone().filter(|at| kept.contains(at)) {
                expected[start + at - kept.start] = true;
            }
        }
        let blank = second.trim().is_empty();
        prop_assert!(blank || found == expected, "{:?} in {:?}: {:?}", chat.messages[1].details, text, found);
    }
}

#[test]
fn what_is_thought_and_what_is_said_may_be_moved_apart() {
    let content = "<think>\n\n no idea\n</think>\n\n\nYes, no";
    let place = |part: &str| {
        let at = content.find(part).unwrap();
        untrained(at..at + part.len())
    };
    // The first "no" is thought.
    let details = vec![place("no"), place("idea"), place(", no")];
    let last = chat(&[("x", Vec::new()), (content, details.clone())]);
    let (text, found) = flags(&template(THINKS), &last);
    let found = found.unwrap();
    let shown = |text: &str, found: &[bool]| -> String {
        let bytes = text.bytes().zip(found);
        bytes
            .map(|(byte, light)| if *light { '_' } else { char::from(byte) })
            .collect()
    };
    assert_eq!(
        shown(&text, &found),
        "<a>x<e><a><think>\n __ ____\n</think>\n\nYes____<e>"
    );
    // An earlier turn's thoughts are not printed, so nothing is said of them.
    let earlier = chat(&[(content, details), ("x", Vec::new())]);
    let (text, found) = flags(&template(THINKS), &earlier);
    assert_eq!(shown(&text, &found.unwrap()), "<a>Yes____<e><a>x<e>");
}

#[test]
fn full_weights_need_no_place() {
    let full = Detail {
        part: None,
        bytes: 0..1,
        weight: Some(LossWeight::ONE),
    };
    let upper = template("{% for m in messages %}{{ m.content | upper }}{% endfor %}");
    let chat = chat(&[("abc", vec![full])]);
    let rendered = upper.render(&chat, Ending::Whole).unwrap();
    assert_eq!(upper.lighter(&chat, &rendered, |_| true).unwrap(), []);
}
