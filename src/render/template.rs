//! A chat template: compiled once, rendered from any number of threads.

use super::clock;
use super::conversation::{Conversation, Message};
use super::environment::{INSTRUMENTED, TEMPLATE, environment};
use super::limits::TemplateLimits;
use super::number::BigInt;
use super::opening::Opening;
use super::page::{Numbered, Page, Piece, RECORDER, Recorder, Tracking};
use super::program::{Printed, Program, may_have};
use super::refusal::{explain, template_error};
use super::source::{Generation, Loops, prepare};
use super::spans::{absent_pair, changed, take_out};
use crate::error::{Error, Kind, Result, Stage};
use chrono::{Months, NaiveDateTime};
use minijinja::Environment;
use minijinja::value::{Enumerator, Object, Value};
use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// What a template sees beside the conversation, the same for every render.
#[derive(Debug, Clone, Default)]
pub struct TemplateContext {
    /// What `strftime_now` sees, `YYYY-MM-DDTHH:MM:SS`; none: a template that asks is refused.
    pub now: Option<String>,
    /// `bos_token`, `eos_token`, … as Transformers' `special_tokens_map` names them, those that the
    /// tokenizer has.
    pub special_tokens: Vec<(String, String)>,
    /// The recipe's `template.kwargs`. They win over special tokens, and a row's own win over them.
    pub kwargs: serde_json::Map<String, serde_json::Value>,
    /// What a render may use up.
    pub limits: TemplateLimits,
}

/// How the text is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Behind the last message.
    Whole,
    /// With the opening of an answer, where the template has one: `add_generation_prompt=True`.
    GenerationPrompt,
}

/// A rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text, byte for byte that of Transformers' `apply_chat_template`.
    pub text: String,
    /// What was printed inside `{% generation %}`: byte ranges of `text`, in order, disjoint, on
    /// character boundaries. A block that printed nothing has an empty one.
    pub spans: Vec<Range<usize>>,
    /// How it was asked to end.
    pub ending: Ending,
}

/// A compiled chat template.
///
/// Transformers' dialect of Jinja: `trim_blocks`, `lstrip_blocks`, loop controls, `{% generation %}`,
/// JSON and numbers as Python writes them, nothing that reads a file or the clock.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    generation: Generation,
    /// Kwargs of the recipe, then special tokens.
    shared: Arc<[(String, Value)]>,
    limits: TemplateLimits,
    now: Option<NaiveDateTime>,
    /// The template, and the one that says which item its loops stand at, where they could be compiled.
    program: Option<Program>,
    announced: Option<Program>,
    /// How answers open, for conversations without kwargs of their own; found when first asked for.
    pub(super) opening: OnceLock<Result<Opening>>,
}

