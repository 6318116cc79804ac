//! Templates: untrusted code from a model's folder.

use super::{refused, skipped};
use crate::corpus::{Corpus, TEMPLATE};
use packmill::Kind;

/// What a template does, and what its error says.
const WASTEFUL: [(&str, &str); 6] = [
    (
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "limits.template_fuel",
    ),
    (
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "recursion",
    ),
    (
        "{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
        "limits.template_output_bytes",
    ),
    ("{{ 'x' * 10**9 }}", "limits.template_fuel"),
    (
        "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "limits.template_fuel",
    ),
    ("{{ raise_exception('not this one') }}", "not this one"),
];

#[test]
fn one_that_wastes_or_raises_ends_the_run() {
    for (waste, says) in WASTEFUL {
        let corpus = Corpus::with_chats(20);
        corpus.write("own.jinja", format!("{waste}{TEMPLATE}").as_bytes());
        let error = refused(&corpus, "chats.jsonl", "template: own.jinja");
        assert_eq!(error.kind(), Kind::Template, "{error}");
        assert!(
            error.shard().is_some() && error.record().is_some(),
            "{error}"
        );
        assert!(error.to_string().contains(says), "{says}: {error}");
    }
}

#[test]
fn for_some_records_it_is_a_counted_drop() {
    for (waste, _) in WASTEFUL {
        let corpus = Corpus::with_chats(200);
        // Without a macro, which is defined whether or not it is called.
        if waste.contains("macro") {
            continue;
        }
        let some = "{% if messages[0].content in ['Record 7.', 'Record 150.'] %}";
        let template = format!("{some}{waste}{{% endif %}}{TEMPLATE}");
        corpus.write("own.jinja", template.as_bytes());
        let counts = skipped(&corpus, "chats.jsonl", "template: own.jinja");
        assert_eq!(counts, (200, 198, 2), "{waste}");
    }
}
