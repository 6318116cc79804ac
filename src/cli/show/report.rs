//! What `packmill stream` says at its end to a person.

use super::number::{bytes, duration, exact, percent, rate, short};
use super::visible::visible_line;
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use std::time::Duration;

/// How the stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every record was used as often as the recipe says.
    Exhausted,
    /// After the steps that were asked for.
    Steps,
    /// The user ended it.
    Interrupted,
}

impl Ending {
    /// Its name in the JSON report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Ending::Exhausted => "exhausted",
            Ending::Steps => "steps",
            Ending::Interrupted => "interrupted",
        }
    }
}

/// The account of a run, as numbers.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// How it ended.
    pub(crate) ending: Ending,
    /// Rows delivered, filling rows not counted.
    pub(crate) rows: u64,
    /// Steps delivered.
    pub(crate) steps: u64,
    /// Tokens in a row.
    pub(crate) sequence_length: u64,
    /// Real tokens, without padding.
    pub(crate) tokens: u64,
    /// Targets that count after the shift.
    pub(crate) supervised_tokens: u64,
    /// Opening tokenizer and template.
    pub(crate) load: Duration,
    /// From opening the corpus to the last batch.
    pub(crate) elapsed: Duration,
    /// From the start of the process to the first batch; none if there was none.
    pub(crate) time_to_first_batch: Option<Duration>,
    /// Peak resident memory; none where the system does not tell.
    pub(crate) peak_rss_bytes: Option<u64>,
    /// Peak of what is not a file's pages.
    pub(crate) peak_anon_bytes: Option<u64>,
    /// The rows' digest, as hexadecimal digits.
    pub(crate) digest: String,
    /// What became of every record and token, by source.
    pub(crate) ledger: Vec<LedgerEntry>,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerEntry {
    /// The source's name.
    pub(crate) source: String,
    /// What became of them: `delivered`, `truncated`, `pending`, or the reason for which they were dropped.
    pub(crate) reason: String,
    /// Records; none where only tokens are counted.
    pub(crate) records: Option<u64>,
    /// Examples; none where each record is one.
    pub(crate) examples: Option<u64>,
    /// Tokens; none where records never became tokens.
    pub(crate) tokens: Option<u64>,
}

impl Report {
    /// The report as lines of text, the ledger as a table. Ends with a line break.
    pub(crate) fn to_text(&self) -> String {
        let room = self.rows.saturating_mul(self.sequence_length);
        let ending = match self.ending {
            Ending::Exhausted => "",
            Ending::Steps => " · ended after the steps that were asked for",
            Ending::Interrupted => " · interrupted",
        };
        let (mut fill, mut share) = (String::new(), String::new());
        if room > 0 && self.tokens > 0 {
            let full = percent(self.tokens as f64, room as f64);
            fill = format!(" · the rows are {full} full, the rest is padding");
            let trained = percent(self.supervised_tokens as f64, self.tokens as f64);
            share = format!(" · {trained} of all tokens");
        }
        let mut lines = vec![
            (
                "rows",
                format!(
                    "{} of {} tokens, in {} steps{ending}",
                    exact(self.rows),
                    exact(self.sequence_length),
                    exact(self.steps)
                ),
            ),
            ("tokens", short(self.tokens) + &fill),
            ("trained", short(self.supervised_tokens) + &share),
            (
                "speed",
                format!(
                    "{} over {}",
                    rate(self.tokens, "tokens", self.elapsed),
                    duration(self.elapsed)
                ),
            ),
        ];
        if let Some(first) = self.time_to_first_batch {
            let load = duration(self.load);
            lines.push((
                "first batch",
                format!(
                    "after {}, tokenizer and template took {load}",
                    duration(first)
                ),
            ));
        }
        if let Some(peak) = self.peak_rss_bytes {
            let own = self.peak_anon_bytes.map_or_else(String::new, |own| {
                format!(", {} without mapped files", bytes(own))
            });
            lines.push(("memory", format!("{} at the peak{own}", bytes(peak))));
        }
        lines.push(("digest", self.digest.clone()));

        let mut text = String::new();
        for (name, value) in lines {
            text += &format!("{name:<13}{value}\n");
        }
        if !self.ledger.is_empty() {
            text += "\n";
            text += &ledger_table(&self.ledger);
        }
        text
    }
}

