//! One record: from its bytes to examples, or to the reason why there are none.
//!
//! This is where render, tokenize and mask meet. Stateless but for the scratch that each thread brings.

use super::filter::Filter;
use super::function::RowFunction;
use super::templates::Templates;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::{Example, LossWeight, Origin, Targets};
use crate::ledger::Reason;
use crate::mask::{self, Offsets, Tokens, Turn};
use crate::recipe::{
    FieldLoss, LimitsConfig, LossWeights, MaskConfig, Render, SpecialTokensInText, Train,
};
use crate::render::row::{GivenLabels, Row, RowReader, Shape};
use crate::render::{ChatTemplate, Conversation, Detail, Ending, Extent, Message, Rendered, Turns};
use crate::stats::{Lap, Stats};
use crate::tokenize::{Encoding, LoadedTokenizer};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What became of one record, in its place in the order.
#[derive(Debug)]
pub(crate) struct Item {
    /// Where it comes from; of a block's end, the block.
    pub(crate) origin: Origin,
    pub(crate) outcome: Outcome,
    /// Set on the last item of a block: the lines that the block held.
    pub(crate) ends_block: Option<u64>,
    /// Set on the last item of the blocks that are taken together: the lane's block that comes next.
    pub(crate) ends_group: Option<u64>,
}

/// What became of one record.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// What was made of it: an entry an example, at least one, in order.
    Examples(Vec<Encoded>),
    /// It cannot be read, understood, rendered or masked.
    Bad(Error),
    /// The rest of its block cannot be read: so many stored bytes.
    Unreadable { error: Error, bytes: u64 },
    /// Nothing that a policy for bad records could mend.
    Fatal(Error),
    /// No record: a blank line, or the mere end of a block.
    Nothing,
}

/// One of the examples made of a record, or why it has nothing to learn from.
pub(crate) type Encoded = std::result::Result<Example, Dropped>;

/// An example of so many tokens that has nothing to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) reason: Reason,
    pub(crate) tokens: u64,
}

impl Outcome {
    /// A record that is left out before it is tokenized.
    pub(super) fn left_out(reason: Reason) -> Self {
        Outcome::Examples(vec![Err(Dropped { reason, tokens: 0 })])
    }

    /// Completes the error, if there is one.
    pub(crate) fn placed(self, place: impl FnOnce(Error) -> Error) -> Self {
        match self {
            Outcome::Bad(error) => Outcome::Bad(place(error)),
            Outcome::Fatal(error) => Outcome::Fatal(place(error)),
            Outcome::Unreadable { error, bytes } => Outcome::Unreadable {
                error: place(error),
                bytes,
            },
            other => other,
        }
    }
}

/// A worker's reused buffers, and its counts until they are flushed.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(super) encoding: Encoding,
    pub(super) prompt: Encoding,
    /// Where special tokens stand that were left as text.
    pub(super) spelled: Vec<Range<usize>>,
    /// Whether the record's texts are compared with the reference engine's.
    pub(super) check: Check,
    read: Tally,
    pub(super) render: Tally,
    pub(super) tokenize: Tally,
    pub(super) mask: Tally,
}

/// Whether what an engine makes of a text is compared with what the reference engine makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Check {
    #[default]
    Trust,
    Compare,
}

impl Check {
    /// Of a record, where one in `every` is compared. A matter of its place alone: the same ones in every run.
    fn of(every: Option<u64>, origin: Origin) -> Check {
        let number = origin.block.wrapping_add(origin.record);
        match every {
            Some(every) if number.is_multiple_of(every) => Check::Compare,
            _ => Check::Trust,
        }
    }
}

#[derive(Default)]
pub(super) struct Tally {
    items: u64,
    bytes: u64,
    busy: Duration,
}

impl Tally {
    pub(super) fn add(&mut self, items: usize, bytes: usize, busy: Duration) {
        self.items += items as u64;
        self.bytes += bytes as u64;
        self.busy += busy;
    }
}

impl Scratch {
    /// Counts a record of `bytes` bytes that was read in `busy`.
    pub(crate) fn read(&mut self, bytes: usize, busy: Duration) {
        self.read.add(1, bytes, busy);
    }

    /// Adds what was counted to the shared counters.
    pub(crate) fn flush(&mut self, stats: &Stats) {
        for (tally, counters) in [
            (&mut self.read, &stats.read),
            (&mut self.render, &stats.render),
            (&mut self.tokenize, &stats.tokenize),
            (&mut self.mask, &stats.mask),
        ] {
            let Tally { items, bytes, busy } = std::mem::take(tally);
            if items > 0 {
                counters.add(items, bytes, busy);
            }
        }
    }
}

