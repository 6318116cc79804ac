//! Rows of hostile Unicode, the same for the same seed: every script, composed and not, zero-width characters, emoji
//! sequences, long runs, special tokens and what looks like them.

/// SplitMix64 (Steele, Lea and Flood 2014): small, and the same everywhere.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is above 0. What little it favours small ones matters to no test.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

const WORDS: &[&str] = &[
    "the",
    "Hello",
    "HTTPServer",
    "don't",
    "I'LL",
    "we\u{2019}ve",
    "x's",
    "'S",
    "s'\u{17f}",
    "na\u{ef}ve",
    "iPhone",
    "snake_case",
    "\u{130}stanbul",
    "stra\u{df}e",
    "fi\u{fb01}",
    "user",
    "assistant",
    "system",
    "\u{1c5}",
    "\u{2b0}",
];
const BLANKS: &[&str] = &[
    " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", " \n", "\n ", "\u{a0}", "\u{3000}",
    "\u{2003}", "\u{1680}", "\u{2028}", "\u{85}", "\u{b}", "\u{c}", "\u{202f}", "\u{180e}",
    "\u{2581}",
];
const MARKS: &[char] = &[
    '\u{300}',
    '\u{301}',
    '\u{302}',
    '\u{303}',
    '\u{307}',
    '\u{308}',
    '\u{30a}',
    '\u{323}',
    '\u{327}',
    '\u{328}',
    '\u{331}',
    '\u{345}',
    '\u{5b0}',
    '\u{5c1}',
    '\u{64b}',
    '\u{651}',
    '\u{6e0}',
    '\u{7fd}',
    '\u{89e}',
    '\u{93c}',
    '\u{94d}',
    '\u{9bc}',
    '\u{9be}',
    '\u{e38}',
    '\u{f72}',
    '\u{1ab8}',
    '\u{1dc4}',
    '\u{20d0}',
    '\u{3099}',
    '\u{309a}',
    '\u{fe20}',
    '\u{1d165}',
    '\u{1e94a}',
];
const THIN: &[char] = &[
    '\u{200b}',
    '\u{200c}',
    '\u{200d}',
    '\u{200e}',
    '\u{202e}',
    '\u{2060}',
    '\u{2066}',
    '\u{feff}',
    '\u{ad}',
    '\u{34f}',
    '\u{61c}',
    '\u{fe0e}',
    '\u{fe0f}',
    '\u{e0001}',
    '\u{e007f}',
    '\u{180b}',
    '\u{3164}',
];
const EMOJI: &[&str] = &[
    "\u{1f642}",
    "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{200d}\u{1f466}",
    "\u{1f44d}\u{1f3fd}",
    "\u{1f1e9}\u{1f1ea}",
    "\u{1f1eb}",
    "1\u{fe0f}\u{20e3}",
    "\u{2764}\u{fe0f}\u{200d}\u{1f525}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e007f}",
    "\u{263a}",
    "\u{1f9d1}\u{1f3ff}\u{200d}\u{1f680}",
    "\u{1fae8}",
    "\u{1f636}\u{200d}\u{1f32b}\u{fe0f}",
];
const CODE: &[&str] = &[
    "fn f(x: &str) -> u8 {",
    "}\n\n",
    "    return x\n",
    "// ---\n",
    "!= <= >= && || ?? ::",
    "http://a.b/c?d=e&f#g",
    "C:\\x\\y",
    "{\"a\": [1, 2]}",
    "...",
    "?!",
    "$5",
    "50%",
    "#!/bin/sh",
    "a@b.c",
    "<0x41>",
    "##ing",
    "\u{120}x",
    "\u{10a}",
    "\u{2581}the",
];
const NOTHING: &[char] = &[
    '\u{0}',
    '\u{1}',
    '\u{1b}',
    '\u{1f}',
    '\u{7f}',
    '\u{9f}',
    '\u{e000}',
    '\u{f8ff}',
    '\u{fdd0}',
    '\u{fffd}',
    '\u{fffe}',
    '\u{ffff}',
    '\u{10ffff}',
    '\u{f0000}',
    '\u{378}',
    '\u{d7ff}',
    '\u{2fffe}',
];

/// One row. `special` are texts of the tokenizer's added tokens.
pub(crate) fn row(numbers: &mut Numbers, special: &[String]) -> String {
    let mut row = String::new();
    let window = window(numbers);
    // Most rows are short: a difference is easier seen in them, and more of them are made.
    let pieces = match numbers.below(8) {
        0 => 1,
        1..6 => 2 + numbers.below(10),
        6 => 12 + numbers.below(30),
        _ => 40 + numbers.below(100),
    };
    for _ in 0..pieces {
        piece(numbers, special, window, &mut row);
    }
    row
}

