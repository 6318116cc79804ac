//! What a row says of the loss of one message: `train` and `weight` of the message, `train_detail` of its text as Axolotl
//! writes it, `train` and `weight` of its content's parts. Templates see none of these.

use super::entries::Entries;
use super::fault::{Fault, Result};
use crate::example::LossWeight;
use crate::render::conversation::Detail;
use minijinja::Value;
use minijinja::value::ValueKind;

/// Axolotl's key of character spans.
const DETAILS: &str = "train_detail";

/// Of one message.
#[derive(Debug)]
pub(super) struct Loss {
    pub(super) train: Option<bool>,
    pub(super) weight: LossWeight,
    pub(super) details: Vec<Detail>,
}

/// Takes it out of a message whose content stands under `content`.
pub(super) fn take(entries: &mut Entries) -> Result<Loss> {
    let own = say(entries.take("train"), entries.take("weight"))?;
    let mut loss = Loss {
        train: match own {
            Say::Nothing => None,
            Say::Skip => Some(false),
            Say::Train(_) => Some(true),
        },
        weight: match own {
            Say::Train(weight) => weight,
            Say::Nothing | Say::Skip => LossWeight::ONE,
        },
        details: Vec::new(),
    };
    if let Some(listed) = entries.take(DETAILS) {
        let content = entries.get("content");
        let spans = spans(&listed, content).map_err(|fault| fault.within(DETAILS))?;
        if let Some(spans) = spans {
            loss.train = loss.train.or(Some(spans.trained));
            loss.details = spans.lighter;
        }
    }
    if let Some(parts) = entries.get("content").and_then(said_parts) {
        let parts = parts.map_err(|fault| fault.within("content"))?;
        loss.details = parts.details;
        entries.set("content", parts.content);
    }
    Ok(loss)
}

/// What is said of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    Nothing,
    Skip,
    Train(LossWeight),
}

/// `train` and `weight`, which may be there both if they agree.
fn say(train: Option<Value>, weight: Option<Value>) -> Result<Say> {
    let train = match train {
        None => None,
        Some(value) if value.is_none() => None,
        Some(value) if value.kind() == ValueKind::Bool => Some(value.is_true()),
        Some(value) => {
            let clause = format!("is a {}, not true or false", value.kind());
            return Err(Fault::row(clause).within("train"));
        }
    };
    let weight = weight.filter(|value| !value.is_none());
    let Some(value) = weight else {
        return Ok(match train {
            None => Say::Nothing,
            Some(false) => Say::Skip,
            Some(true) => Say::Train(LossWeight::ONE),
        });
    };
    let number = match value.kind() {
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        _ => None,
    };
    let Some(number) = number else {
        let clause = format!("is a {}, not a number from 0 to 1", value.kind());
        return Err(Fault::row(clause).within("weight"));
    };
    let said = match LossWeight::new(number) {
        Some(weight) => Say::Train(weight),
        None if number == 0.0 => Say::Skip,
        None => {
            let clause = format!("is {number}, not a number from 0 to 1");
            return Err(Fault::row(clause).within("weight"));
        }
    };
    match train {
        Some(train) if train != matches!(said, Say::Train(_)) => Err(Fault::row(
            "has `train` and `weight` that contradict each other",
        )
        .remedy("keep one of them")),
        _ => Ok(said),
    }
}

/// What `train_detail` comes to.
struct Spans {
    /// Whether any of the text is trained.
    trained: bool,
    /// What is not trained, or less than in full: also all of the text that no entry is about.
    lighter: Vec<Detail>,
}

/// Spans of characters, both ends inclusive. None for an empty list, which says nothing.
fn spans(listed: &Value, content: Option<&Value>) -> Result<Option<Spans>> {
    if listed.kind() != ValueKind::Seq {
        return Err(Fault::row(format!("is a {}, not a list", listed.kind())));
    }
    let mut entries = Vec::new();
    for (index, entry) in listed.try_iter().into_iter().flatten().enumerate() {
        entries.push(span(&entry).map_err(|fault| fault.within(format_args!("[{index}]")))?);
    }
    if entries.is_empty() {
        return Ok(None);
    }
    let Some(text) = content.and_then(Value::as_str) else {
        return Err(
            Fault::row("is about characters, and the content is no text")
                .remedy("give the parts of the content train or weight of their own"),
        );
    };
    entries.sort_by_key(|span| (span.first, span.last));
    let mut starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let chars = starts.len();
    starts.push(text.len());
    let mut spans = Spans {
        trained: false,
        lighter: Vec::new(),
    };
    let mut covered = 0;
    let mut before = Say::Skip;
    for CharSpan { first, last, say } in entries {
        if last >= chars {
            let clause = format!(
                "has a span of the characters {first} to {last}, and the content has {chars}"
            );
            return Err(Fault::row(clause).remedy("end_offset is the last character's, from 0"));
        }
        if first < covered && say != before {
            return Err(Fault::row(format!("says two things of character {first}"))
                .remedy("write spans that do not overlap"));
        }
        spans.add(&starts, covered, first, Say::Skip);
        spans.add(&starts, first.max(covered), last + 1, say);
        (covered, before) = (covered.max(last + 1), say);
    }
    spans.add(&starts, covered, chars, Say::Skip);
    Ok(Some(spans))
}

