use super::*;

const PLAIN: Look = Look {
    colour: Colour::Plain,
    width: 60,
};
const ANSI: Look = Look {
    colour: Colour::Ansi,
    width: 60,
};

/// Tokens of a test: text, with `#` before it if trained, `%` if trained with half of a weight; in `<|…|>` it is special.
fn show(look: Look, segments: &[&[&[u8]]], padding: usize, from: &[SegmentView<'_>]) -> String {
    let mut vocabulary: Vec<&[u8]> = vec![b"PAD"];
    let (mut ids, mut labels, mut weights, mut segment_ids) = (vec![], vec![], vec![], vec![]);
    for (number, segment) in (1..).zip(segments) {
        for token in *segment {
            let id = vocabulary.len() as i32;
            let (text, label, weight) = match token {
                [b'#', text @ ..] => (text, id, 1.0),
                [b'%', text @ ..] => (text, id, 0.5),
                _ => (*token, IGNORE_INDEX, 0.0),
            };
            weights.push(weight);
            vocabulary.push(text);
            ids.push(id);
            labels.push(label);
            segment_ids.push(number);
        }
    }
    let length = ids.len() + padding;
    ids.resize(length, 0);
    labels.resize(length, IGNORE_INDEX);
    weights.resize(length, 0.0);
    segment_ids.resize(length, 0);
    let row = RowView {
        number: 1_234,
        ids: &ids,
        labels: &labels,
        loss_weights: weights.contains(&0.5).then_some(&weights),
        segment_ids: &segment_ids,
        segments: from,
    };
    let piece = |id: i32| {
        let bytes = vocabulary[id as usize];
        Piece {
            bytes: bytes.into(),
            special: bytes.starts_with(b"<|"),
        }
    };
    let mut out = Vec::new();
    write_row(&mut out, &row, piece, look).unwrap();
    String::from_utf8(out).unwrap()
}

fn from(record: u64, tokens: Range<u64>) -> SegmentView<'static> {
    SegmentView {
        source: "sgd",
        shard: 2,
        record,
        example: 0,
        epoch: 0,
        tokens,
    }
}

const CHAT: &[&[u8]] = &[
    b"<|im_start|>",
    b"user",
    b"\n",
    b"Hi",
    b"<|im_end|>",
    b"\n",
    b"<|im_start|>",
    b"assistant",
    b"\n",
    b"#Good morning!",
    b"#\n",
    b"#How can I help",
    b"# you today, and what",
    b"# do you need?",
    b"#<|im_end|>",
    b"\n",
];