fn piece(numbers: &mut Numbers, special: &[String], window: u32, row: &mut String) {
    match numbers.below(24) {
        0..3 => row.push_str(numbers.of(WORDS)),
        3..6 => row.push_str(numbers.of(BLANKS)),
        6 => {
            (0..=numbers.below(11)).for_each(|_| row.push((b'0' + numbers.below(10) as u8) as char))
        }
        7..10 => (0..=numbers.below(12)).for_each(|_| row.extend(in_window(numbers, window))),
        10 => {
            let own = self::window(numbers);
            (0..=numbers.below(6)).for_each(|_| row.extend(in_window(numbers, own)));
        }
        11 => {
            row.push(numbers.of(&[
                'a',
                'e',
                'E',
                'q',
                'A',
                's',
                '\u{e9}',
                '\u{3b1}',
                '\u{915}',
                '\u{304b}',
                '\u{1f642}',
                '1',
            ]));
            (0..=numbers.below(4)).for_each(|_| row.push(numbers.of(MARKS)));
        }
        12 => (0..=numbers.below(3)).for_each(|_| row.push(numbers.of(MARKS))),
        13 => {
            // Hangul as letters, which compose to syllables.
            for (first, count) in [(0x1100, 19), (0x1161, 21), (0x11a7, 28)] {
                row.extend(char::from_u32(first + numbers.below(count) as u32));
            }
        }
        14 => row.push(numbers.of(THIN)),
        15 => row.push_str(numbers.of(EMOJI)),
        16 => row.push_str(numbers.of(CODE)),
        17 => run(numbers, window, row),
        18 | 19 => look_alike(numbers, special, row),
        20 => row.push(numbers.of(NOTHING)),
        21 => row.extend(char::from_u32(numbers.below(0x11_0000) as u32)),
        // What stood before: pieces that engines have met.
        22 => {
            let from = numbers.below(row.len() + 1);
            let from = (0..=from)
                .rev()
                .find(|&at| row.is_char_boundary(at))
                .unwrap_or(0);
            let again: String = row[from..].chars().take(20).collect();
            row.push_str(&again);
        }
        _ => (0..=numbers.below(9)).for_each(|_| {
            let letter = b'a' + numbers.below(26) as u8;
            row.push(if numbers.below(6) == 0 {
                letter.to_ascii_uppercase()
            } else {
                letter
            } as char);
        }),
    }
}

/// The first of 128 characters that stand together, as scripts do. Half of them are below U+3400, where most scripts are.
fn window(numbers: &mut Numbers) -> u32 {
    let windows = match numbers.below(8) {
        0..4 => 0..0x3400,
        4..6 => 0xa000..0xd800,
        6 => 0xf900..0x1_0000,
        _ => 0x1_0000..0x3_2000,
    };
    let count = (windows.end - windows.start) / 128;
    windows.start + 128 * numbers.below(count as usize) as u32
}

fn in_window(numbers: &mut Numbers, window: u32) -> Option<char> {
    char::from_u32(window + numbers.below(128) as u32)
}

fn run(numbers: &mut Numbers, window: u32, row: &mut String) {
    let length = match numbers.below(40) {
        0 => 1000 + numbers.below(4000),
        1..8 => 50 + numbers.below(350),
        _ => 2 + numbers.below(40),
    };
    let unit: String = match numbers.below(5) {
        0 => numbers.of(BLANKS).to_owned(),
        1 => in_window(numbers, window).into_iter().collect(),
        2 => numbers.of(EMOJI).to_owned(),
        3 => numbers.of(MARKS).to_string(),
        _ => numbers
            .of(&[
                "a", "A", "=", "-", "0", ".", "ha", "'s", "e\u{301}", "\u{4e2d}", "\u{e9}", "#",
                "/",
            ])
            .to_string(),
    };
    (0..length).for_each(|_| row.push_str(&unit));
}

fn look_alike(numbers: &mut Numbers, special: &[String], row: &mut String) {
    if special.is_empty() {
        return;
    }
    let token = &special[numbers.below(special.len())];
    let characters: Vec<char> = token.chars().collect();
    let at = numbers.below(characters.len().max(1));
    match numbers.below(8) {
        0..3 => row.push_str(token),
        3 => row.extend(&characters[..at]),
        4 => row.extend(&characters[at..]),
        5 => {
            row.extend(&characters[..at]);
            row.push(numbers.of(&[' ', '\u{200b}', '\u{301}', '|', 'x', '\n']));
            row.extend(&characters[at..]);
        }
        6 => {
            row.push(' ');
            row.push_str(token);
            row.push_str(numbers.of(BLANKS));
        }
        _ => {
            row.push_str(token);
            row.push_str(token);
        }
    }
}