/// Names that a render sets itself. Transformers refuses them as template variables, too.
const OWN_NAMES: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`Kind::Template`] with the line where the source does not compile or would read another template;
    /// [`Kind::Recipe`] where `now` is not a time or `kwargs` sets a name that a render sets itself.
    pub fn compile(source: &str, context: TemplateContext) -> Result<Self> {
        let TemplateContext {
            now,
            special_tokens,
            kwargs,
            limits,
        } = context;
        let now = match now {
            Some(text) => Some(clock::parse(&text).ok_or_else(|| {
                Error::new(
                    Kind::Recipe,
                    Stage::Render,
                    format!("template.now is no time: {text:?}"),
                )
                .remedy("write it as YYYY-MM-DDTHH:MM:SS")
            })?),
            None => None,
        };
        if let Some(name) = OWN_NAMES
            .into_iter()
            .find(|name| kwargs.contains_key(*name))
        {
            return Err(Error::new(
                Kind::Recipe,
                Stage::Render,
                format!("template.kwargs sets {name}, which comes from the row"),
            )
            .remedy("take it out"));
        }

        let prepared = prepare(source, &limits, Loops::Plain)?;
        let mut environment = environment(&limits, now);
        environment
            .add_template_owned(TEMPLATE, prepared.source.clone())
            .map_err(|error| explain(&error, &limits))?;
        let shared: Arc<[(String, Value)]> = kwargs
            .into_iter()
            .map(|(name, value)| (name, from_json(value)))
            .chain(
                special_tokens
                    .into_iter()
                    .map(|(name, token)| (name, Value::from(token))),
            )
            .collect();
        let program = Program::compile(&prepared.source, &environment, &shared);
        let mut announced = None;
        if prepared.generation == Generation::None {
            let source = prepare(source, &limits, Loops::Announced)?.source;
            announced = Program::compile(&source, &environment, &shared);
            environment
                .add_template_owned(INSTRUMENTED, source)
                .map_err(|error| explain(&error, &limits))?;
        }
        Ok(ChatTemplate {
            environment,
            generation: prepared.generation,
            shared,
            limits,
            now,
            program,
            announced,
            opening: OnceLock::new(),
        })
    }

    /// Whether what is printed for a conversation depends on the recipe's `now`.
    pub(crate) fn prints_time(&self, conversation: &Conversation) -> bool {
        self.prints_time_of(conversation).unwrap_or(false)
    }

    /// The same; none where it cannot be rendered at another time.
    fn prints_time_of(&self, conversation: &Conversation) -> Option<bool> {
        let Some(now) = self.now else {
            return Some(false);
        };
        // Another year, month, day and weekday, and another time of day.
        let then = now
            .checked_sub_months(Months::new(13))?
            .checked_sub_signed(chrono::TimeDelta::seconds(90_061))?;
        let mut environment = environment(&self.limits, Some(then));
        let source = self.environment.get_template(TEMPLATE).ok()?;
        environment
            .add_template_owned(TEMPLATE, source.source().to_owned())
            .ok()?;
        let other = ChatTemplate {
            environment,
            generation: self.generation,
            shared: Arc::clone(&self.shared),
            limits: self.limits,
            now: Some(then),
            // Its functions know the other time.
            program: None,
            announced: None,
            opening: OnceLock::new(),
        };
        let [here, there] = [self, &other].map(|t| t.render(conversation, Ending::Whole).ok());
        Some(here?.text != there?.text)
    }

    /// Whether the template says what is generated. Without, a render has no spans, and
    /// [`turns`](Self::turns) finds what can be shown.
    pub fn has_generation_tags(&self) -> bool {
        self.generation != Generation::None
    }

    /// What a render may use up.
    pub fn limits(&self) -> &TemplateLimits {
        &self.limits
    }

    /// Renders a conversation.
    ///
    /// # Errors
    /// [`Kind::Template`] where the template raises, fails or passes a limit, or where a filter changes
    /// what a generation block printed; [`Kind::Row`] where there is no message or the row's kwargs set
    /// a name that a render sets itself.
    pub fn render(&self, conversation: &Conversation, ending: Ending) -> Result<Rendered> {
        let input = Input::new(conversation, ending)?;
        let (text, spans) = self.render_input(&input)?;
        Ok(Rendered {
            text,
            spans,
            ending,
        })
    }

    /// The same by the engine alone: the slow twin, for tests and comparisons.
    ///
    /// # Errors
    /// Those of [`render`](Self::render).
    pub fn render_by_engine(
        &self,
        conversation: &Conversation,
        ending: Ending,
    ) -> Result<Rendered> {
        let input = Input::new(conversation, ending)?;
        let (text, spans) =
            self.render_by(&input, |input, tracking| self.run_engine(input, tracking))?;
        Ok(Rendered {
            text,
            spans,
            ending,
        })
    }

    /// The same by the template's program alone; none where the engine has to render.
    ///
    /// # Errors
    /// Those of [`render`](Self::render) that come of what is printed, not of printing it.
    pub fn render_by_program(
        &self,
        conversation: &Conversation,
        ending: Ending,
    ) -> Result<Option<Rendered>> {
        let input = Input::new(conversation, ending)?;
        let asked = Cell::new(false);
        let run = |input: &Input<'_>, tracking| {
            self.run_program(input, tracking).ok_or_else(|| {
                asked.set(true);
                template_error("the engine has to render")
            })
        };
        match self.render_by(&input, run) {
            Ok((text, spans)) => Ok(Some(Rendered {
                text,
                spans,
                ending,
            })),
            Err(_) if asked.get() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Text and spans, by whichever way the template needs.
    pub(super) fn render_input(&self, input: &Input<'_>) -> Result<(String, Vec<Range<usize>>)> {
        self.render_by(input, |input, tracking| self.run(input, tracking))
    }

    fn render_by(
        &self,
        input: &Input<'_>,
        run: impl Fn(&Input<'_>, Tracking) -> Result<Printed>,
    ) -> Result<(String, Vec<Range<usize>>)> {
        match self.generation {
            Generation::None => Ok((run(input, Tracking::Off)?.text, Vec::new())),
            Generation::Direct => {
                let printed = run(input, Tracking::Position)?;
                Ok((printed.text, printed.spans))
            }
            Generation::Captured => {
                let plain = run(input, Tracking::Off)?.text;
                let (open, close) = absent_pair(&plain)?;
                let marked = run(input, Tracking::Sentinels { open, close })?.text;
                let (text, spans) = take_out(&marked, open, close)?;
                if text == plain {
                    Ok((plain, spans))
                } else {
                    Err(changed())
                }
            }
        }
    }

    /// Text and what each statement printed of it, of a template without generation blocks.
    pub(super) fn render_pieces(
        &self,
        conversation: &Conversation,
        ending: Ending,
    ) -> Result<(String, Vec<Piece>)> {
        let input = Input::new(conversation, ending)?;
        let printed = self.run(&input, Tracking::Turns)?;
        Ok((printed.text, printed.pieces))
    }

    /// One run, by the program or else by the engine.
    fn run(&self, input: &Input<'_>, tracking: Tracking) -> Result<Printed> {
        match self.run_program(input, tracking) {
            Some(printed) => Ok(printed),
            None => self.run_engine(input, tracking),
        }
    }

    /// One run by the program; none where the engine has to.
    pub(super) fn run_program(&self, input: &Input<'_>, tracking: Tracking) -> Option<Printed> {
        let program = match tracking {
            Tracking::Turns => self.announced.as_ref()?,
            _ => self.program.as_ref()?,
        };
        let messages = input.aliased();
        program.run(
            &self.environment,
            &self.limits,
            input.conversation,
            messages.as_deref(),
            input.ending == Ending::GenerationPrompt,
            tracking,
        )
    }

    /// One run by the engine.
    pub(super) fn run_engine(&self, input: &Input<'_>, tracking: Tracking) -> Result<Printed> {
        let name = if tracking == Tracking::Turns {
            INSTRUMENTED
        } else {
            TEMPLATE
        };
        let recorder = Recorder::new(tracking);
        let scope = Scope {
            input: input.variables(tracking),
            shared: Arc::clone(&self.shared),
            recorder: Arc::clone(&recorder),
        };
        let mut page = Page::new(self.limits.output_bytes, Arc::clone(&recorder));
        let mut fuel = 0;
        self.environment
            .get_template(name)
            .and_then(|template| {
                let captured = template.render_captured_to(Value::from_object(scope), &mut page)?;
                fuel = captured.state().fuel_levels().map_or(0, |(used, _)| used);
                Ok(())
            })
            .map_err(|error| explain(&error, &self.limits))?;
        let text = page
            .into_text()
            .ok_or_else(|| template_error("the template printed bytes that are not UTF-8"))?;
        Ok(Printed {
            text,
            spans: recorder.take_spans(),
            pieces: recorder.take_pieces(),
            fuel,
        })
    }
}

/// A recipe's value as templates see values.
pub(super) fn from_json(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(flag),
        serde_json::Value::Number(number) => {
            match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(x), _, _) => Value::from(x),
                (None, Some(x), _) => Value::from(x),
                (None, None, Some(x)) => Value::from(x),
                (None, None, None) => Value::from_object(BigInt(number.to_string())),
            }
        }
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(items) => {
            Value::from(items.into_iter().map(from_json).collect::<Vec<_>>())
        }
        serde_json::Value::Object(map) => Value::from_pairs(
            map.into_iter()
                .map(|(key, value)| (Value::from(key), from_json(value))),
        ),
    }
}

