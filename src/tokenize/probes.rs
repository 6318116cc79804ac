//! Texts on which tokenizers differ: what a fast engine must encode as the reference does before it is used.

use tokenizers::Tokenizer;

/// Pieces of text: contractions, digits, blanks, line ends, scripts, composed and not, joined emoji, what is assigned
/// to nothing, and what looks like a special token.
const PIECES: &[&str] = &[
    "Hello",
    "I'LL we've don\u{2019}t 'S 's\u{17f} o'clock",
    "  two  spaces",
    "\t\ttabs \t",
    "\u{a0}\u{3000}\u{2003}\u{1680}\u{2028}\u{85}wide",
    "\u{200b}\u{200d}\u{2060}\u{feff}\u{ad}none",
    "\r\n\r\n a\n b \n\n\n  \n",
    "\r\r \u{b}\u{c}x",
    "0 12 345 6789 1234567890",
    "\u{bd}\u{661}\u{662}\u{663}\u{664} \u{2167} \u{1d7d8}\u{1d7d9} \u{b2}",
    "v1.2.3 3.14e-10 1,000,000.00 $5 50%",
    "CamelCase HTTPServer iPhone \u{1c5}\u{2b0}\u{2bc}x",
    "snake_case kebab-case a/b/c // --- !!! ...?!",
    "fn main() { println!(\"{:?}\", vec![1, 2, 3]); }",
    "e\u{301} A\u{30a} \u{1e9b}\u{323} q\u{323}\u{307}",
    "\u{e9}t\u{e9} \u{c5} \u{fb01} \u{df}\u{130}\u{131}",
    "\u{1100}\u{1161}\u{11a8} \u{ac00}\u{ac01}",
    "\u{212b}\u{2126}\u{f900}\u{2f800}",
    "\u{6e0}\u{7fd}\u{89e}\u{1ab8}",
    "\u{4e2d}\u{6587}\u{65e5}\u{672c}\u{8a9e}\u{30c6}\u{30b9}\u{30c8}\u{3002}",
    "\u{ff21}\u{ff11}\u{ff0c}\u{3001}\u{20bb7}",
    "\u{e44}\u{e17}\u{e22}\u{e4c}\u{e33} \u{939}\u{93f}\u{902}\u{926}\u{940}\u{964} \u{9a1}\u{9bc}",
    "\u{627}\u{644}\u{639}\u{64e}\u{631}\u{628}\u{64a}\u{651}\u{629} \u{5e9}\u{5c1}\u{5dc}",
    "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{3b5}\u{3bb}\u{3bb}\u{3b7}\u{3bd}\u{3b9}\u{3ba}\u{3ac} \u{10d0}\u{10e5}",
    "\u{1f642}\u{1f44d}\u{1f3fd} \u{263a}\u{fe0f} 1\u{fe0f}\u{20e3}",
    "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea}\u{1f1eb}",
    "\u{0}\u{1}\u{1c}\u{1f}\u{7f}\u{80}\u{9f}",
    "\u{e000}\u{f8ff}\u{fffe}\u{ffff}\u{10ffff}\u{e0041}\u{378}",
    "<s>a</s> <|im_start|>user\nhi<|im_end|>\n<|eot_id|><|endoftext|>",
    "<|im_end |><|im_end<|im_end|>|> <start_of_turn> [INST] x",
    "\u{2581}x \u{120}y \u{10a}\u{2581}\u{2581} <0x41> ##ing",
    "http://a.b/c?d=e&f#g user@example.com C:\\x\\y",
];

/// Characters for long runs.
const RUN: &[&str] = &[
    "a",
    " ",
    "\n",
    "\t",
    "\r\n",
    "=",
    "0",
    "\u{e9}",
    "\u{4e2d}",
    "\u{1f642}",
    "e\u{301}",
    "\u{300}",
    "'s",
    "a\u{301}b",
];

/// Lengths of runs, around those at which engines change their ways.
const LENGTHS: &[usize] = &[3, 7, 15, 16, 17, 40, 300];

/// Bytes from which on engines cut a text in pieces, and some more.
const LONG_BYTES: usize = 72 << 10;

/// Special tokens of a tokenizer that are tried, from either end of the list.
const MOST_ADDED: usize = 16;

/// Texts to compare engines on; a few hundred.
pub(super) fn probes(tokenizer: &Tokenizer) -> Vec<String> {
    let mut all = vec![String::new(), " ".to_owned(), "\n".to_owned()];
    for piece in PIECES {
        all.push((*piece).to_owned());
        all.push(format!(" {piece}"));
        all.push(format!("a{piece}b\n"));
        all.push(format!("{piece}\n{piece} {piece}"));
    }
    for (run, length) in RUN
        .iter()
        .flat_map(|run| LENGTHS.iter().map(move |length| (run, *length)))
    {
        all.push(run.repeat(length));
    }
    for run in RUN {
        all.push(format!(
            "x{} {}y{}",
            run.repeat(9),
            run.repeat(18),
            run.repeat(2)
        ));
    }
    let mut added: Vec<(u32, String)> = tokenizer
        .get_added_tokens_decoder()
        .into_iter()
        .map(|(id, token)| (id, token.content))
        .collect();
    added.sort_unstable();
    let last = added.len().saturating_sub(MOST_ADDED).max(MOST_ADDED);
    let ends = added.iter().take(MOST_ADDED).chain(added.iter().skip(last));
    for (_, token) in ends {
        all.push(token.clone());
        all.push(format!("{token}{token}"));
        all.push(format!("a {token} b"));
        all.push(format!("a{token}b\n{token}\n\n{token}  c"));
        all.push(format!(" \n {token} \u{e9}{token}e\u{301}"));
        let mut cut = token.chars();
        cut.next_back();
        all.push(format!("{} {token}", cut.as_str()));
        let cut = token.char_indices().nth(1).map_or(0, |(at, _)| at);
        all.push(format!("{token}{}", token.get(cut..).unwrap_or_default()));
        let middle = token.char_indices().nth(2).map_or(0, |(at, _)| at);
        let (head, tail) = token.split_at_checked(middle).unwrap_or_default();
        all.push(format!("{head}\u{200b}{tail} {head} {tail}"));
    }
    all.push(PIECES.concat());
    all.push(PIECES.join(" "));
    all.push(
        PIECES
            .iter()
            .rev()
            .copied()
            .collect::<Vec<_>>()
            .join("\n\n"),
    );
    // One that is long enough for engines to cut it in pieces, with special tokens in it.
    let special: String = added
        .iter()
        .take(2)
        .map(|(_, token)| token.as_str())
        .collect();
    let page = PIECES.join("\n") + &special;
    all.push(page.repeat(LONG_BYTES / page.len() + 1));
    all
}
