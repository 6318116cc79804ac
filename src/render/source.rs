//! The little that is rewritten in a template's source before the engine sees it.
//!
//! The engine's own lexer finds the places, so strings, comments, raw blocks and whitespace marks are
//! safe. No line is added or taken away: errors name lines of the original. Rewritten are
//!
//! - `{% generation %}`, Transformers' own tag, which the engine does not know: a filter block;
//! - the scope of filter and set blocks: what is set inside stays inside, as in Jinja;
//! - operands of `~`: the engine would print numbers in them as Rust does;
//! - string literals with escapes that the engine does not read as Python does;
//! - what is assigned to a namespace, which must not grow without bound.

use super::concat::operands;
use super::environment::{GENERATION, KEPT, syntax};
use super::limits::TemplateLimits;
use super::literal;
use super::page::{TURN, TURNS_END};
use super::refusal::{explain, template_error};
use crate::error::Result;
use minijinja::machinery::{Span, Token, tokenize};
use std::borrow::Cow;
use std::ops::Range;

/// Largest template in bytes. The longest in use have some 20 KiB.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Most tokens in a tag or expression, where the longest in use have some 200: the engine parses and
/// frees expressions by recursion.
pub(super) const MAX_TOKENS: usize = 4_000;
/// Most `elif` branches, for the same reason.
const MAX_BRANCHES: u16 = 500;

/// Where a template prints its generation blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// It has none.
    None,
    /// Straight to the page.
    Direct,
    /// Some of them into a capture first: within a macro, a call, set, filter or named block, another
    /// generation block, or a recursive loop.
    Captured,
}

/// Whether loops are to say which item they stand at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loops {
    /// They are left as they are.
    Plain,
    /// They call [`TURN`] at the head of their body, and [`TURNS_END`] behind their end.
    Announced,
}

/// A template as the engine gets it.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) source: String,
    pub(super) generation: Generation,
}

/// Rewrites a template.
pub(super) fn prepare(source: &str, limits: &TemplateLimits, loops: Loops) -> Result<Prepared> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(template_error(format!(
            "the chat template has {} bytes, the limit is {MAX_SOURCE_BYTES}",
            source.len()
        )));
    }
    let source = unify_newlines(source);
    let mut rewriter = Rewriter {
        source: &source,
        edits: Vec::new(),
        blocks: Vec::new(),
        generation: Generation::None,
        loops,
        loops_seen: 0,
    };
    let mut tag: Vec<(Token<'_>, Span)> = Vec::new();
    for token in tokenize(&source, false, syntax()) {
        let (token, span) = token.map_err(|error| explain(&error, limits))?;
        match token {
            Token::TemplateData(_) | Token::VariableStart | Token::BlockStart => tag.clear(),
            Token::VariableEnd => rewriter.expression(&tag)?,
            Token::BlockEnd => rewriter.tag(&tag, span)?,
            _ if tag.len() == MAX_TOKENS => {
                return Err(template_error(format!(
                    "chat template, line {}: an expression has more than {MAX_TOKENS} tokens",
                    span.start_line
                )));
            }
            _ => tag.push((token, span)),
        }
    }
    if let Some(open) = rewriter.blocks.iter().rfind(|b| b.kind == Kind::Generation) {
        return Err(template_error(format!(
            "chat template, line {}: generation block without endgeneration",
            open.line
        )));
    }
    Ok(Prepared {
        generation: rewriter.generation,
        source: apply(&source, rewriter.edits),
    })
}

/// Jinja reads CRLF and CR as LF.
fn unify_newlines(source: &str) -> Cow<'_, str> {
    if source.contains('\r') {
        Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(source)
    }
}

/// Replaces the text at `at`, which is empty for an insertion.
#[derive(Debug)]
struct Edit {
    at: Range<usize>,
    text: Cow<'static, str>,
}

fn apply(source: &str, mut edits: Vec<Edit>) -> String {
    // What is put before something comes before what replaces it.
    edits.sort_by_key(|edit| (edit.at.start, edit.at.end));
    let mut out = String::with_capacity(source.len() + edits.len() * 16);
    let mut done = 0;
    for edit in edits {
        out.push_str(source.get(done..edit.at.start).unwrap_or_default());
        out.push_str(&edit.text);
        done = edit.at.end;
    }
    out.push_str(source.get(done..).unwrap_or_default());
    out
}

/// What a block means for the output and the variables inside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    If,
    Loop {
        recursive: bool,
        /// Counted from 0 through the source.
        id: usize,
    },
    /// `with`, `autoescape`: a scope that prints straight on.
    Scope,
    /// `set`, `filter`, `block`: prints into a capture.
    Capture,
    /// `macro`, `call`.
    Function,
    Generation,
}

