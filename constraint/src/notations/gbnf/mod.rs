//! GBNF, the grammar notation of llama.cpp, read into [`Rules`].
//!
//! A superset of the original: a rule continues over line breaks until the next rule begins, as in
//! related notations. Source: `grammars/README.md` of llama.cpp.

mod scan;

use std::collections::HashMap;

use crate::error::SpecError;
use crate::limits::Limits;
use crate::limits::check_limit;
use crate::notations::line_column::LineColumn;
use crate::notations::rules::{Node, NodeId, RuleId, Rules};
use crate::notations::token_lists::TokenLists;
use crate::vocab::Vocab;
use scan::{Scanner, Symbol};

/// The deepest nesting of groups.
const MAX_GROUPS: usize = 60;
/// The largest counted repetition.
const MAX_REPEAT: u32 = 100_000;

/// Reads a grammar with the root rule `root`.
///
/// # Errors
/// The text is too long or not a grammar, or no text can ever be complete.
pub(crate) fn read(source: &str, vocab: &Vocab, limits: &Limits) -> Result<Rules, SpecError> {
    let mut rules = Rules::default();
    read_into(&mut rules, source, vocab, limits)?;
    Ok(rules)
}

/// Reads a grammar as part of another one, and returns its root.
pub(crate) fn read_into(
    rules: &mut Rules,
    source: &str,
    vocab: &Vocab,
    limits: &Limits,
) -> Result<RuleId, SpecError> {
    check_limit("bytes of a grammar", source.len(), limits.max_grammar_bytes)?;
    let scanner = Scanner::new(source);
    let tokens = TokenLists::new(vocab);
    let mut reader =
        Reader { scanner, rules, tokens, names: HashMap::new(), next: None, num_groups: 0 };
    reader.advance()?;
    let root = reader.named("root", None);
    while reader.next.is_some() {
        reader.rule()?;
    }
    reader.check_defined()?;
    reader.check_ends()?;
    Ok(root)
}

/// A name's rule, where it is first used, and where it is defined.
struct Name {
    rule: RuleId,
    used: Option<LineColumn>,
    defined: Option<LineColumn>,
}

struct Reader<'a> {
    scanner: Scanner<'a>,
    rules: &'a mut Rules,
    tokens: TokenLists<'a>,
    names: HashMap<String, Name>,
    /// The next symbol; none at the end.
    next: Option<(Symbol, LineColumn)>,
    num_groups: usize,
}