/// How one source's records are encoded.
pub(crate) struct Encoder {
    pub(crate) rows: RowReader,
    pub(crate) templates: Arc<Templates>,
    pub(crate) mask: MaskConfig,
    pub(crate) render: Render,
    pub(crate) limits: LimitsConfig,
    pub(crate) special_tokens_in_text: SpecialTokensInText,
    pub(crate) filter: Filter,
    /// What a record goes through before it is understood.
    pub(crate) function: Option<Arc<dyn RowFunction>>,
    pub(crate) tokenizer: Arc<LoadedTokenizer>,
    /// One record in so many is compared with the reference engine.
    pub(crate) tokenizer_check: Option<u64>,
}

impl Encoder {
    /// Encodes one record.
    pub(crate) fn encode(&self, line: &[u8], origin: Origin, scratch: &mut Scratch) -> Outcome {
        let outcome = match &self.function {
            None => self.try_encode(line, origin, scratch),
            Some(function) => match function.apply(line) {
                Ok(Some(given)) => self.try_encode(&given, origin, scratch),
                Ok(None) => Ok(Outcome::left_out(Reason::FilteredFunction)),
                Err(error) => Err(error),
            },
        };
        match outcome {
            Ok(outcome) => self.filter.examples(outcome),
            // Engines that differ are packmill's fault, which no policy for bad records may hide.
            Err(error) if error.kind() == Kind::Internal => Outcome::Fatal(error),
            Err(error) => Outcome::Bad(error),
        }
    }

    fn try_encode(&self, line: &[u8], origin: Origin, scratch: &mut Scratch) -> Result<Outcome> {
        let mut lap = Lap::start();
        scratch.check = Check::of(self.tokenizer_check, origin);
        if let Some(reason) = self.filter.record(line, &self.rows)? {
            return Ok(Outcome::left_out(reason));
        }
        let row = self.rows.read(line)?;
        if let Some(reason) = self.filter.row(&row)? {
            return Ok(Outcome::left_out(reason));
        }
        let masked = match row {
            Row::Chat(chat)
            | Row::ChatCompletion {
                conversation: chat, ..
            } if self.render == Render::PerTurn => {
                let examples = self.per_turn(&chat, origin, &mut lap, line.len(), scratch)?;
                return Ok(Outcome::Examples(examples));
            }
            Row::Chat(chat) => self.chat(&chat, None, &mut lap, line.len(), scratch)?,
            Row::ChatCompletion {
                conversation,
                prompt_len,
            } => self.chat(
                &conversation,
                Some(prompt_len),
                &mut lap,
                line.len(),
                scratch,
            )?,
            Row::TextCompletion { prompt, completion } => {
                scratch.render.add(1, line.len(), lap.lap());
                self.text(Some(&prompt), &completion, &mut lap, scratch)?
            }
            Row::Text(text) => {
                scratch.render.add(1, line.len(), lap.lap());
                self.text(None, &text, &mut lap, scratch)?
            }
            Row::Tokens { ids, trained } => {
                scratch.render.add(1, line.len(), lap.lap());
                self.tokenizer.engine.check_ids(&ids)?;
                let targets = self.given(&ids, trained)?;
                scratch.encoding.ids = ids;
                Masked::Trained(targets)
            }
        };
        scratch.mask.add(scratch.encoding.ids.len(), 0, lap.lap());
        Ok(Outcome::Examples(vec![example(origin, masked, scratch)]))
    }

