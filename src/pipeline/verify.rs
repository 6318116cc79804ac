//! A corpus read through: every record is read, understood, rendered, tokenized and masked as a stream would do it, and
//! everything that is wrong is said, with its place.

use super::encode::{Encoder, Outcome, Scratch};
use super::model::Model;
use super::sources::encoder;
use super::workers::guarded;
use crate::corpus;
use crate::error::{Error, Kind, Result, Stage};
use crate::example::Origin;
use crate::read::sidecar;
use crate::read::{LocalShard, Lost, Met, open_shards, read_through};
use crate::recipe::{Io, LimitsConfig, OnBadRecord, Recipe, SourceConfig};
use crate::render::row::RowReader;
use crate::shard::ShardFile;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Findings of a shard that are kept; the others are counted.
const MOST_FINDINGS: usize = 100;

/// What a shard holds, and what is wrong with it.
#[derive(Debug, Default)]
pub struct VerifiedShard {
    /// Its source, where a recipe names it.
    pub source: Option<String>,
    /// Its name, or what stands for one where a source has no shards.
    pub shard: String,
    /// Records, bad ones included.
    pub records: u64,
    /// Of them bad, unreadable rests of blocks included.
    pub bad: u64,
    /// Bytes of its text.
    pub text_bytes: u64,
    /// The first of what is wrong, in file order.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What, where, and what to do about it.
    pub error: Error,
    /// Where its record begins: byte of the shard's decoded text; none where it is the whole shard's, or rows lie in columns.
    pub byte: Option<u64>,
}

impl VerifiedShard {
    /// Whether nothing is wrong with it.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn unreadable(source: Option<&str>, shard: &str, error: Error) -> Self {
        VerifiedShard {
            source: source.map(str::to_owned),
            shard: shard.to_owned(),
            findings: vec![Finding { error, byte: None }],
            ..VerifiedShard::default()
        }
    }

    fn find(&mut self, error: Error, byte: Option<u64>) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { error, byte });
        }
    }
}

/// How one source's records are looked at.
enum Look<'a> {
    /// As a stream of a recipe does.
    Encode(Box<Encoder>),
    /// As rows of any shape, the first that is understood being the shape of all.
    Rows(Box<RowReader>, &'a LimitsConfig),
    /// Not at all: how they are to be understood is wrong already.
    Count,
}

/// Reads all sources of a recipe through, on `threads` threads, a shard each. `cache` is where indexes may lie.
/// `progress` is told of stored bytes, and may break off.
///
/// # Errors
/// What `progress` breaks off with. Everything else is a finding.
pub fn verify_recipe(
    recipe: &Recipe,
    model: &Arc<Model>,
    cache: &Path,
    threads: usize,
    progress: &(dyn Fn(u64) -> Result<()> + Sync),
) -> Result<Vec<VerifiedShard>> {
    // Whether a stream would stop at the first that is wrong makes no difference here.
    let patient = Recipe {
        on_bad_record: OnBadRecord::Skip { max_fraction: 1.0 },
        ..recipe.clone()
    };
    let mut verified = Vec::new();
    for (index, config) in recipe.sources.iter().enumerate() {
        let whole = format!("source {}", config.name);
        let source = match corpus::Source::open(config) {
            Ok(source) => source,
            Err(error) => {
                verified.push(VerifiedShard::unreadable(Some(&config.name), &whole, error));
                continue;
            }
        };
        let look = match encoder(&patient, index, model, &source) {
            Ok((encoder, _)) => Look::Encode(Box::new(encoder)),
            Err(error) => {
                verified.push(VerifiedShard::unreadable(Some(&config.name), &whole, error));
                Look::Count
            }
        };
        let own = Pass {
            source: Some(&config.name),
            files: &source.shards,
            io: recipe.io,
            limits: &recipe.limits,
            cache,
            look: &look,
        };
        verified.extend(own.run(threads, progress)?);
    }
    Ok(verified)
}

/// Reads files through as shards by themselves: whether they can be decoded, and are rows of one shape that is known.
/// Each file's first record that is understood tells its shape. As [`verify_recipe`] otherwise.
pub fn verify_shards(
    files: &[ShardFile],
    cache: &Path,
    threads: usize,
    progress: &(dyn Fn(u64) -> Result<()> + Sync),
) -> Result<Vec<VerifiedShard>> {
    let limits = LimitsConfig::DEFAULT;
    let rows = RowReader::new(&SourceConfig::default(), None);
    let look = Look::Rows(Box::new(rows), &limits);
    let pass = Pass {
        source: None,
        files,
        io: Io::Auto,
        limits: &limits,
        cache,
        look: &look,
    };
    pass.run(threads, progress)
}

/// Some shards that are looked at in one way.
struct Pass<'a> {
    source: Option<&'a str>,
    files: &'a [ShardFile],
    io: Io,
    limits: &'a LimitsConfig,
    cache: &'a Path,
    look: &'a Look<'a>,
}