impl Spans {
    fn add(&mut self, starts: &[usize], first: usize, end: usize, say: Say) {
        let (Some(&from), Some(&to)) = (starts.get(first), starts.get(end)) else {
            return;
        };
        if from >= to {
            return;
        }
        let weight = match say {
            Say::Nothing | Say::Skip => None,
            Say::Train(weight) => Some(weight),
        };
        self.trained |= weight.is_some();
        if weight == Some(LossWeight::ONE) {
            return;
        }
        match self.lighter.last_mut() {
            Some(last) if last.bytes.end == from && last.weight == weight => last.bytes.end = to,
            _ => self.lighter.push(Detail {
                part: None,
                bytes: from..to,
                weight,
            }),
        }
    }
}

/// Characters `first` to `last`, both inclusive.
struct CharSpan {
    first: usize,
    last: usize,
    say: Say,
}

fn span(entry: &Value) -> Result<CharSpan> {
    let get = |key: &str| entry.get_attr(key).ok().filter(|v| !v.is_undefined());
    let offset = |key: &str| {
        let number = get(key).and_then(|value| usize::try_from(value).ok());
        number.ok_or_else(|| {
            Fault::row("is no offset of a character")
                .remedy("an entry is {begin_offset, end_offset, train}, counted from 0")
                .within(key)
        })
    };
    let (first, last) = (offset("begin_offset")?, offset("end_offset")?);
    if last < first {
        return Err(
            Fault::row(format!("ends at {last}, before it begins at {first}"))
                .remedy("end_offset is the last character's, and included"),
        );
    }
    match say(get("train"), get("weight"))? {
        Say::Nothing => Err(Fault::row("says neither `train` nor `weight`")),
        say => Ok(CharSpan { first, last, say }),
    }
}

/// A content of parts without what they say of the loss, and what that is.
struct SaidParts {
    content: Value,
    details: Vec<Detail>,
}

/// None where no part says anything.
fn said_parts(content: &Value) -> Option<Result<SaidParts>> {
    if content.kind() != ValueKind::Seq {
        return None;
    }
    let says = |part: &Value| {
        let has = |key| part.get_attr(key).is_ok_and(|value| !value.is_undefined());
        part.kind() == ValueKind::Map && (has("train") || has("weight"))
    };
    let parts: Vec<Value> = content.try_iter().ok()?.collect();
    if !parts.iter().any(says) {
        return None;
    }
    let mut details = Vec::new();
    let mut kept = Vec::with_capacity(parts.len());
    for (index, part) in parts.into_iter().enumerate() {
        if !says(&part) {
            kept.push(part);
            continue;
        }
        match said_part(&part) {
            Ok((part, text, say)) => {
                kept.push(part);
                let weight = match say {
                    Say::Nothing => continue,
                    Say::Skip => None,
                    Say::Train(weight) => Some(weight),
                };
                details.extend((text > 0).then_some(Detail {
                    part: Some(index),
                    bytes: 0..text,
                    weight,
                }));
            }
            Err(fault) => return Some(Err(fault.within(format_args!("[{index}]")))),
        }
    }
    Some(Ok(SaidParts {
        content: Value::from(kept),
        details,
    }))
}

/// The part as templates see it, the length of its text and what it says.
fn said_part(part: &Value) -> Result<(Value, usize, Say)> {
    let get = |key: &str| part.get_attr(key).ok().filter(|v| !v.is_undefined());
    let say = say(get("train"), get("weight"))?;
    let text = get("text").and_then(|text| text.as_str().map(str::len));
    if text.is_none() && matches!(say, Say::Train(_)) {
        return Err(Fault::row("is to be trained and has no `text`")
            .remedy("only parts of text can be trained; take the flag out"));
    }
    let pairs = part.as_object().and_then(|object| object.try_iter_pairs());
    let kept = pairs
        .into_iter()
        .flatten()
        .filter(|(key, _)| !matches!(key.as_str(), Some("train" | "weight")));
    Ok((Value::from_pairs(kept), text.unwrap_or(0), say))
}