    fn chat(
        &self,
        chat: &Conversation,
        prompt_len: Option<usize>,
        lap: &mut Lap,
        line_bytes: usize,
        scratch: &mut Scratch,
    ) -> Result<Masked> {
        let template = self.templates.choose(chat.tools.is_some())?;
        let rendered = template.render(chat, Ending::Whole)?;
        scratch.render.add(1, line_bytes, lap.lap());
        self.tokenize(template, chat, &rendered, lap, scratch)?;
        let ids = &scratch.encoding.ids;
        let flagged = chat.messages.iter().any(Message::speaks_for_itself);
        if flagged && !matches!(self.mask.train, Train::Assistant | Train::LastAssistant) {
            return Err(Error::new(Kind::Mask, Stage::Mask, "messages have train or weight of their own, which this policy cannot follow")
                .remedy("use train: assistant with a template that has generation tags, or take the flags out of the rows"));
        }
        match self.mask.train {
            Train::Assistant | Train::LastAssistant => {
                let simple = template.has_generation_tags()
                    && !flagged
                    && self.mask.train == Train::Assistant
                    && self.only_assistants()
                    && self.trains_all_fields();
                if simple {
                    let whole = rendered.spans.iter().map(|s| (s.clone(), Extent::Whole));
                    let parts: Vec<_> = whole.collect();
                    return Ok(self.masked(&parts, &[], &rendered.text, scratch));
                }
                let turns = template.turns(chat, &rendered)?;
                let turns = self.trained_turns(chat, &turns)?;
                let parts = self.trained_parts(template, chat, &rendered, &turns)?;
                let lighter = self.lighter(template, chat, &rendered, &turns)?;
                Ok(self.masked(&parts, &lighter, &rendered.text, scratch))
            }
            Train::Completion => {
                let Some(prompt_len) = prompt_len else {
                    return Err(Error::new(
                        Kind::Mask,
                        Stage::Mask,
                        "train: completion needs rows with a prompt and a completion",
                    )
                    .remedy("use train: last_assistant for chats"));
                };
                let prompt = chat.beginning(prompt_len);
                let rendered = template.render(&prompt, Ending::GenerationPrompt)?;
                self.encode_chat(
                    template,
                    &prompt,
                    &rendered,
                    scratch.check,
                    &mut scratch.prompt,
                )?;
                let trained = mask::completion(&scratch.prompt.ids, ids);
                Ok(Masked::Trained(trained.into()))
            }
            Train::All => Ok(Masked::Trained(mask::all(ids.len()).into())),
            Train::Markers => self.markers(&rendered.text, scratch),
        }
    }

    /// Puts the encoding of a rendered text into the scratch.
    pub(super) fn tokenize(
        &self,
        template: &ChatTemplate,
        chat: &Conversation,
        rendered: &Rendered,
        lap: &mut Lap,
        scratch: &mut Scratch,
    ) -> Result<()> {
        scratch.spelled = self.encode_chat(
            template,
            chat,
            rendered,
            scratch.check,
            &mut scratch.encoding,
        )?;
        let (tokens, bytes) = (scratch.encoding.ids.len(), rendered.text.len());
        scratch.tokenize.add(tokens, bytes, lap.lap());
        Ok(())
    }

    /// What is trained of turns: all, or without the fields that the recipe leaves out.
    pub(super) fn trained_parts(
        &self,
        template: &ChatTemplate,
        chat: &Conversation,
        rendered: &Rendered,
        turns: &Turns,
    ) -> Result<Vec<(Range<usize>, Extent)>> {
        let MaskConfig {
            reasoning,
            tool_calls,
            ..
        } = self.mask;
        template.without_fields(chat, rendered, turns, reasoning, tool_calls)
    }

    /// What of turns counts for less, in the text, because the row says so: of messages and of what they say.
    pub(super) fn lighter(
        &self,
        template: &ChatTemplate,
        chat: &Conversation,
        rendered: &Rendered,
        turns: &Turns,
    ) -> Result<Vec<(Range<usize>, Option<LossWeight>)>> {
        if !chat.messages.iter().any(Message::speaks_for_itself) {
            return Ok(Vec::new());
        }
        self.refuse_unasked(chat)?;
        let weight_of = |message: usize| {
            let message = chat.messages.get(message);
            message.map_or(LossWeight::ONE, |message| message.weight)
        };
        let whole = turns.spans.iter().zip(&turns.owners);
        let whole = whole.map(|(span, owner)| (span.clone(), weight_of(*owner)));
        let mut lighter: Vec<_> = whole
            .filter(|(_, weight)| *weight < LossWeight::ONE)
            .map(|(span, weight)| (span, Some(weight)))
            .collect();
        let stretches = template.lighter(chat, rendered, |of| turns.owners.contains(&of))?;
        lighter.extend(stretches.into_iter().map(|stretch| {
            let own = weight_of(stretch.message);
            (stretch.text, stretch.weight.map(|weight| weight.times(own)))
        }));
        Ok(lighter)
    }

