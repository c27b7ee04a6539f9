//! Writes a skeleton in the engine's notation.

use std::fmt::Write;

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};

use super::regular::times;
use super::skeleton::{Part, Skeleton, Terminal, TerminalKind};
use super::{Node, ROOT, Rules};
use crate::error::SpecError;
use crate::limits::Limits;
use crate::limits::check_limit;

/// The deepest nesting of groups in one rule; the engine's reader allows fewer than 30.
const MAX_GROUPS: usize = 10;

/// The most parts of all rules together; the engine handles about 50 per millisecond.
const MAX_SYMBOLS: usize = 10_000;

/// Writes the grammar; each schema becomes a grammar next to it.
pub(super) fn grammar(
    rules: Rules,
    skeleton: &Skeleton,
    limits: &Limits,
) -> Result<TopLevelGrammar, SpecError> {
    let mut writer =
        Writer { rules: &rules, skeleton, out: String::new(), num_symbols: 0, later: Vec::new() };
    writer.push(format_args!("start: r{}\n", ROOT.0));
    for (rule, part) in &skeleton.rules {
        writer.line(&format!("r{}", rule.0), part);
    }
    // Groups that nest too deep become rules of their own, which may contain such groups again.
    let mut done = 0;
    while let Some(&part) = writer.later.get(done) {
        writer.line(&format!("h{done}"), part);
        done += 1;
    }
    check_limit("symbols of a grammar", writer.num_symbols, MAX_SYMBOLS)?;
    let mut lark = writer.out;
    lark.push_str(&rules.lark_without());
    for (idx, terminal) in skeleton.terminals.iter().enumerate() {
        if let TerminalKind::Text(_) = terminal.kind {
            let text = rules.lark(terminal.node)?;
            writeln!(lark, "T{idx}: {text}").expect("a string takes all writes");
        }
    }
    check_limit("bytes of a compiled grammar", lark.len(), 4 * limits.max_grammar_bytes)?;
    let main = GrammarWithLexer {
        name: Some("main".to_string()),
        lark_grammar: Some(lark),
        ..GrammarWithLexer::default()
    };
    let schemas = rules.schemas.into_iter().enumerate().map(|(idx, schema)| GrammarWithLexer {
        name: Some(format!("json{idx}")),
        json_schema: Some(schema),
        ..GrammarWithLexer::default()
    });
    let grammars = std::iter::once(main).chain(schemas).collect();
    Ok(TopLevelGrammar { grammars, max_tokens: None })
}

struct Writer<'a> {
    rules: &'a Rules,
    skeleton: &'a Skeleton,
    out: String,
    num_symbols: usize,
    later: Vec<&'a Part>,
}

impl<'a> Writer<'a> {
    fn line(&mut self, name: &str, part: &'a Part) {
        self.out.push_str(name);
        self.out.push_str(": ");
        self.part(part, 0);
        self.out.push('\n');
    }

    fn part(&mut self, part: &'a Part, groups: usize) {
        self.num_symbols += 1;
        match part {
            Part::Terminal(idx) => self.terminal(*idx),
            Part::Rule(rule) => self.push(format_args!("r{}", rule.0)),
            Part::Seq(items) | Part::Alt(items) if items.is_empty() => self.out.push_str("\"\""),
            Part::Repeat(_, _, Some(0)) => self.out.push_str("\"\""),
            _ if groups > MAX_GROUPS => {
                self.push(format_args!("h{}", self.later.len()));
                self.later.push(part);
            }
            Part::Seq(items) => self.group(items, " ", groups),
            Part::Alt(items) => self.group(items, " | ", groups),
            Part::Repeat(item, min, max) => {
                self.out.push('(');
                self.part(item, groups + 1);
                self.push(format_args!("){}", times(*min, *max)));
            }
        }
    }

    fn group(&mut self, items: &'a [Part], between: &str, groups: usize) {
        self.out.push('(');
        for (idx, item) in items.iter().enumerate() {
            if idx > 0 {
                self.out.push_str(between);
            }
            self.part(item, groups + 1);
        }
        self.out.push(')');
    }

    fn terminal(&mut self, idx: usize) {
        let Terminal { node, .. } = &self.skeleton.terminals[idx];
        match self.rules.node(*node) {
            Node::Json { schema, .. } => self.push(format_args!("@json{schema}")),
            Node::Tokens { ranges, .. } => {
                let ranges: Vec<String> =
                    ranges.iter().map(|(low, high)| format!("{low}-{high}")).collect();
                self.push(format_args!("<[{}]>", ranges.join(",")));
            }
            _ => self.push(format_args!("T{idx}")),
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a string takes all writes");
    }
}
