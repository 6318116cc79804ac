//! Measures the shuffle on a corpus that is sorted by topic: how far records travel, how many topics a row and a step
//! see, beside a full shuffle and beside what other loaders do.
//!
//! ```text
//! cargo run --release --example shuffle_quality                    # the tables of docs/shuffle.md
//! cargo run --release --example shuffle_quality -- --plot FILE     # and its picture
//! cargo run --release --example shuffle_quality -- --topics 100    # a smaller corpus, for a quick look
//! ```
//!
//! Nothing is read or tokenized: records are lengths, and only their order and the packer are at work. All numbers
//! come from fixed seeds by integer arithmetic, so they are the same on every machine.

#![allow(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "../../benches/common/lengths.rs"]
mod lengths;

mod corpus;
mod elsewhere;
mod lanes;
mod measure;
mod plot;
mod rows;

use corpus::Corpus;
use elsewhere::{deal, energon, files_and_buffer, full, parts, py1br, py1e, within_shards};
use lanes::Open;
use lengths::Random;
use measure::{blocks, measure};
use packmill::order::lanes::Lanes;
use packmill::order::turns::together;
use packmill::recipe::DEFAULT_LOOKAHEAD;
use plot::Plot;
use rows::{Rows, pack, pack_windows};
use std::ops::Range;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What `packmill recompress` writes unless it is told otherwise.
const FRAMES: &str = "frames of 256 KiB";

/// How much smaller than its text a frame is, as chats are at level 3.
const RATIO: u64 = 5;

/// Examples that a lane packs from: the recipe's default, and a larger one.
const LOOKAHEAD: [usize; 2] = [DEFAULT_LOOKAHEAD, 1_024];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut picture, mut topics) = (None, 1_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--plot", Some(file)) => picture = Some(file),
            ("--topics", Some(number)) => topics = number.parse()?,
            _ => return Err(format!("{argument}: --plot FILE or --topics N").into()),
        }
    }
    let mut report = Report::new(Corpus::new(topics))?;
    report.packmill(
        64,
        &[
            Open::Together(1),
            Open::Together(2),
            Open::Together(4),
            Open::Longer(8),
            Open::Sliding(8),
            Open::Sliding(16),
        ],
    )?;
    for lanes in [8, 256] {
        report.packmill(lanes, &[])?;
    }
    report.elsewhere(64)?;
    if let Some(file) = picture {
        std::fs::write(file, report.plot.svg())?;
    }
    Ok(())
}

struct Report {
    corpus: Corpus,
    plot: Plot,
    /// The full shuffle's noise, which the others' is compared with.
    noise: [f64; 3],
}

impl Report {
    fn new(corpus: Corpus) -> packmill::Result<Self> {
        let text: u64 = (0..corpus.records() as u32)
            .map(|r| corpus.bytes(r) + 1)
            .sum();
        let tokens: u64 = corpus.lengths.iter().map(|&length| u64::from(length)).sum();
        println!(
            "{} records of {} topics, {:.0} tokens each, {:.2} GB of text",
            corpus.records(),
            corpus.topics(),
            tokens as f64 / corpus.records() as f64,
            text as f64 / 1e9
        );
        Ok(Report {
            corpus,
            plot: Plot::default(),
            noise: [1.0; 3],
        })
    }

    fn packmill(&mut self, lanes: u32, opens: &[Open]) -> packmill::Result<()> {
        println!("\n{lanes} lanes\n");
        header();
        let [lookahead, larger] = LOOKAHEAD;
        let dealt = Lanes::new(lanes);
        let order = deal(
            &[full(self.corpus.records(), &mut Random(1))],
            lanes as usize,
        );
        let rows = pack(&self.corpus, &order, lookahead)?;
        self.noise = measure(&rows, self.corpus.records(), self.corpus.topics()).noise();
        self.line("full shuffle", &rows, None);
        self.draw(lanes, "full shuffle", &rows);
        let rows = pack(&self.corpus, &lanes::held(&self.corpus, dealt), lookahead)?;
        self.line("held", &rows, None);
        self.draw(lanes, "held", &rows);
        for (name, blocks) in [
            ("frames of 64 records", self.corpus.frames(64, u64::MAX)),
            (FRAMES, self.corpus.frames(usize::MAX, 256 * KIB)),
            ("plain text, 1 MiB", self.corpus.pieces(MIB)),
            (
                "frames of 1,024 records",
                self.corpus.frames(1024, u64::MAX),
            ),
        ] {
            if blocks.len() < 4 * lanes as usize {
                println!(
                    "| {name}: fewer than 4 blocks a lane, refused {}",
                    "| ".repeat(16)
                );
                continue;
            }
            let of = Some((lanes as usize, blocks.as_slice()));
            let now = Open::Together(together_of(&self.corpus, name, &blocks));
            for open in std::iter::once(now).chain(opens.iter().copied()) {
                let order = lanes::streamed(&self.corpus, &blocks, dealt, open);
                let rows = pack(&self.corpus, &order, lookahead)?;
                self.line(&format!("{name}, {open}"), &rows, of);
                if open == now || (name, open) == (FRAMES, Open::Together(1)) {
                    self.draw(lanes, &format!("{name}, {open}"), &rows);
                }
            }
            if name == FRAMES && !opens.is_empty() {
                let order = lanes::streamed(&self.corpus, &blocks, dealt, now);
                let rows = pack(&self.corpus, &order, larger)?;
                self.line(&format!("{name}, {now}, lookahead {larger}"), &rows, of);
            }
        }
        Ok(())
    }

