//! Text from rules: a rule has alternatives, and an alternative may name other rules.
//!
//! The notation is explained at the head of `grammar.txt`, which holds everything that the demo's speakers can say.

use super::random::Random;
use anyhow::{Context, bail};
use std::collections::BTreeMap;

/// Rules that name themselves would never end; nothing in the demo nests deeper than three.
const MAX_DEPTH: usize = 16;

/// Rules by name, each with its alternatives.
pub(crate) struct Grammar<'a> {
    rules: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Grammar<'a> {
    /// Reads the notation of `grammar.txt`.
    pub(crate) fn parse(text: &'a str) -> anyhow::Result<Self> {
        let mut rules: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut rule = None;
        for line in text.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("= ") {
                rule = Some(rules.entry(name).or_default());
            } else if let Some(alternatives) = &mut rule {
                alternatives.push(line);
            } else {
                bail!("{line:?} stands before the first rule");
            }
        }
        Ok(Grammar { rules })
    }

    fn alternatives(&self, rule: &str) -> anyhow::Result<&[&'a str]> {
        match self.rules.get(rule) {
            Some(alternatives) if !alternatives.is_empty() => Ok(alternatives),
            _ => bail!("the grammar has no rule {rule:?}"),
        }
    }
}

/// One conversation's voice: what it chose once for `<rule!>` stays chosen.
pub(crate) struct Voice<'g, 'a> {
    grammar: &'g Grammar<'a>,
    chosen: BTreeMap<String, String>,
}

impl<'g, 'a> Voice<'g, 'a> {
    /// A voice that has chosen nothing yet.
    pub(crate) fn new(grammar: &'g Grammar<'a>) -> Self {
        Voice {
            grammar,
            chosen: BTreeMap::new(),
        }
    }

    /// Whether there is a rule of this name.
    pub(crate) fn knows(&self, rule: &str) -> bool {
        self.grammar.rules.contains_key(rule)
    }

    /// One of the rule's texts.
    pub(crate) fn say(&mut self, random: &mut Random, rule: &str) -> anyhow::Result<String> {
        self.expand(random, rule, 0)
    }

    /// A rule's text that stays the same throughout the conversation.
    pub(crate) fn keep(&mut self, random: &mut Random, rule: &str) -> anyhow::Result<String> {
        self.sticky(random, rule, 0)
    }

    fn expand(&mut self, random: &mut Random, rule: &str, depth: usize) -> anyhow::Result<String> {
        if depth > MAX_DEPTH {
            bail!("the rule {rule:?} goes in circles");
        }
        let alternatives = self.grammar.alternatives(rule)?;
        let alternative = alternatives[random.below(alternatives.len())];
        self.fill(random, alternative, depth)
            .with_context(|| format!("in the rule {rule:?}"))
    }

    fn sticky(&mut self, random: &mut Random, rule: &str, depth: usize) -> anyhow::Result<String> {
        if let Some(text) = self.chosen.get(rule) {
            return Ok(text.clone());
        }
        let text = self.expand(random, rule, depth)?;
        self.chosen.insert(rule.to_owned(), text.clone());
        Ok(text)
    }

    /// `count` different alternatives of a rule, or as many as it has.
    fn several(
        &mut self,
        random: &mut Random,
        rule: &str,
        count: usize,
        depth: usize,
    ) -> anyhow::Result<Vec<String>> {
        let mut left = self.grammar.alternatives(rule)?.to_vec();
        let mut texts = Vec::new();
        while texts.len() < count && !left.is_empty() {
            let alternative = left.swap_remove(random.below(left.len()));
            texts.push(self.fill(random, alternative, depth)?);
        }
        Ok(texts)
    }

    /// Replaces the references in one alternative. A `<` that opens no reference is itself.
    fn fill(&mut self, random: &mut Random, text: &str, depth: usize) -> anyhow::Result<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            push_unescaped(&mut filled, before);
            match after.split_once('>').and_then(|(inside, after)| {
                Reference::parse(inside).map(|reference| (reference, after))
            }) {
                Some((reference, after)) => {
                    filled += &self.refer(random, &reference, depth + 1)?;
                    rest = after;
                }
                None => {
                    filled.push('<');
                    rest = after;
                }
            }
        }
        push_unescaped(&mut filled, rest);
        Ok(filled)
    }

    fn refer(
        &mut self,
        random: &mut Random,
        reference: &Reference,
        depth: usize,
    ) -> anyhow::Result<String> {
        let rule = reference.rule;
        Ok(match reference.how {
            How::Fresh => self.expand(random, rule, depth)?,
            How::Sticky => self.sticky(random, rule, depth)?,
            How::Joined(count) => self.several(random, rule, count, depth)?.join(" "),
            How::Numbered(count) => {
                let texts = self.several(random, rule, count, depth)?;
                let lines: Vec<String> = (1..)
                    .zip(texts)
                    .map(|(n, text)| format!("{n}. {text}"))
                    .collect();
                lines.join("\n")
            }
        })
    }
}

/// What stands between `<` and `>`.
struct Reference<'t> {
    rule: &'t str,
    how: How,
}

enum How {
    Fresh,
    Sticky,
    Joined(usize),
    Numbered(usize),
}

impl<'t> Reference<'t> {
    fn parse(inside: &'t str) -> Option<Self> {
        let (rule, how) = if let Some(rule) = inside.strip_suffix('!') {
            (rule, How::Sticky)
        } else if let Some((rule, count)) = inside.split_once('*') {
            (rule, How::Joined(count.parse().ok()?))
        } else if let Some((rule, count)) = inside.split_once('#') {
            (rule, How::Numbered(count.parse().ok()?))
        } else {
            (inside, How::Fresh)
        };
        let named = !rule.is_empty() && rule.bytes().all(|b| b.is_ascii_lowercase() || b == b'.');
        named.then_some(Reference { rule, how })
    }
}

fn push_unescaped(out: &mut String, text: &str) {
    out.push_str(&text.replace("\\n", "\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(grammar: &str, rule: &str) -> anyhow::Result<String> {
        Voice::new(&Grammar::parse(grammar)?).say(&mut Random::new(3), rule)
    }

    #[test]
    fn keeps_what_it_chose_once() {
        let rules =
            "= pet\na cat\na dog\na tortoise\n= tale\n<pet!> met <pet!>, and <pet!> left.\n";
        let told = say(rules, "tale").unwrap();
        let pet = told.split(" met").next().unwrap().to_owned();
        assert_eq!(told, format!("{pet} met {pet}, and {pet} left."));
    }

    #[test]
    fn lists_hold_different_alternatives_and_code_is_left_alone() {
        let rules = "# a comment\n= n\none\ntwo\n\n= list\n<n#5>\\n<n*2> if a < b { Vec<T> } > 0\n";
        let text = say(rules, "list").unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0] == "1. one" && lines[1] == "2. two" || lines[0] == "1. two");
        assert!(lines[2].ends_with("if a < b { Vec<T> } > 0"));
        assert!(lines[2].contains("one") && lines[2].contains("two"));
    }

    #[test]
    fn names_a_missing_rule_and_a_circle() {
        let missing = format!("{:#}", say("= a\n<b>\n", "a").unwrap_err());
        assert_eq!(missing, "in the rule \"a\": the grammar has no rule \"b\"");
        let circle = format!("{:#}", say("= a\n<a>\n", "a").unwrap_err());
        assert!(circle.ends_with("goes in circles"), "{circle}");
        assert!(Grammar::parse("text\n= a\n").is_err());
    }
}