/// What one render is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a> {
    conversation: &'a Conversation,
    ending: Ending,
}

impl<'a> Input<'a> {
    pub(super) fn new(conversation: &'a Conversation, ending: Ending) -> Result<Input<'a>> {
        if conversation.messages.is_empty() {
            return Err(
                Error::new(Kind::Row, Stage::Render, "the conversation has no message")
                    .remedy("take the record out, or skip such records with on_bad_record"),
            );
        }
        for (name, _) in &conversation.kwargs {
            if OWN_NAMES.contains(&name.as_str()) {
                return Err(Error::new(
                    Kind::Row,
                    Stage::Render,
                    format!("chat_template_kwargs sets {name}, which has a field of its own"),
                )
                .remedy("take it out of chat_template_kwargs"));
            }
        }
        Ok(Input {
            conversation,
            ending,
        })
    }

    /// The messages, where templates see others than the row has.
    fn aliased(&self) -> Option<Vec<Value>> {
        let messages = &self.conversation.messages;
        let reasons = |message: &Message| may_have(&message.value, &REASONING);
        messages
            .iter()
            .any(reasons)
            .then(|| messages.iter().map(with_reasoning_aliases).collect())
    }

    /// As the engine looks them up.
    fn variables(&self, tracking: Tracking) -> Variables {
        let conversation = self.conversation;
        let messages = conversation.messages.iter().map(with_reasoning_aliases);
        let messages: Vec<Value> = match tracking {
            // Messages know their places.
            Tracking::Turns => {
                let numbered = messages.enumerate();
                let numbered = numbered.map(|(index, message)| Numbered::value(message, index));
                numbered.collect()
            }
            _ => messages.collect(),
        };
        let or_none = |value: &Option<Value>| value.clone().unwrap_or(Value::from(()));
        Variables {
            messages: Value::from(messages),
            tools: or_none(&conversation.tools),
            documents: or_none(&conversation.documents),
            add_generation_prompt: Value::from(self.ending == Ending::GenerationPrompt),
            kwargs: conversation.kwargs.clone(),
        }
    }
}

/// One conversation, ready to be looked up by a template.
#[derive(Debug)]
struct Variables {
    messages: Value,
    tools: Value,
    documents: Value,
    add_generation_prompt: Value,
    kwargs: Vec<(String, Value)>,
}

/// Names that a message's reasoning goes by, the standard one first.
pub(super) const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Templates read reasoning under one of two names, rows bring it under three: as Transformers does,
/// `thinking` is filled where it is missing, and `reasoning_content` always says the same.
fn with_reasoning_aliases(message: &Message) -> Value {
    let Some(map) = message.value.as_object() else {
        return message.value.clone();
    };
    let reasoning = REASONING
        .iter()
        .filter_map(|name| map.get_value_by_str(name))
        .find(|value| !value.is_none() && !value.is_undefined());
    let (Some(reasoning), Some(pairs)) = (reasoning, map.try_iter_pairs()) else {
        return message.value.clone();
    };
    let mut aliased = vec![(Value::from("thinking"), reasoning.clone())];
    for (key, value) in pairs {
        match key.as_str() {
            Some("thinking") => aliased[0].1 = value,
            _ => aliased.push((key, value)),
        }
    }
    match aliased
        .iter_mut()
        .find(|(key, _)| key.as_str() == Some("reasoning_content"))
    {
        Some(pair) => pair.1 = reasoning,
        None => aliased.push((Value::from("reasoning_content"), reasoning)),
    }
    Value::from_pairs(aliased)
}

/// The variables of one render.
#[derive(Debug)]
struct Scope {
    input: Variables,
    shared: Arc<[(String, Value)]>,
    recorder: Arc<Recorder>,
}

impl Object for Scope {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(match key {
            "messages" => self.input.messages.clone(),
            "tools" => self.input.tools.clone(),
            "documents" => self.input.documents.clone(),
            "add_generation_prompt" => self.input.add_generation_prompt.clone(),
            RECORDER => Value::from_dyn_object(Arc::clone(&self.recorder)),
            _ => {
                let mut variables = self.input.kwargs.iter().rev().chain(self.shared.iter());
                variables.find(|(name, _)| name == key)?.1.clone()
            }
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Empty
    }
}