impl Pass<'_> {
    /// All shards, in their order.
    fn run(
        &self,
        threads: usize,
        progress: &(dyn Fn(u64) -> Result<()> + Sync),
    ) -> Result<Vec<VerifiedShard>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some((at, file)) = {
                let at = next.fetch_add(1, Relaxed);
                self.files.get(at).map(|file| (at, file))
            } {
                done.push((at, self.shard(file, progress)?));
            }
            Ok(done)
        };
        let threads = threads.min(self.files.len());
        let mut done: Vec<(usize, VerifiedShard)> = Vec::with_capacity(self.files.len());
        if threads < 2 {
            done = work()?;
        } else {
            std::thread::scope(|scope| {
                let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                for thread in running {
                    done.extend(thread.join().unwrap_or_else(|_| Err(crashed()))?);
                }
                Ok::<(), Error>(())
            })?;
        }
        done.sort_by_key(|(at, _)| *at);
        Ok(done.into_iter().map(|(_, shard)| shard).collect())
    }

    fn shard(
        &self,
        file: &ShardFile,
        progress: &dyn Fn(u64) -> Result<()>,
    ) -> Result<VerifiedShard> {
        let mut verified = VerifiedShard {
            source: self.source.map(str::to_owned),
            shard: file.name.clone(),
            ..VerifiedShard::default()
        };
        let opened = open_shards(std::slice::from_ref(file), self.io);
        let shard = match opened.map(|shards| shards.into_iter().next()) {
            Ok(Some(shard)) => shard,
            Ok(None) => return Ok(verified),
            Err(error) => {
                verified.find(error, None);
                return Ok(verified);
            }
        };
        if let Err(error) = self.index(&shard) {
            verified.find(error, None);
        }
        let mut broken_off = None;
        let mut progress =
            |bytes| progress(bytes).inspect_err(|error| broken_off = Some(error.clone()));
        let mut looker = Looker {
            look: self.look,
            columnar: file.codec.is_columnar(),
            rows: None,
            scratch: Scratch::default(),
        };
        let read = read_through(
            &shard,
            self.limits,
            &mut |met| {
                looker.look(met, &mut verified, &file.name);
                Ok(())
            },
            &mut progress,
        );
        match (read, broken_off) {
            (_, Some(error)) => return Err(error),
            (Ok(bytes), None) => verified.text_bytes = bytes,
            (Err(error), None) => verified.find(error, None),
        }
        Ok(verified)
    }

    /// Holds a shard against its index, if it has one.
    fn index(&self, shard: &LocalShard) -> Result<()> {
        match sidecar::find(shard, Some(self.cache))? {
            Some(sidecar) => sidecar.check(shard, &mut |_| Ok(())),
            None => Ok(()),
        }
    }
}

/// Looks at one shard's records.
struct Looker<'a> {
    look: &'a Look<'a>,
    /// Whether no byte of the shard is a record's first.
    columnar: bool,
    /// Once the shape is known.
    rows: Option<RowReader>,
    scratch: Scratch,
}

impl Looker<'_> {
    fn look(&mut self, met: Met, verified: &mut VerifiedShard, name: &str) {
        let (error, byte) = match met {
            Met::Bad(bad, byte) => {
                // An unreadable rest stands for records that nobody can count.
                verified.records += u64::from(bad.lost == Lost::Record);
                (Some(bad.error), byte)
            }
            Met::Record { line, byte, text } => {
                verified.records += 1;
                let error = self.record(&text);
                (
                    error.map(|error| error.in_shard(name).at_record(line)),
                    byte,
                )
            }
        };
        if let Some(error) = error {
            verified.bad += 1;
            verified.find(error, Some(byte).filter(|_| !self.columnar));
        }
    }

    /// What is wrong with a record.
    fn record(&mut self, text: &[u8]) -> Option<Error> {
        match self.look {
            Look::Encode(encoder) => {
                let scratch = &mut self.scratch;
                match guarded(|| encoder.encode(text, Origin::default(), scratch)) {
                    Outcome::Bad(error)
                    | Outcome::Fatal(error)
                    | Outcome::Unreadable { error, .. } => Some(error),
                    Outcome::Examples(_) | Outcome::Nothing => None,
                }
            }
            Look::Rows(any, limits) => {
                if let Some(rows) = &self.rows {
                    return rows.read(text).err();
                }
                let shape = match any.detect(text) {
                    Ok(shape) => shape,
                    Err(error) => return Some(error),
                };
                let rows = RowReader::new(&SourceConfig::default(), None);
                let rows = rows.within(limits).with_shape(shape);
                let error = rows.read(text).err();
                if error.is_none() {
                    self.rows = Some(rows);
                }
                error
            }
            Look::Count => None,
        }
    }
}

fn crashed() -> Error {
    Error::new(
        Kind::Internal,
        Stage::Read,
        "a thread that verifies panicked",
    )
    .remedy("this is a fault of packmill: please report it")
}