    fn elsewhere(&mut self, lanes: usize) -> packmill::Result<()> {
        println!("\nOther loaders, {lanes} workers\n");
        header();
        let corpus = &self.corpus;
        let random = &mut Random(2);
        let shards = corpus.frames(usize::MAX, 64 * MIB);
        let files = corpus.files(256);
        let (one, eight) = (parts(&shards, 1, random), parts(&shards, 8, random));
        let each = parts(&shards, lanes, random);
        let records = corpus.records();
        let orders = [
            (
                "py1e, 4,000,000",
                deal(&py1e(&one, 4_000_000, random), lanes),
            ),
            ("py1e, 262,144", deal(&py1e(&one, 1 << 18, random), lanes)),
            ("py1br, 262,144", deal(&py1br(&one, 1 << 18, random), lanes)),
            (
                "py1s, 1 canonical node",
                deal(&within_shards(&one, random), lanes),
            ),
            (
                "py1s, 8 canonical nodes",
                deal(&within_shards(&eight, random), lanes),
            ),
            ("LitData FullShuffle", within_shards(&each, random)),
            (
                "buffer 1,000 (HF, WebDataset)",
                files_and_buffer(&files, lanes, 1_000, random),
            ),
            (
                "buffer 5,000",
                files_and_buffer(&files, lanes, 5_000, random),
            ),
            (
                "Energon 100/16/100",
                energon(records, lanes, [100, 16, 100], random),
            ),
        ];
        let mut all = Vec::new();
        for (name, order) in orders {
            all.push((name, pack(corpus, &order, DEFAULT_LOOKAHEAD)?));
        }
        for (name, window, lookahead) in [
            ("rows of neighbours, shuffled", records, 1),
            ("rows of 1,000 neighbours, shuffled", 1_000, 1_000),
        ] {
            let mut rows = pack_windows(corpus, window, lookahead)?;
            elsewhere::shuffle(&mut rows, random);
            let steady = rows.len();
            all.push((name, Rows { rows, steady }));
        }
        for (name, rows) in &all {
            self.line(name, rows, None);
            if ["buffer 1,000 (HF, WebDataset)"].contains(name) {
                self.draw(64, name, rows);
            }
        }
        Ok(())
    }

    fn draw(&mut self, lanes: u32, title: &str, rows: &Rows) {
        if lanes == 64 {
            self.plot.add(title, rows, self.corpus.records());
        }
    }

    fn line(&self, name: &str, rows: &Rows, of: Option<(usize, &[Range<u32>])>) {
        let figures = measure(rows, self.corpus.records(), self.corpus.topics());
        let [mean, tenth] = figures.travel;
        let ([t64, t512, t4096], [e64, e512, e4096]) = (figures.topics, figures.effective);
        let [n64, n512, _] = figures.noise();
        let in_blocks = of.map_or("| |".to_owned(), |(lanes, all)| {
            let numbered = (0..).zip(all);
            let each = |(number, block): (u32, &Range<u32>)| block.clone().map(move |_| number);
            let block_of: Vec<u32> = numbered.flat_map(each).collect();
            let [row, more] = blocks(rows, lanes, &block_of);
            format!("| {row:.1} | {more:.1}")
        });
        println!(
            "| {name} | {mean:.3} | {tenth:.3} | {} | {:.3} | {:.1} {in_blocks} | {t64:.0} | {t512:.0} | {t4096:.0} | \
             {e64:.0} | {e512:.0} | {e4096:.0} | {:.2} | {:.2} |",
            figures.apart,
            figures.same,
            figures.row,
            n64 / self.noise[0],
            n512 / self.noise[1],
        );
    }
}

/// From how many of these blocks packmill takes together, if frames have a fifth of their text's size.
fn together_of(corpus: &Corpus, name: &str, blocks: &[Range<u32>]) -> u64 {
    let records = blocks.iter().cloned().flatten();
    let text: u64 = records.map(|record| corpus.bytes(record) + 1).sum();
    match name.starts_with("plain") {
        true => together(0, 0),
        false => together(blocks.len() as u64, text / RATIO),
    }
}

fn header() {
    println!(
        "| scheme | travel | lowest tenth | apart | same | topics a row | blocks a row | in a lane's 64 rows | topics, 64 \
         rows | 512 | 4,096 | effective, 64 rows | 512 | 4,096 | noise, 64 rows | 512 |"
    );
    println!("{}|", "| --- ".repeat(16));
}
