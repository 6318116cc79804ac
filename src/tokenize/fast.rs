//! The fast engine: ids from an engine without bookkeeping, offsets from the tokens' lengths, both what the reference
//! engine gives.
//!
//! It is made beside the reference, on a thread of its own, when the reference has encoded some megabytes, and the
//! reference serves until it is ready: nobody waits for it, and ids are the same. What cannot be served is refused with the reason, and so is an
//! engine that differs from the reference on any of the [`probes`](super::probes). While it runs, a text's offsets are proven by
//! its tokens, byte by byte; a text for which the proof fails (one that a normalizer changes, or a blank that a special
//! token swallows) is encoded by the reference. So are texts in which special tokens are left as text, and everything
//! that is not encoding.

use super::byte_bpe::{self, ByteBpe};
use super::byte_level::{TokenBytes, is_dense};
use super::engine::Engine;
use super::probes::probes;
use super::sentence_bpe::{self, SentenceBpe};
use super::spellings::Spelling;
use super::{ByteOffsets, Encoding, EngineCounts, SpecialTokens, Tokenizer};
use crate::error::{Error, Kind, Result, Stage};
use crate::example::TokenId;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

/// A fast engine in front of the reference, which serves alone until the fast one is made.
pub(super) struct FastEngine {
    reference: Engine,
    /// The tokenizer.json, until the fast engine is begun.
    file: Mutex<Option<Vec<u8>>>,
    /// Set once: the fast engine, or why there is none.
    fast: OnceLock<std::result::Result<Fast, String>>,
    own: Weak<FastEngine>,
    bytes_before: AtomicU64,
    before_ready: AtomicU64,
    by_reference: AtomicU64,
    checked: AtomicU64,
}

/// Bytes of text that the reference encodes before a fast engine is begun. To make one keeps a core busy for a second, and
/// where the workers have all cores the first batch would wait for it: some megabytes are what first batches take.
const BYTES_BEFORE: u64 = 4 << 20;

/// Bytes of a text that waits for the fast engine: the reference takes forty times a text's size while it encodes, and with
/// a SentencePiece vocabulary merges all of it as one word.
const LARGE_BYTES: usize = 256 << 10;

/// What the fast engine is made of.
struct Fast {
    way: Way,
    frame: Frame,
}

/// How ids are had, and offsets with them.
enum Way {
    Bytes(Box<ByteBpe>, TokenBytes),
    Sentence(Box<SentenceBpe>),
}

/// What the post-processor puts around every text.
#[derive(Debug, Default, PartialEq, Eq)]
struct Frame {
    before: Vec<TokenId>,
    behind: Vec<TokenId>,
}

impl FastEngine {
    /// The engine of `reference`, whose tokenizer.json is `file`. The fast one is made on a thread of its own, which
    /// ends with that, as soon as it pays or somebody [waits](Tokenizer::wait) for it.
    pub(super) fn new(reference: Engine, file: Vec<u8>) -> Arc<FastEngine> {
        Arc::new_cyclic(|own| FastEngine {
            reference,
            file: Mutex::new(Some(file)),
            fast: OnceLock::new(),
            own: Weak::clone(own),
            bytes_before: AtomicU64::new(0),
            before_ready: AtomicU64::new(0),
            by_reference: AtomicU64::new(0),
            checked: AtomicU64::new(0),
        })
    }