impl Reader<'_> {
    fn advance(&mut self) -> Result<Option<(Symbol, LineColumn)>, SpecError> {
        let next = self.scanner.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Returns the position of the next symbol.
    fn position(&self) -> LineColumn {
        self.next.as_ref().map_or(self.scanner.position(), |(_, position)| *position)
    }

    fn named(&mut self, name: &str, used: Option<LineColumn>) -> RuleId {
        if let Some(known) = self.names.get_mut(name) {
            known.used = known.used.or(used);
            return known.rule;
        }
        let rule = self.rules.declare();
        self.names.insert(name.to_string(), Name { rule, used, defined: None });
        rule
    }

    fn rule(&mut self) -> Result<(), SpecError> {
        let position = self.position();
        let Some((Symbol::Head(name), _)) = self.advance()? else {
            return Err(position.error("wanted a rule: a name and `::=`"));
        };
        let rule = self.named(&name, None);
        let known = self.names.get_mut(&name).expect("named above");
        if let Some(first) = known.defined.replace(position) {
            let message = format!("rule `{name}` is defined already at line {}", first.line);
            return Err(position.error(&message));
        }
        let body = self.alternatives()?;
        self.rules.define(rule, body);
        match &self.next {
            None | Some((Symbol::Head(_), _)) => Ok(()),
            Some((symbol, position)) => {
                Err(position.error(&format!("{symbol} has no opening bracket")))
            }
        }
    }

    fn alternatives(&mut self) -> Result<NodeId, SpecError> {
        let mut options = vec![self.sequence()?];
        while matches!(self.next, Some((Symbol::Bar, _))) {
            self.advance()?;
            options.push(self.sequence()?);
        }
        Ok(self.rules.alt(options))
    }

    fn sequence(&mut self) -> Result<NodeId, SpecError> {
        let mut items: Vec<NodeId> = Vec::new();
        loop {
            let position = self.position();
            match &self.next {
                None | Some((Symbol::Head(_) | Symbol::Bar | Symbol::Close, _)) => break,
                Some((Symbol::Times { min, max }, _)) => {
                    let (min, max) = (*min, *max);
                    let Some(item) = items.pop() else {
                        return Err(position.error("there is nothing before it to repeat"));
                    };
                    check_times(min, max, position)?;
                    self.advance()?;
                    items.push(self.rules.add(Node::Repeat(item, min, max)));
                }
                Some(_) => items.push(self.item()?),
            }
        }
        Ok(self.rules.seq(items))
    }

    fn item(&mut self) -> Result<NodeId, SpecError> {
        let (symbol, position) = self.advance()?.expect("the caller saw it");
        let node = match symbol {
            Symbol::Literal(text) => Node::Literal(text),
            Symbol::Class { negated, ranges } => Node::Class { negated, ranges },
            Symbol::Name(name) => Node::Rule(self.named(&name, Some(position))),
            Symbol::Token { name, negated } => self.token(&name, negated, position)?,
            Symbol::Open => {
                self.num_groups += 1;
                check_limit("groups inside one another", self.num_groups, MAX_GROUPS)?;
                let inner = self.alternatives()?;
                self.num_groups -= 1;
                return match self.advance()? {
                    Some((Symbol::Close, _)) => Ok(inner),
                    _ => Err(position.error("`(` is never closed")),
                };
            }
            Symbol::Head(_) | Symbol::Bar | Symbol::Close | Symbol::Times { .. } => {
                unreachable!("the caller takes these")
            }
        };
        Ok(self.rules.add(node))
    }

    /// Reads a single token, given by name as `<name>` or by number as `<[7]>`; if negated, any
    /// other token.
    fn token(
        &mut self,
        name: &str,
        negated: bool,
        position: LineColumn,
    ) -> Result<Node, SpecError> {
        let at = position.to_string();
        let number = name.strip_prefix("<[").and_then(|rest| rest.strip_suffix("]>"));
        let id = match number.and_then(|digits| digits.parse().ok()) {
            Some(id) => Some(id).filter(|&id| self.tokens.vocab.contains(id)),
            None => self.tokens.vocab.special(name),
        };
        let Some(id) = id else {
            return Err(SpecError::UnknownToken { name: name.to_string(), at });
        };
        if !negated && self.tokens.vocab.is_eos(id) {
            return Err(position.error(&format!("{name} ends the output, so no rule may use it")));
        }
        let ranges = if negated { self.tokens.get(vec![(id, id)], false)? } else { vec![(id, id)] };
        let is_text = negated || !self.tokens.vocab.token_bytes(id).is_empty();
        Ok(Node::Tokens { ranges, is_text, at })
    }

    fn check_defined(&self) -> Result<(), SpecError> {
        let undefined = self.names.iter().filter(|(_, name)| name.defined.is_none());
        let first = undefined.min_by_key(|(_, name)| name.used);
        match first {
            None => Ok(()),
            Some((name, Name { used, .. })) => {
                let position = used.unwrap_or(self.scanner.position());
                Err(position.error(&format!("rule `{name}` is not defined")))
            }
        }
    }

    /// Refuses rules that refer to themselves in every alternative, so that no text is ever
    /// complete.
    fn check_ends(&self) -> Result<(), SpecError> {
        let endless = self.rules.endless();
        let position = |rule: RuleId| {
            let mut names = self.names.iter();
            names
                .find(|(_, known)| known.rule == rule)
                .and_then(|(name, known)| Some((name, known.defined?)))
        };
        let first = endless.into_iter().filter_map(position).min_by_key(|(_, position)| *position);
        match first {
            None => Ok(()),
            Some((name, position)) => Err(position
                .error(&format!("rule `{name}` never ends: every alternative refers to it again"))),
        }
    }
}

fn check_times(min: u32, max: Option<u32>, position: LineColumn) -> Result<(), SpecError> {
    if max.is_some_and(|max| max < min) {
        return Err(position.error(&format!(
            "the maximum, {}, is less than the minimum, {min}",
            max.unwrap_or(0)
        )));
    }
    let found = max.unwrap_or(min).max(min) as usize;
    check_limit("repetitions of a part", found, MAX_REPEAT as usize)
}
