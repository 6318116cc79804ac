//! Answers between markers, against going through the text byte by byte.
//!
//! Input: response marker, instruction marker and text, with NUL bytes between; an empty instruction is none.

use packmill::mask::{MissingMarker, Tokens, marked_answers, marked_tokens};
use packmill::recipe::Markers;
use std::ops::Range;

pub(super) fn markers(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || std::str::from_utf8(parts.next().unwrap_or_default()).ok();
    let (Some(response), Some(instruction), Some(text)) = (part(), part(), part()) else {
        return;
    };
    let markers = Markers {
        response: response.to_owned(),
        instruction: (!instruction.is_empty()).then(|| instruction.to_owned()),
    };
    let found = marked_answers(text, &markers, &[]);
    assert_eq!(found, by_bytes(text, &markers));
    // A token a character, and one without text at either end.
    let end = text.len() as u32;
    let mut offsets = vec![(0, 0)];
    offsets.extend(
        text.char_indices()
            .map(|(at, c)| (at as u32, (at + c.len_utf8()) as u32)),
    );
    offsets.push((end, end));
    let ids = vec![0; offsets.len()];
    let tokens = Tokens {
        text,
        ids: &ids,
        offsets: &offsets,
    };
    let trained = marked_tokens(&tokens, &markers, &[]);
    let Ok(answers) = found else {
        assert_eq!(trained, Err(found.expect_err("no answers")));
        return;
    };
    let trained = trained.expect("the same markers");
    assert!(trained.windows(2).all(|pair| pair[0].end <= pair[1].start));
    for (token, (start, end)) in (0..).zip(&offsets) {
        let answers = answers.iter();
        let shown = answers.clone().any(|answer| {
            let (start, end) = (*start as usize, *end as usize);
            start < end && start < answer.end && answer.start < end
        });
        // The last token has no text, and follows an answer that ends with the text.
        let behind = token + 1 == offsets.len() as u32
            && answers.clone().any(|answer| answer.end == text.len());
        let is = trained.iter().any(|span| span.contains(&token));
        assert_eq!(
            is,
            shown || behind,
            "token {token} of {offsets:?}, {trained:?}"
        );
    }
}

fn by_bytes(text: &str, markers: &Markers) -> Result<Vec<Range<usize>>, MissingMarker> {
    let occurrences = |marker: &str| {
        let (mut starts, mut at) = (Vec::new(), 0);
        while !marker.is_empty() && at < text.len() {
            if text.as_bytes()[at..].starts_with(marker.as_bytes()) {
                starts.push(at);
                at += marker.len();
            } else {
                at += 1;
            }
        }
        starts
    };
    let responses = occurrences(&markers.response);
    let Some(last) = responses.last() else {
        return Err(MissingMarker::Response);
    };
    let mut answers = Vec::new();
    match &markers.instruction {
        None => answers.push(last + markers.response.len()..text.len()),
        Some(instruction) => {
            let instructions = occurrences(instruction);
            if instructions.is_empty() {
                return Err(MissingMarker::Instruction);
            }
            for response in &responses {
                let start = response + markers.response.len();
                let stops = responses.iter().chain(&instructions);
                let end = stops.filter(|stop| **stop >= start).min();
                answers.push(start..end.copied().unwrap_or(text.len()));
            }
        }
    }
    answers.retain(|answer| !answer.is_empty());
    Ok(answers)
}