    /// Begins to make the fast engine, unless that was done.
    fn begin(&self) {
        // While this runs somebody has a share of the engine, so there is one to be had.
        let Some(own) = self.own.upgrade() else {
            return;
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file.take() else {
            return;
        };
        let thread = std::thread::Builder::new().name("packmill-engine".to_owned());
        let started = thread.spawn(move || {
            // Whoever waits must not wait for ever: a panic in a crate is a reason like others.
            let made = catch_unwind(AssertUnwindSafe(|| Fast::of(&own.reference, &file)));
            own.settle(made.unwrap_or_else(|_| Err("it broke while it was made".to_owned())));
        });
        if let Err(error) = started {
            self.settle(Err(format!("no thread for it: {error}")));
        }
    }

    /// What came of it. Called once.
    fn settle(&self, fast: std::result::Result<Fast, String>) {
        let _ = self.fast.set(fast);
    }

    #[cfg(test)]
    pub(super) fn has_begun(&self) -> bool {
        self.file.lock().unwrap().is_none()
    }

    /// The fast engine, if it is there by now.
    fn ready(&self) -> Option<&Fast> {
        self.fast.get()?.as_ref().ok()
    }

    /// The fast engine, if it serves a text: it is there, or it is waited for, because the reference must not have this one.
    fn serving(&self, text: &str) -> Option<&Fast> {
        if text.len() > LARGE_BYTES {
            let _ = self.wait();
        }
        self.ready()
    }

    /// Books a text that the reference has to encode.
    fn leave(&self, text: &str) {
        if self.fast.get().is_some() {
            self.by_reference.fetch_add(1, Relaxed);
            return;
        }
        self.before_ready.fetch_add(1, Relaxed);
        let bytes = text.len() as u64;
        let before = self.bytes_before.fetch_add(bytes, Relaxed);
        if before < BYTES_BEFORE && before + bytes >= BYTES_BEFORE {
            self.begin();
        }
    }

    /// What is wrong where the reference encodes a text otherwise.
    fn difference(&self, text: &str, own: &Encoding, reference: &Encoding) -> Error {
        let tokens = |of: &Encoding| {
            let tokens = of.ids.iter().copied().zip(of.offsets.iter().copied());
            tokens.collect::<Vec<_>>()
        };
        let (own, reference) = (tokens(own), tokens(reference));
        let alike = own.iter().zip(&reference).take_while(|(a, b)| a == b);
        let place = alike.count();
        let at = |tokens: &[(TokenId, ByteOffsets)]| match tokens.get(place) {
            Some((id, (start, end))) => format!("{id} at bytes {start} to {end}"),
            None => format!("its end at byte {}", text.len()),
        };
        Error::new(
            Kind::Internal,
            Stage::Tokenize,
            format!(
                "the engines make different tokens of a text: token {place} is {} with {} and {} with {}",
                at(&own),
                self.name(),
                at(&reference),
                self.reference.name(),
            ),
        )
        .remedy("set tokenizer.engine: reference, which is right, and report the text")
    }
}

impl Fast {
    /// The fast engine that gives what `reference` gives, or why there is none.
    fn of(reference: &Engine, file: &[u8]) -> std::result::Result<Fast, String> {
        let way = Way::of(reference, file)?;
        let frame = Frame::of(reference).map_err(|error| error.to_string())?;
        let frame = frame.ok_or("its post-processor is not followed")?;
        let fast = Fast { way, frame };
        let differs = fast.differs(reference);
        match differs.map_err(|error| error.to_string())? {
            None => Ok(fast),
            Some(text) => {
                let shown: String = text.chars().take(40).collect();
                Err(format!("it gives other tokens for {shown:?}"))
            }
        }
    }

    fn name(&self) -> &'static str {
        match self.way {
            Way::Bytes(..) => byte_bpe::NAME,
            Way::Sentence(_) => sentence_bpe::NAME,
        }
    }