#[test]
fn a_row_without_colours() {
    let second: &[&[u8]] = &[b"2", b" + 2", b"# = ", b"#4"];
    let shown = show(
        PLAIN,
        &[CHAT, second],
        12,
        &[from(117, 0..16), from(8, 30..34)],
    );
    // The space at which a line was wrapped hangs over its end.
    let shown = shown.replace(" \n", "_\n");
    insta::assert_snapshot!(shown, @r#"
    row 1,234 · 2 segments · 20 of 32 tokens (62.5%) · 8 trained (40.0%)
    packed   ████████████████▓▓▓▓░░░░░░░░░░░░
    trained           ██████   ██

    segment 1 · sgd shard 2 record 117 · 16 tokens, 6 trained
      ‹<|im_start|>›user␊
      Hi‹<|im_end|>›␊
      ‹<|im_start|>›assistant␊
      ⟦Good morning!␊
      How can I help you today, and what do you_
      need?‹<|im_end|>›⟧␊

    segment 2 · sgd shard 2 record 8 · from token 30 · 4 tokens, 2 trained
      2 + 2⟦ = 4⟧
    · 12 padding
    "#);
}

#[test]
fn a_row_in_colour() {
    let shown = show(ANSI, &[&[b"<|a|>", b"Hi", b"#Hello\n", b"#<|b|>"]], 1, &[]);
    let escaped = shown.replace('\u{1b}', "ESC");
    insta::assert_snapshot!(escaped, @r#"
    ESC[1mrow 1,234ESC[0m · 1 segment · 4 of 5 tokens (80.0%) · 2 trained (50.0%)
    packed   ESC[36m████░ESC[0m
    trained  ESC[32m  ██ESC[0m

    ESC[1msegment 1 · 4 tokens, 2 trainedESC[0m
      ESC[2mESC[35m<|a|>ESC[0mESC[2mHiESC[0mESC[32mHello␊ESC[0m
      ESC[1mESC[4mESC[32m<|b|>ESC[0m
    ESC[36m· 1 paddingESC[0m
    "#);
}

#[test]
fn a_character_cut_by_tokens_is_whole_and_one_cut_by_a_segment_shows_its_bytes() {
    let euro = "€".as_bytes();
    let shown = show(
        PLAIN,
        &[
            &[b"a", &euro[..1], &euro[1..], b"b"],
            &[&euro[..2]],
            &[b"c"],
        ],
        0,
        &[],
    );
    assert!(shown.contains("  a€b\n"), "{shown}");
    assert!(shown.contains("  \\xE2\\x82\n"), "{shown}");
    let trained = [b"#".as_slice(), &euro[1..]].concat();
    let shown = show(PLAIN, &[&[b"a", &euro[..1], &trained, b"b"]], 0, &[]);
    assert!(shown.contains("  a⟦€⟧b\n"), "{shown}");
}

#[test]
fn nothing_in_the_data_reaches_the_terminal_raw() {
    let hostile: &[&[u8]] = &[
        b"\x1b]0;title\x07",
        b"#\x1b[2J\r\x9b31m\x08",
        "\u{9b}31m\u{202e}".as_bytes(),
        b"<|\x1b[1m|>",
        "‹⟧".as_bytes(),
    ];
    let named = SegmentView {
        source: "s\u{1b}[31m\n",
        ..from(0, 0..5)
    };
    for look in [PLAIN, ANSI] {
        let shown = show(look, &[hostile], 0, std::slice::from_ref(&named));
        let own = anstream::adapter::strip_str(&shown).to_string();
        assert!(own.chars().all(|c| c == '\n' || !c.is_control()), "{own:?}");
        for sequence in shown.split('\u{1b}').skip(1) {
            let code = sequence.split('m').next().unwrap();
            assert!(
                code.starts_with('[') && code[1..].bytes().all(|b| b.is_ascii_digit() || b == b';')
            );
        }
    }
    let plain = show(PLAIN, &[hostile], 0, &[named]);
    assert!(
        !plain.contains('\u{1b}') && plain.contains("\\u{2039}\\u{27e7}"),
        "{plain}"
    );
    assert!(plain.contains("segment 1 · s␛[31m␊ shard 2"), "{plain}");
}

#[test]
fn a_segments_own_padding_and_an_empty_row_are_told() {
    let shown = show(
        PLAIN,
        &[&[b"a", b"#b", b"PAD", b"PAD"]],
        2,
        &[from(1, 0..2)],
    );
    assert!(
        shown.contains("2 tokens, 1 trained\n  a⟦b⟧\n· 2 padding of the segment\n· 2 padding\n"),
        "{shown}"
    );
    let filling = show(PLAIN, &[], 4, &[]);
    assert!(
        filling.starts_with("row 1,234 · 0 segments · 0 of 4 tokens (0.0%) · 0 trained (–)\n"),
        "{filling}"
    );
}

#[test]
fn a_weight_stands_before_what_it_is_of() {
    let chat: &[&[u8]] = &[
        b"<|im_start|>",
        b"#one",
        b"# two",
        b"% half",
        b"% of it",
        b"# whole",
        b" context",
        b"%<|im_end|>",
    ];
    let shown = show(PLAIN, &[chat], 0, &[]);
    let shown: Vec<&str> = shown.lines().skip(4).map(str::trim_end).collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    segment 1 · 8 tokens, 6 trained, which weigh 4.50
      ‹<|im_start|>›⟦one two×0.5  half of it×1  whole⟧
      context⟦×0.5 ‹<|im_end|>›⟧
    ");
    let coloured = show(ANSI, &[chat], 0, &[]);
    assert!(coloured.contains("×0.5 "), "{coloured}");
}