#[derive(Debug)]
struct Block {
    kind: Kind,
    line: u16,
    /// Its `elif` so far.
    branches: u16,
}

struct Rewriter<'a> {
    source: &'a str,
    edits: Vec<Edit>,
    blocks: Vec<Block>,
    generation: Generation,
    loops: Loops,
    loops_seen: usize,
}

impl Rewriter<'_> {
    fn replace(&mut self, span: Span, text: impl Into<Cow<'static, str>>) {
        self.edits.push(Edit {
            at: span.start_offset as usize..span.end_offset as usize,
            text: text.into(),
        });
    }

    fn insert(&mut self, at: u32, text: impl Into<Cow<'static, str>>) {
        let at = at as usize;
        self.edits.push(Edit {
            at: at..at,
            text: text.into(),
        });
    }

    /// One `{% … %}`; `end` is where its end mark lies.
    fn tag(&mut self, tokens: &[(Token<'_>, Span)], end: Span) -> Result<()> {
        let Some(((Token::Ident(name), span), rest)) = tokens.split_first() else {
            return Ok(());
        };
        let span = *span;
        let line = span.start_line;
        let mut open = |kind: Kind| {
            self.blocks.push(Block {
                kind,
                line,
                branches: 0,
            })
        };
        match *name {
            "if" => open(Kind::If),
            "elif" => {
                if let Some(block) = self.blocks.last_mut() {
                    block.branches += 1;
                    if block.branches > MAX_BRANCHES {
                        return Err(template_error(format!(
                            "chat template, line {line}: an if has more than {MAX_BRANCHES} branches"
                        )));
                    }
                }
            }
            "for" => {
                let id = self.loops_seen;
                open(Kind::Loop {
                    recursive: matches!(rest.last(), Some((Token::Ident("recursive"), _))),
                    id,
                });
                self.loops_seen += 1;
                if let [(Token::Ident(item), _), (Token::Ident("in"), _), ..] = rest {
                    self.announce(end, format!("{TURN}({id}, {item})"));
                }
            }
            "endfor" => {
                if let Some(Kind::Loop { id, .. }) = self.blocks.pop().map(|block| block.kind) {
                    self.announce(end, format!("{TURNS_END}({id})"));
                }
            }
            "with" | "autoescape" => open(Kind::Scope),
            "macro" | "call" => open(Kind::Function),
            "block" => open(Kind::Capture),
            "set" if !assigns(rest) => {
                open(Kind::Capture);
                self.insert(end.start_offset, " %}{% with ");
            }
            "set" => {
                // The check comes last, around whatever else is put in.
                self.expression(rest)?;
                self.keep(rest);
                return Ok(());
            }
            "endset" => {
                self.blocks.pop();
                self.replace(span, "endwith %}{% endset");
            }
            "filter" => {
                open(Kind::Capture);
                self.replace(span, "with %}{% filter");
            }
            "endfilter" => {
                self.blocks.pop();
                self.replace(span, "endfilter %}{% endwith");
            }
            "generation" => {
                let captured = self.blocks.iter().any(|block| {
                    matches!(
                        block.kind,
                        Kind::Capture
                            | Kind::Function
                            | Kind::Generation
                            | Kind::Loop {
                                recursive: true,
                                ..
                            }
                    )
                });
                if captured {
                    self.generation = Generation::Captured;
                } else if self.generation == Generation::None {
                    self.generation = Generation::Direct;
                }
                self.blocks.push(Block {
                    kind: Kind::Generation,
                    line,
                    branches: 0,
                });
                self.replace(span, format!("with %}}{{% filter {GENERATION}"));
            }
            "endgeneration" => {
                if self.blocks.pop().map(|block| block.kind) != Some(Kind::Generation) {
                    return Err(template_error(format!(
                        "chat template, line {line}: endgeneration does not close a generation block"
                    )));
                }
                self.replace(span, "endfilter %}{% endwith");
            }
            "break" | "continue" => self.check_loop_control(name, line)?,
            "include" | "import" | "from" | "extends" => {
                return Err(template_error(format!(
                    "chat template, line {line}: {name} would read another template, which none may"
                ))
                .remedy("write what it needs into the template itself"));
            }
            _ if name.starts_with("end") => {
                self.blocks.pop();
            }
            _ => {}
        }
        self.expression(rest)
    }

    /// Puts a call behind a tag, in a tag that treats the white space around it as that one does.
    fn announce(&mut self, end: Span, call: String) {
        let mark = self
            .source
            .get(end.start_offset as usize..end.end_offset as usize);
        if let (Loops::Announced, Some(mark)) = (self.loops, mark) {
            let tag = format!("{{% do {call} {mark}");
            self.insert(end.end_offset, tag);
        }
    }

    /// Sends what is assigned to a namespace through a check.
    fn keep(&mut self, tokens: &[(Token<'_>, Span)]) {
        let assign = tokens
            .iter()
            .position(|(token, _)| matches!(token, Token::Assign));
        let (target, value) = tokens.split_at(assign.unwrap_or(tokens.len()));
        if !target.iter().any(|(token, _)| matches!(token, Token::Dot)) {
            return;
        }
        if let (Some((_, first)), Some((_, last))) = (value.get(1), value.last()) {
            self.insert(first.start_offset, "(");
            self.insert(last.end_offset, format!(")|{KEPT}"));
        }
    }

    /// The engine jumps out of a loop without closing what was opened inside it: text would be lost.
    fn check_loop_control(&self, name: &str, line: u16) -> Result<()> {
        for block in self.blocks.iter().rev() {
            match block.kind {
                Kind::If => {}
                Kind::Loop { .. } | Kind::Function => break,
                Kind::Scope | Kind::Capture | Kind::Generation => {
                    return Err(template_error(format!(
                        "chat template, line {line}: {name} leaves the block of line {} half done",
                        block.line
                    ))
                    .remedy("end the block before, or use a condition"));
                }
            }
        }
        Ok(())
    }

    /// What stands between the marks of a tag or a `{{ … }}`.
    fn expression(&mut self, tokens: &[(Token<'_>, Span)]) -> Result<()> {
        for (token, span) in tokens {
            match token {
                Token::Ident(name) if [GENERATION, KEPT, TURN, TURNS_END].contains(name) => {
                    return Err(template_error(format!(
                        "chat template, line {}: the name {name} is taken",
                        span.start_line
                    )));
                }
                // Only literals with escapes are owned.
                Token::String(text) => self.literal(text, *span)?,
                _ => {}
            }
        }
        // What `string` makes of an operand is printed as Python prints it.
        for operand in operands(tokens) {
            if let (Some((_, first)), Some((_, last))) = (operand.first(), operand.last()) {
                self.insert(first.start_offset, "(");
                self.insert(last.end_offset, ")|string");
            }
        }
        Ok(())
    }

    /// One string literal, which the engine read as `text`.
    fn literal(&mut self, text: &str, span: Span) -> Result<()> {
        let source = self.source;
        let written = source
            .get(span.start_offset as usize..span.end_offset as usize)
            .unwrap_or_default();
        match literal::read(written) {
            Some(python) if python == *text => {}
            Some(python) => self.replace(span, literal::write(&python, written)),
            // A pair of surrogates, which the engine joins.
            None if !written.contains("\\N") => {}
            None => {
                return Err(template_error(format!(
                    "chat template, line {}: characters cannot be written by name",
                    span.start_line
                ))
                .remedy("write the character itself"));
            }
        }
        Ok(())
    }
}

/// Whether the tokens behind `set` assign a value, rather than open a block.
fn assigns(tokens: &[(Token<'_>, Span)]) -> bool {
    let mut depth = 0_usize;
    for (token, _) in tokens {
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                depth = depth.saturating_sub(1)
            }
            Token::Assign if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(source: &str) -> String {
        prepare(source, &TemplateLimits::default(), Loops::Plain)
            .unwrap()
            .source
    }

    fn generation(source: &str) -> Generation {
        prepare(source, &TemplateLimits::default(), Loops::Plain)
            .unwrap()
            .generation
    }

    fn refused(source: &str) -> String {
        prepare(source, &TemplateLimits::default(), Loops::Plain)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn only_tags_are_rewritten() {
        let untouched = "{{ add_generation_prompt }}{# {% generation %} #}{{ '{% generation %}' }}\
                         {% raw %}{% generation %}{% endraw %}{% set generation = 1 %}";
        assert_eq!(rewritten(untouched), untouched);
        assert_eq!(generation(untouched), Generation::None);
        assert_eq!(
            rewritten("{%- generation -%}\nx\n{%+ endgeneration %}"),
            format!(
                "{{%- with %}}{{% filter {GENERATION} -%}}\nx\n{{%+ endfilter %}}{{% endwith %}}"
            )
        );
        assert_eq!(
            rewritten("{%- set x -%} a {%- endset %}"),
            "{%- set x  %}{% with -%} a {%- endwith %}{% endset %}"
        );
    }

    #[test]
    fn newlines_are_unified() {
        assert_eq!(rewritten("a\r\nb\rc\n"), "a\nb\nc\n");
    }

    #[test]
    fn operands_of_concatenation_are_printed_as_python_does() {
        for (source, expected) in [
            ("{{ a ~ b }}", "{{ (a)|string ~ (b)|string }}"),
            ("{{ 'a' ~ b ~ 'c' }}", "{{ 'a' ~ (b)|string ~ 'c' }}"),
            (
                "{{ a + b ~ c * 2 - d }}",
                "{{ a + (b)|string ~ (c * 2)|string - d }}",
            ),
            (
                "{{ (a ~ b)|trim ~ c.d[0] }}",
                "{{ (((a)|string ~ (b)|string)|trim)|string ~ (c.d[0])|string }}",
            ),
            (
                "{{ f(a, b ~ -1) if a ~ b == c else d }}",
                "{{ f(a, (b)|string ~ (-1)|string) if (a)|string ~ (b)|string == c else d }}",
            ),
            (
                "{% set x = a ~ b %}",
                "{% set x = (a)|string ~ (b)|string %}",
            ),
            (
                "{% if not a ~ b in c %}",
                "{% if not (a)|string ~ (b)|string in c %}",
            ),
            (
                "{{ a is not none ~ b }}",
                "{{ (a is not none)|string ~ (b)|string }}",
            ),
            (
                "{{ {'k': a ~ 1.0} }}",
                "{{ {'k': (a)|string ~ (1.0)|string} }}",
            ),
            ("{{ a * -b ~ c }}", "{{ (a * -b)|string ~ (c)|string }}"),
            ("{{ a.in ~ b }}", "{{ (a.in)|string ~ (b)|string }}"),
        ] {
            assert_eq!(rewritten(source), expected);
        }
    }

    #[test]
    fn what_a_namespace_keeps_is_checked_last() {
        for (source, expected) in [
            (
                "{% set n.x = a ~ b %}",
                "{% set n.x = ((a)|string ~ (b)|string)|packmill_kept %}",
            ),
            (
                "{% set n.x = '\\v' ~ 1 %}",
                "{% set n.x = (\"\u{b}\" ~ (1)|string)|packmill_kept %}",
            ),
            ("{%- set x = n.y -%}", "{%- set x = n.y -%}"),
        ] {
            assert_eq!(rewritten(source), expected);
        }
    }

    #[test]
    fn captured_blocks_are_told_from_direct_ones() {
        let block = "{% generation %}x{% endgeneration %}";
        for (source, expected) in [
            (block.to_owned(), Generation::Direct),
            (
                format!(
                    "{{% for m in l %}}{{% if m %}}{{% with %}}{block}{{% endwith %}}{{% endif %}}{{% endfor %}}"
                ),
                Generation::Direct,
            ),
            (
                format!("{{% macro f() %}}a{{% endmacro %}}{block}"),
                Generation::Direct,
            ),
            (format!("{{% set x = 1 %}}{block}"), Generation::Direct),
            (
                format!("{{% macro f() %}}{block}{{% endmacro %}}"),
                Generation::Captured,
            ),
            (
                format!("{{% set x %}}{block}{{% endset %}}"),
                Generation::Captured,
            ),
            (
                format!("{{% set x | trim %}}{block}{{% endset %}}"),
                Generation::Captured,
            ),
            (
                format!("{{% filter trim %}}{block}{{% endfilter %}}"),
                Generation::Captured,
            ),
            (
                format!("{{% block b %}}{block}{{% endblock %}}"),
                Generation::Captured,
            ),
            (
                format!("{{% call f() %}}{block}{{% endcall %}}"),
                Generation::Captured,
            ),
            (
                format!("{{% for m in l recursive %}}{block}{{% endfor %}}"),
                Generation::Captured,
            ),
            (
                format!("{{% generation %}}{block}{{% endgeneration %}}"),
                Generation::Captured,
            ),
        ] {
            assert_eq!(generation(&source), expected, "{source}");
        }
    }

    #[test]
    fn what_would_go_wrong_is_refused_with_its_line() {
        assert!(refused("a\n{% include 'x' %}").contains("line 2: include"));
        assert!(refused("a\n\n{% endgeneration %}").contains("line 3"));
        assert!(refused("\n{% generation %}").contains("line 2: generation block without"));
        assert!(
            refused(
                "{% for m in l %}\n{% generation %}\n{% break %}{% endgeneration %}{% endfor %}"
            )
            .contains("line 3: break leaves the block of line 2")
        );
        assert!(
            refused("{% for m in l %}{% set x %}{% continue %}{% endset %}{% endfor %}")
                .contains("continue")
        );
        assert!(refused("{{ x | packmill_generation }}").contains("taken"));
        assert!(refused("\n{{ 'a }}").contains("line 2"));
        assert!(
            prepare(
                "{% set x %}{% for m in l %}{% if m %}{% break %}{% endif %}{% endfor %}{% endset %}",
                &TemplateLimits::default(),
                Loops::Plain
            )
            .is_ok()
        );
    }
}
