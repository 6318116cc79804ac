//! Prompt and completion.

use super::spans::single;
use crate::example::{Span, TokenId};

/// Where the completion begins: after the tokens that the prompt alone and prompt with completion have in
/// common, as in TRL since 1.16 (`common_prefix_length`). So a token that the seam changes, and a prompt
/// that a template renders otherwise when it is alone, both belong to the completion.
pub fn completion_start(prompt_ids: &[TokenId], full_ids: &[TokenId]) -> usize {
    prompt_ids
        .iter()
        .zip(full_ids)
        .take_while(|(prompt, full)| prompt == full)
        .count()
}

/// The tokens of the completion: all from [`completion_start`] on.
pub fn completion(prompt_ids: &[TokenId], full_ids: &[TokenId]) -> Vec<Span> {
    let end = u32::try_from(full_ids.len()).unwrap_or(u32::MAX);
    let start = u32::try_from(completion_start(prompt_ids, full_ids)).unwrap_or(end);
    single(start..end)
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a mask may be one range")]
mod tests {
    use super::*;

    #[test]
    fn r18_the_common_prefix_decides_never_the_prompts_length() {
        assert_eq!(completion(&[1, 2], &[1, 2, 3, 4]), [2..4]);
        // The seam merged the prompt's last token with the completion's first.
        assert_eq!(completion(&[1, 2, 3], &[1, 2, 9, 4]), [2..4]);
        // The prompt alone is longer than both together.
        assert_eq!(completion(&[1, 2, 3, 4, 5], &[1, 2]), []);
        assert_eq!(completion(&[], &[1]), [0..1]);
        assert_eq!(completion(&[7], &[1, 2]), [0..2]);
    }
}