    /// Refuses weights that the recipe does not ask for, and parts that are to be trained in a message that is not.
    fn refuse_unasked(&self, chat: &Conversation) -> Result<()> {
        let wants = |detail: &Detail| detail.weight.is_some() && detail.part.is_some();
        let trained = self.trained_messages(chat);
        for ((index, message), trained) in chat.messages.iter().enumerate().zip(trained) {
            if message.is_weighted() && self.mask.weights == LossWeights::Refuse {
                return Err(weighted(format!("message {index} has a weight")));
            }
            // Its own word counts more than its parts'.
            let refuses = message.train == Some(false);
            if !trained && !refuses && message.details.iter().any(wants) {
                let message = format!(
                    "a part of message {index} should be trained, and the message, of role {:?}, is not",
                    message.role
                );
                return Err(Error::new(Kind::Mask, Stage::Mask, message).remedy(
                    "give the message train: true, add its role to mask.roles, or take the part's flag out",
                ));
            }
        }
        Ok(())
    }

    /// The tokens of those parts of the text whose encoding is in the scratch, and what of them is `lighter`.
    pub(super) fn masked(
        &self,
        parts: &[(Range<usize>, Extent)],
        lighter: &[(Range<usize>, Option<LossWeight>)],
        text: &str,
        scratch: &Scratch,
    ) -> Masked {
        let Encoding { ids, offsets } = &scratch.encoding;
        let tokens = Tokens { text, ids, offsets };
        let is_added = |id| self.tokenizer.is_added(id);
        let offsets = Offsets::new(offsets);
        let runs = parts.iter().filter_map(|(span, extent)| {
            let run = offsets.run(span)?;
            match (extent, self.mask.end_of_turn) {
                (Extent::Inner, _) | (Extent::Whole, true) => Some(run),
                (Extent::Whole, false) => mask::without_end_of_turn(run, &tokens, is_added),
                (Extent::End, true) => mask::end_of_turn(run, &tokens, is_added),
                (Extent::End, false) => None,
            }
        });
        let trained = mask::merge(runs.collect());
        if lighter.is_empty() {
            return Masked::Trained(trained.into());
        }
        let runs = lighter.iter();
        let runs = runs.filter_map(|(span, weight)| Some((offsets.run(span)?, *weight)));
        let runs: Vec<_> = runs.collect();
        Masked::Trained(mask::weigh(trained, &runs))
    }

    /// Which messages are trained: by a message's own flag, else by its role.
    pub(super) fn trained_messages(&self, chat: &Conversation) -> Vec<bool> {
        let turns = chat.messages.iter().map(|m| Turn {
            role: &m.role,
            train: m.train,
        });
        mask::trained_turns(turns, &self.mask.roles)
    }

    /// The spans of the messages that are trained: a message's own flag, else its role; of these the last
    /// turn alone where the policy says so.
    fn trained_turns(&self, chat: &Conversation, turns: &Turns) -> Result<Turns> {
        let Turns { spans, owners } = turns;
        let mut trained = self.trained_messages(chat);
        for (index, message) in chat.messages.iter().enumerate() {
            // An assistant's turn without a span is the template's decision; any other that should be
            // trained cannot be, and must not be passed over in silence.
            if trained.get(index) == Some(&true)
                && message.role != "assistant"
                && !owners.contains(&index)
            {
                return Err(Error::new(
                    Kind::Mask,
                    Stage::Mask,
                    format!("message {index}, of role {:?}, should be trained, but the template has no generation tags around it", message.role),
                )
                .remedy("put tags around such turns in the template, or take the role out of mask.roles"));
            }
        }
        if self.mask.train == Train::LastAssistant {
            let last = mask::last_owner(owners);
            for (index, trained) in trained.iter_mut().enumerate() {
                *trained &= Some(index) == last;
            }
        }
        let (spans, owners) = mask::select(spans, owners, &trained);
        Ok(Turns { spans, owners })
    }

    /// Plain text: tokenized with the tokenizer's own special tokens, EOS once at its end.
    fn text(
        &self,
        prompt: Option<&str>,
        completion: &str,
        lap: &mut Lap,
        scratch: &mut Scratch,
    ) -> Result<Masked> {
        let joined = format!("{}{completion}", prompt.unwrap_or_default());
        let text = self.with_eos(&joined);
        let prompt_bytes = prompt.map_or(0, str::len);
        scratch.spelled = self.encode_text(
            &text,
            joined.len(),
            prompt_bytes,
            scratch.check,
            &mut scratch.encoding,
        )?;
        scratch
            .tokenize
            .add(scratch.encoding.ids.len(), text.len(), lap.lap());
        match self.mask.train {
            Train::All => Ok(Masked::Trained(mask::all(scratch.encoding.ids.len()).into())),
            Train::Completion => {
                let Some(prompt) = prompt else {
                    return Err(Error::new(Kind::Mask, Stage::Mask, "train: completion needs rows with a prompt and a completion")
                        .remedy("use train: all for plain text"));
                };
                self.encode_text(prompt, prompt.len(), prompt.len(), scratch.check, &mut scratch.prompt)?;
                let trained = mask::completion(&scratch.prompt.ids, &scratch.encoding.ids);
                Ok(Masked::Trained(trained.into()))
            }
            Train::Markers => self.markers(&text, scratch),
            Train::Assistant | Train::LastAssistant => {
                Err(Error::new(Kind::Mask, Stage::Mask, "plain text has no assistant turns")
                    .remedy("use train: completion for prompt and completion, train: all for text, or train: markers"))
            }
        }
    }