    /// A probe that the two engines do not encode alike.
    fn differs(&self, engine: &Engine) -> Result<Option<String>> {
        let (mut own, mut reference) = (Encoding::default(), Encoding::default());
        for text in probes(engine.inner()) {
            for special in [SpecialTokens::Leave, SpecialTokens::Add] {
                engine.encode_tracked(&text, special, &mut reference)?;
                let proven = self.encode(&text, special, &mut own);
                if proven && own != reference {
                    return Ok(Some(text));
                }
                // What proves nothing is the reference's, but the ids that the crate made have to be right all the same, by
                // either way to them.
                if let Way::Bytes(ids, _) = &self.way {
                    let alike = |mut own: Vec<TokenId>| {
                        if special == SpecialTokens::Add {
                            self.frame.put_around(&mut own);
                        }
                        own == reference.ids
                    };
                    // Of what was proven its own way is shown already.
                    let own_way =
                        proven || ids.encode(&text, &mut own.ids).is_ok() && alike(own.ids.clone());
                    if !(own_way && ids.encode_by_crate(&text).is_ok_and(alike)) {
                        return Ok(Some(text));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Replaces `out` by the tokens of `text`, if they prove their places. Otherwise leaves it in any state and says no.
    #[must_use]
    fn encode(&self, text: &str, special: SpecialTokens, out: &mut Encoding) -> bool {
        let proven = match &self.way {
            Way::Bytes(ids, bytes) => {
                !byte_bpe::is_cut_otherwise(text)
                    && ids.encode(text, &mut out.ids).is_ok()
                    && bytes.place(text, |_| false, out)
            }
            Way::Sentence(engine) => engine.encode(text, out),
        };
        if !proven {
            return false;
        }
        if special == SpecialTokens::Add {
            let end = out.offsets.last().map_or(0, |offsets| offsets.1);
            self.frame.put_around(&mut out.ids);
            let before = self.frame.before.iter().map(|_| (0, 0));
            out.offsets.splice(0..0, before);
            out.offsets
                .extend(self.frame.behind.iter().map(|_| (end, end)));
        }
        true
    }
}

impl Way {
    /// The way for `reference`, or why there is none.
    fn of(reference: &Engine, file: &[u8]) -> std::result::Result<Way, String> {
        let tokenizer = reference.inner();
        let (ids, used) = (
            reference.vocab_len() as usize,
            tokenizer.get_vocab_size(true),
        );
        if !is_dense(ids, used) {
            return Err(format!("{} of its ids are not in use", ids - used));
        }
        match reference.bytes() {
            Some(bytes) => Ok(Way::Bytes(Box::new(ByteBpe::of(tokenizer)?), bytes.clone())),
            None => {
                let engine = SentenceBpe::of(tokenizer, reference.vocab_len(), file)?;
                Ok(Way::Sentence(Box::new(engine)))
            }
        }
    }
}

impl Frame {
    /// What the post-processor of `engine` puts around texts; none where it does anything else.
    fn of(engine: &Engine) -> Result<Option<Frame>> {
        let (mut bare, mut framed) = (Encoding::default(), Encoding::default());
        engine.encode_tracked("a", SpecialTokens::Leave, &mut bare)?;
        engine.encode_tracked("a", SpecialTokens::Add, &mut framed)?;
        let is_inserted = |offsets: &(u32, u32)| offsets.0 == offsets.1;
        let before = framed.offsets.iter().take_while(|o| is_inserted(o)).count();
        let own = before..before + bare.ids.len();
        if framed.ids.get(own.clone()) != Some(bare.ids.as_slice()) {
            return Ok(None);
        }
        let part = |range: Option<&[TokenId]>| range.unwrap_or_default().to_vec();
        Ok(Some(Frame {
            before: part(framed.ids.get(..own.start)),
            behind: part(framed.ids.get(own.end..)),
        }))
    }

    fn put_around(&self, ids: &mut Vec<TokenId>) {
        ids.splice(0..0, self.before.iter().copied());
        ids.extend_from_slice(&self.behind);
    }
}

impl Tokenizer for FastEngine {
    fn encode(&self, text: &str, special: SpecialTokens, out: &mut Encoding) -> Result<()> {
        let Some(fast) = self.serving(text) else {
            self.leave(text);
            return self.reference.encode(text, special, out);
        };
        // Longer ones are refused by the reference.
        if u32::try_from(text.len()).is_ok() && fast.encode(text, special, out) {
            return Ok(());
        }
        self.leave(text);
        // What the fast engine could not prove the reference's own shortcut would try in vain.
        self.reference.encode_tracked(text, special, out)
    }

    fn encode_except(
        &self,
        text: &str,
        plain: &[Range<usize>],
        special: SpecialTokens,
        out: &mut Encoding,
    ) -> Result<Vec<Range<usize>>> {
        if !self.reference.may_spell(text, plain)? {
            self.encode(text, special, out)?;
            return Ok(Vec::new());
        }
        self.leave(text);
        self.reference.encode_except(text, plain, special, out)
    }

    fn spellings(&self, text: &str) -> Result<Vec<Spelling>> {
        self.reference.spellings(text)
    }

    fn vocab_len(&self) -> u32 {
        self.reference.vocab_len()
    }

    fn token(&self, id: TokenId) -> Option<String> {
        self.reference.token(id)
    }

    fn id(&self, token: &str) -> Option<TokenId> {
        self.reference.id(token)
    }

    fn decode(&self, ids: &[TokenId]) -> Result<String> {
        self.reference.decode(ids)
    }

    fn name(&self) -> &str {
        match self.ready() {
            Some(fast) => fast.name(),
            None => self.reference.name(),
        }
    }

    fn wait(&self) -> std::result::Result<(), &str> {
        self.begin();
        match self.fast.wait() {
            Ok(_) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// The reference's: ids are the same.
    fn fingerprint(&self) -> u128 {
        self.reference.fingerprint()
    }

    fn reference(&self) -> Option<&dyn Tokenizer> {
        self.ready().is_some().then_some(&self.reference)
    }

    fn check(
        &self,
        text: &str,
        plain: &[Range<usize>],
        special: SpecialTokens,
        out: &Encoding,
    ) -> Result<()> {
        if self.ready().is_none() {
            // The reference beside itself shows nothing.
            return Ok(());
        }
        self.checked.fetch_add(1, Relaxed);
        let mut reference = Encoding::default();
        self.reference
            .encode_except(text, plain, special, &mut reference)?;
        match reference == *out {
            true => Ok(()),
            false => Err(self.difference(text, out, &reference)),
        }
    }

    fn counts(&self) -> EngineCounts {
        EngineCounts {
            before_ready: self.before_ready.load(Relaxed),
            by_reference: self.by_reference.load(Relaxed),
            checked: self.checked.load(Relaxed),
        }
    }
}