/// What a column of the ledger counts.
type Column = (&'static str, fn(&LedgerEntry) -> Option<u64>);

/// The ledger by source and reason, a source's name once; shares are those of the source. Examples have a column where
/// they are not the records.
fn ledger_table(ledger: &[LedgerEntry]) -> String {
    let columns: [Column; 3] = [
        ("records", |entry| entry.records),
        ("examples", |entry| entry.examples),
        ("tokens", |entry| entry.tokens),
    ];
    let several = ledger.iter().any(|entry| entry.examples.is_some());
    let shown = columns
        .iter()
        .filter(|(name, _)| several || *name != "examples");
    let mut header = vec!["source", "what became of it"];
    header.extend(shown.clone().flat_map(|(name, _)| [*name, "share"]));
    let numbers: Vec<usize> = (2..header.len()).collect();
    let mut table = table(&header, &numbers);
    for entries in ledger.chunk_by(|a, b| a.source == b.source) {
        for (place, entry) in entries.iter().enumerate() {
            let source = match place {
                0 => visible_line(&entry.source),
                _ => String::new(),
            };
            let mut row = vec![source, visible_line(&entry.reason)];
            for (_, of) in shown.clone() {
                let whole: u64 = entries.iter().filter_map(of).sum();
                row.extend(match of(entry) {
                    Some(part) => [exact(part), percent(part as f64, whole as f64)],
                    None => [String::new(), String::new()],
                });
            }
            table.add_row(row);
        }
    }
    lines_of(&table)
}

/// A table with a rule under its header and no other lines, whose columns in `numbers` are aligned to the right.
pub(crate) fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table
        .force_no_tty()
        .load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')))
        .set_header(header.to_vec());
    for &column in numbers {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table's lines without blanks at their ends, each with a line break.
pub(crate) fn lines_of(table: &Table) -> String {
    table.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: &str, reason: &str, records: Option<u64>, tokens: Option<u64>) -> LedgerEntry {
        LedgerEntry {
            source: source.to_owned(),
            reason: reason.to_owned(),
            records,
            examples: None,
            tokens,
        }
    }

    fn report() -> Report {
        Report {
            ending: Ending::Exhausted,
            rows: 880,
            steps: 220,
            sequence_length: 1_024,
            tokens: 891_203,
            supervised_tokens: 301_442,
            load: Duration::from_millis(8),
            elapsed: Duration::from_millis(73),
            time_to_first_batch: Some(Duration::from_micros(12_340)),
            peak_rss_bytes: Some(61 << 20),
            peak_anon_bytes: Some(32 << 20),
            digest: "00c0ffee".to_owned(),
            ledger: vec![
                entry("chats", "delivered", Some(2_994), Some(850_000)),
                entry("chats", "truncated", None, Some(5_000)),
                entry("chats", "no_trained_token", Some(6), Some(130)),
                entry("sums\u{1b}", "delivered", Some(1_000), Some(41_203)),
            ],
        }
    }

    #[test]
    fn says_what_a_run_did() {
        insta::assert_snapshot!(report().to_text(), @r#"
        rows         880 of 1,024 tokens, in 220 steps
        tokens       891 k · the rows are 98.9% full, the rest is padding
        trained      301 k · 33.8% of all tokens
        speed        12.2 M tokens/s over 73.0 ms
        first batch  after 12.3 ms, tokenizer and template took 8.00 ms
        memory       61.0 MiB at the peak, 32.0 MiB without mapped files
        digest       00c0ffee

         source   what became of it   records    share    tokens    share
        ──────────────────────────────────────────────────────────────────
         chats    delivered             2,994    99.8%   850,000    99.4%
                  truncated                                5,000     0.6%
                  no_trained_token          6     0.2%       130    <0.1%
         sums␛    delivered             1,000   100.0%    41,203   100.0%
        "#);
    }

    /// Examples that were dropped of a record of which others were delivered are seen nowhere else.
    #[test]
    fn shows_examples_where_a_record_is_several() {
        let several = |records, examples, tokens| LedgerEntry {
            examples: Some(examples),
            ..entry("turns", "delivered", Some(records), Some(tokens))
        };
        let ledger = vec![
            entry("chats", "delivered", Some(10), Some(200)),
            several(20, 75, 1_500),
            LedgerEntry {
                reason: "dropped: overlong".to_owned(),
                records: None,
                ..several(0, 25, 500)
            },
        ];
        insta::assert_snapshot!(ledger_table(&ledger), @r#"
         source   what became of it   records    share   examples   share   tokens    share
        ────────────────────────────────────────────────────────────────────────────────────
         chats    delivered                10   100.0%                         200   100.0%
         turns    delivered                20   100.0%         75   75.0%    1,500    75.0%
                  dropped: overlong                            25   25.0%      500    25.0%
        "#);
    }

    #[test]
    fn leaves_out_what_is_not_known() {
        let report = Report {
            ending: Ending::Interrupted,
            rows: 0,
            steps: 0,
            tokens: 0,
            supervised_tokens: 0,
            elapsed: Duration::ZERO,
            time_to_first_batch: None,
            peak_rss_bytes: None,
            ledger: vec![],
            ..report()
        };
        insta::assert_snapshot!(report.to_text(), @r#"
        rows         0 of 1,024 tokens, in 0 steps · interrupted
        tokens       0
        trained      0
        speed        – over 0 µs
        digest       00c0ffee
        "#);
    }
}
