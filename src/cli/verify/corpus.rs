//! A corpus, read through.

use crate::Recipe;
use crate::cli::byte_bar::ByteBar;
use crate::cli::show::number::exact;
use crate::cli::stdio;
use crate::corpus::{Corpus, open_file};
use crate::pipeline::{Finding, Model, VerifiedShard, verify_recipe, verify_shards, worker_count};
use crate::read::cache_folder;
use anyhow::Result;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Findings of a shard that are printed for a person; --json has more.
const SHOWN: usize = 10;

/// The corpus of a recipe, as a stream would read it.
pub(super) fn recipe(path: &Path, json: bool) -> Result<()> {
    let recipe = Recipe::load(path)?;
    let model = Arc::new(Model::load(&recipe)?);
    // Only for the bar: what cannot be opened is found below, with everything else.
    let size = Corpus::open(&recipe).map_or(0, |corpus| corpus.size_bytes());
    let bar = ByteBar::new(size)?;
    let threads = worker_count(&recipe);
    let verified = verify_recipe(&recipe, &model, &cache_folder()?, threads, &|bytes| {
        bar.advance(bytes)
    })?;
    drop(bar);
    report(&verified, json)
}

/// Files by themselves.
pub(super) fn shards(path: &Path, paths: &[PathBuf], json: bool) -> Result<()> {
    let (mut files, mut unreadable) = (Vec::new(), Vec::new());
    for shard in paths {
        match open_file(shard) {
            Ok(mut file) => {
                let name = shard.strip_prefix(path).unwrap_or(shard);
                if !name.as_os_str().is_empty() {
                    file.name = name.display().to_string();
                }
                files.push(file);
            }
            // The one that was named: nothing else is to be said.
            Err(error) if paths.len() == 1 => return Err(error.into()),
            Err(error) => unreadable.push(VerifiedShard {
                shard: shard.display().to_string(),
                findings: vec![Finding { error, byte: None }],
                ..VerifiedShard::default()
            }),
        }
    }
    let bar = ByteBar::new(files.iter().map(|file| file.size_bytes()).sum())?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let verified = verify_shards(&files, &cache_folder()?, threads, &|bytes| {
        bar.advance(bytes)
    })?;
    drop(bar);
    unreadable.extend(verified);
    report(&unreadable, json)
}

fn report(verified: &[VerifiedShard], json: bool) -> Result<()> {
    let records: u64 = verified.iter().map(|shard| shard.records).sum();
    let wrong = verified.iter().filter(|shard| !shard.is_sound()).count();
    if json {
        let shards: Vec<_> = verified.iter().map(as_json).collect();
        let answer = json!({"records": records, "wrong_shards": wrong, "shards": shards});
        stdio::print(format_args!("{answer}\n"))?;
    } else {
        for shard in verified {
            show(shard)?;
        }
        let (shards, records) = (exact(verified.len() as u64), exact(records));
        stdio::print(format_args!("{shards} shards, {records} records\n"))?;
    }
    match wrong {
        0 => Ok(()),
        wrong => anyhow::bail!("{wrong} of {} shards have something wrong", verified.len()),
    }
}

fn show(shard: &VerifiedShard) -> Result<()> {
    for finding in shard.findings.iter().take(SHOWN) {
        let place = match finding.byte {
            Some(byte) => format!(" (byte {} of the text)", exact(byte)),
            None => String::new(),
        };
        stdio::print(format_args!("{}{place}\n", finding.error))?;
    }
    let more = (shard.bad as usize).saturating_sub(SHOWN);
    if more > 0 {
        let more = exact(more as u64);
        stdio::print(format_args!("{}: {more} more like these\n", shard.shard))?;
    }
    let (records, bad) = (exact(shard.records), exact(shard.bad));
    match shard.is_sound() {
        true => stdio::print(format_args!("{}: {records} records\n", shard.shard)),
        false => stdio::print(format_args!(
            "{}: {records} records, {bad} bad\n",
            shard.shard
        )),
    }
}

fn as_json(shard: &VerifiedShard) -> serde_json::Value {
    let findings = shard.findings.iter().map(|Finding { error, byte }| {
        json!({
            "record": error.record(),
            "byte": byte,
            "kind": format!("{:?}", error.kind()).to_lowercase(),
            "stage": error.stage().to_string(),
            "message": error.message(),
            "error": error.to_string(),
        })
    });
    json!({
        "source": shard.source,
        "shard": shard.shard,
        "records": shard.records,
        "bad": shard.bad,
        "text_bytes": shard.text_bytes,
        "findings": findings.collect::<Vec<_>>(),
    })
}