    fn markers(&self, text: &str, scratch: &Scratch) -> Result<Masked> {
        let Some(markers) = &self.mask.markers else {
            return Err(Error::new(
                Kind::Recipe,
                Stage::Mask,
                "train: markers without mask.markers",
            ));
        };
        let Encoding { ids, offsets } = &scratch.encoding;
        Ok(
            match mask::marked_tokens(&Tokens { text, ids, offsets }, markers, &scratch.spelled) {
                Ok(trained) => Masked::Trained(trained.into()),
                Err(_) => Masked::NoMarker,
            },
        )
    }

    fn given(&self, ids: &[u32], given: GivenLabels) -> Result<Targets> {
        match (given, self.mask.train) {
            (GivenLabels::Targets(targets), _)
                if !targets.weights.is_empty() && self.mask.weights == LossWeights::Refuse =>
            {
                Err(weighted("the loss mask has a weight".to_owned()))
            }
            (GivenLabels::Targets(targets), _) => Ok(targets),
            (GivenLabels::None, Train::All) => Ok(mask::all(ids.len()).into()),
            (GivenLabels::None, _) => Err(Error::new(
                Kind::Mask,
                Stage::Mask,
                "token rows without labels or loss_mask",
            )
            .remedy("use train: all, or add labels to the rows")),
        }
    }

    fn trains_all_fields(&self) -> bool {
        [self.mask.reasoning, self.mask.tool_calls] == [FieldLoss::Train; 2]
    }

    fn only_assistants(&self) -> bool {
        self.mask.roles.len() == 1 && self.mask.roles[0] == "assistant"
    }
}

/// A masked text: its ids are in the scratch.
pub(super) enum Masked {
    Trained(Targets),
    NoMarker,
}

/// The example that a masked text is, if it has a target.
pub(super) fn example(origin: Origin, masked: Masked, scratch: &Scratch) -> Encoded {
    let ids = &scratch.encoding.ids;
    let dropped = |reason| Dropped {
        reason,
        tokens: ids.len() as u64,
    };
    match masked {
        Masked::NoMarker => Err(dropped(Reason::NoMarker)),
        Masked::Trained(targets) if !mask::has_target(&targets.trained) => {
            Err(dropped(Reason::NoTrainedToken))
        }
        Masked::Trained(Targets { trained, weights }) => Ok(Example {
            origin,
            // A fresh vector of the exact size: examples wait in pools, scratch does not.
            ids: ids.as_slice().to_vec(),
            trained,
            weights,
            protected: Vec::new(),
        }),
    }
}

fn weighted(what: String) -> Error {
    let message = format!("{what} between 0 and 1, and mask.weights refuses those");
    Error::new(Kind::Mask, Stage::Mask, message).remedy(
        "set mask.weights: use and multiply the loss by the batches' loss_weights, or round it to 0 or 1",
    )
}

/// Refuses, when a source is opened, what could only fail at its first record.
pub(crate) fn check_policy(shape: Shape, mask: &MaskConfig) -> Result<()> {
    let by_turns = matches!(mask.train, Train::Assistant | Train::LastAssistant);
    if !by_turns && [mask.reasoning, mask.tool_calls].contains(&FieldLoss::Skip) {
        return Err(Error::new(
            Kind::Recipe,
            Stage::Mask,
            "mask.reasoning and mask.tool_calls leave out parts of assistant turns, and this policy knows no turns",
        )
        .remedy("use train: assistant or train: last_assistant, or take the keys out"));
    }
    match shape {
        Shape::Text if !matches!(mask.train, Train::All | Train::Markers) => Err(Error::new(
            Kind::Recipe,
            Stage::Mask,
            "plain text has no turns and no completion that mask.train could tell apart",
        )
        .remedy("use train: all or train: markers for this source")),
        // A prompt and a completion may be texts or chats, and rows of tokens may bring labels.
        _ => Ok(()),
    }
}
