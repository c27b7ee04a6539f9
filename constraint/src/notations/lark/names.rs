//! Checks the names of a grammar: each is defined once, and no definition nests too deep or never
//! ends.

use std::collections::{HashMap, HashSet};

use super::scan::{Symbol, SymbolKind};
use crate::error::SpecError;
use crate::limits::check_limit;
use crate::notations::line_column::LineColumn;
use crate::notations::rules::MAX_DEPTH;

/// The most symbols of one terminal with all it refers to, and of a rule with its terminals.
const MAX_SYMBOLS: usize = 30_000;

/// The position and body of a rule or terminal.
struct Definition<'a> {
    position: LineColumn,
    body: Vec<&'a Symbol<'a>>,
}

/// Returns whether the symbols end in the name of a rule being defined.
pub(super) fn is_head(symbols: &[Symbol<'_>]) -> bool {
    match symbols {
        [.., before, last] => last.kind == SymbolKind::Name && before.kind == SymbolKind::Newline,
        [last] => last.kind == SymbolKind::Name,
        [] => false,
    }
}

/// Checks all names.
pub(super) fn check(symbols: &[Symbol<'_>]) -> Result<(), SpecError> {
    let mut found = Names::default();
    // Each line begins a definition or a directive; a line that begins with a bar continues the
    // previous one.
    let mut lines: Vec<&[Symbol<'_>]> = Vec::new();
    let mut start = 0;
    for (idx, pair) in symbols.windows(2).enumerate() {
        if pair[0].kind == SymbolKind::Newline && pair[1].text != "|" {
            lines.push(&symbols[start..idx]);
            start = idx + 1;
        }
    }
    lines.push(&symbols[start..]);
    for line in lines {
        found.line(line)?;
    }
    found.check()
}

#[derive(Default)]
struct Names<'a> {
    definitions: HashMap<&'a str, Definition<'a>>,
    ignored: Vec<Vec<&'a Symbol<'a>>>,
    imported: Vec<&'a str>,
}

impl<'a> Names<'a> {
    fn line(&mut self, line: &'a [Symbol<'a>]) -> Result<(), SpecError> {
        let line = match line {
            [first, rest @ ..] if first.kind == SymbolKind::Newline => rest,
            _ => line,
        };
        let Some(first) = line.first() else { return Ok(()) };
        match (&first.kind, first.text) {
            (SymbolKind::Name, _) => {
                let colon = line.iter().position(|symbol| symbol.text == ":");
                let Some(colon) = colon else {
                    return Err(first.position.error("wanted a rule: a name and `:`"));
                };
                let name = plain(first.text);
                let definition =
                    Definition { position: first.position, body: clean(&line[colon + 1..]) };
                if let Some(known) = self.definitions.insert(name, definition) {
                    let message =
                        format!("`{name}` is defined already at line {}", known.position.line);
                    return Err(first.position.error(&message));
                }
            }
            (_, "%ignore") => self.ignored.push(clean(&line[1..])),
            // All names of the line, including the library's own, which nothing else uses.
            (_, "%import") => {
                let all = line[1..].iter().filter(|symbol| symbol.kind == SymbolKind::Name);
                self.imported.extend(all.map(|symbol| symbol.text));
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SpecError> {
        let bodies = self.definitions.values().map(|definition| &definition.body);
        let all = bodies.chain(&self.ignored).flat_map(|body| names(body));
        let unknown = all.filter(|(name, ..)| {
            !self.definitions.contains_key(name) && !self.imported.contains(name)
        });
        if let Some((name, _, position)) = unknown.min_by_key(|(.., position)| *position) {
            return Err(position.error(&format!("`{name}` is not defined")));
        }
        let Some(start) = self.definitions.get("start") else {
            return Err(LineColumn::START.error("rule `start` is not defined"));
        };
        self.check_size(start)?;
        self.check_ends()
    }

    /// Bounds the nesting of definitions along the path by which the engine first visits each (it
    /// visits each only once), and the size of terminals: the engine expands all that a terminal
    /// refers to into one list.
    fn check_size(&self, start: &Definition<'a>) -> Result<(), SpecError> {
        let mut seen = HashSet::from(["start"]);
        let mut sizes: HashMap<&str, usize> = HashMap::new();
        let roots = self.ignored.iter().chain([&start.body]);
        for root in roots {
            let mut todo = vec![("", root, names(root), 1)];
            while let Some((current, body, rest, depth)) = todo.last_mut() {
                let Some((name, groups, _)) = rest.next() else {
                    let terminals = names(body).filter_map(|(name, ..)| sizes.get(name));
                    let size = terminals.fold(body.len(), |all, &size| all.saturating_add(size));
                    check_limit("symbols of a terminal, and of those it names", size, MAX_SYMBOLS)?;
                    if is_terminal(current) {
                        sizes.insert(current, size);
                    }
                    todo.pop();
                    continue;
                };
                let depth = *depth + groups + 1;
                check_limit("rules and groups inside one another", depth, MAX_DEPTH)?;
                if let Some(definition) = self.definitions.get(name)
                    && seen.insert(name)
                {
                    todo.push((name, &definition.body, names(&definition.body), depth));
                }
            }
        }
        Ok(())
    }

    /// Refuses definitions that refer to themselves in every alternative.
    fn check_ends(&self) -> Result<(), SpecError> {
        let mut ends: HashSet<&str> = self.imported.iter().copied().collect();
        let mut users: HashMap<&str, Vec<&str>> = HashMap::new();
        for (&user, definition) in &self.definitions {
            for (name, ..) in names(&definition.body) {
                users.entry(name).or_default().push(user);
            }
        }
        let mut todo: Vec<&str> = self.definitions.keys().copied().collect();
        while let Some(name) = todo.pop() {
            let Some(definition) = self.definitions.get(name) else { continue };
            if !ends.contains(name) && may_end(&mut definition.body.iter(), &ends) {
                ends.insert(name);
                todo.extend(users.get(name).into_iter().flatten());
            }
        }
        let endless = self.definitions.iter().filter(|(name, _)| !ends.contains(*name));
        match endless.min_by_key(|(_, definition)| definition.position) {
            None => Ok(()),
            Some((name, definition)) => Err(definition
                .position
                .error(&format!("`{name}` never ends: every alternative refers to it again"))),
        }
    }
}

/// Removes the marks that only shape syntax trees from a name.
fn plain(name: &str) -> &str {
    name.trim_start_matches(['!', '?'])
}

fn is_terminal(name: &str) -> bool {
    name.trim_start_matches('_').starts_with(|c: char| c.is_ascii_uppercase())
}

/// Removes what refers to no other definition from a body: line breaks, aliases (after an arrow),
/// parameters (after two colons) and conditions (after `%if`).
fn clean<'a>(body: &'a [Symbol<'a>]) -> Vec<&'a Symbol<'a>> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((symbol, after)) = rest.split_first() {
        rest = match symbol.text {
            "->" => after.get(1..).unwrap_or_default(),
            "::" => match after {
                [_, open, ..] if open.kind == SymbolKind::Open('(') => {
                    &after[1 + group(&after[1..], false)..]
                }
                _ => after.get(1..).unwrap_or_default(),
            },
            "%if" => &after[group(after, true)..],
            _ => {
                if symbol.kind != SymbolKind::Newline {
                    out.push(symbol);
                }
                after
            }
        };
    }
    out
}

/// Returns the number of symbols in the group that they begin with. If already inside a group,
/// counts up to its end or its next alternative.
fn group(symbols: &[Symbol<'_>], inside: bool) -> usize {
    let mut depth = 0usize;
    for (idx, symbol) in symbols.iter().enumerate() {
        match symbol.kind {
            SymbolKind::Open(_) => depth += 1,
            SymbolKind::Close(_) if depth == 0 => return idx,
            SymbolKind::Close(_) => {
                depth -= 1;
                if depth == 0 && !inside {
                    return idx + 1;
                }
            }
            SymbolKind::Mark if inside && depth == 0 && symbol.text == "|" => return idx,
            _ => {}
        }
    }
    symbols.len()
}

/// Returns the names in a body, each with its nesting depth and position.
fn names<'b, 'a>(
    body: &'b [&'a Symbol<'a>],
) -> impl Iterator<Item = (&'a str, usize, LineColumn)> + use<'b, 'a> {
    let mut depth = 0usize;
    body.iter().filter_map(move |symbol| {
        match symbol.kind {
            SymbolKind::Open(_) => depth += 1,
            SymbolKind::Close(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
        (symbol.kind == SymbolKind::Name).then_some((plain(symbol.text), depth, symbol.position))
    })
}

/// Returns whether a body, or the rest of a group, can be complete.
fn may_end<'a>(rest: &mut std::slice::Iter<'_, &'a Symbol<'a>>, ends: &HashSet<&'a str>) -> bool {
    let (mut any, mut all) = (false, true);
    // Whether the last item can be complete; applied once it is known not to be optional.
    let mut last = true;
    while let Some(symbol) = rest.next() {
        let item = match (&symbol.kind, symbol.text) {
            (SymbolKind::Open('{'), _) => {
                // A counted repetition; its minimum decides.
                last |= matches!(rest.clone().next().map(|symbol| symbol.text), Some("0" | ","));
                while rest.next().is_some_and(|symbol| symbol.kind != SymbolKind::Close('}')) {}
                continue;
            }
            (SymbolKind::Mark, "~") => {
                last |= rest.clone().next().is_some_and(|symbol| symbol.text == "0");
                continue;
            }
            (SymbolKind::Mark, "*" | "?") => {
                last = true;
                continue;
            }
            (SymbolKind::Mark, "|") => {
                any |= all && last;
                (all, last) = (true, true);
                continue;
            }
            (SymbolKind::Close(_), _) => break,
            (SymbolKind::Open(open), _) => may_end(rest, ends) || *open == '[',
            (SymbolKind::Name, name) => ends.contains(plain(name)),
            (SymbolKind::Mark | SymbolKind::Number | SymbolKind::Newline, _) => continue,
            _ => true,
        };
        all &= last;
        last = item;
    }
    any || (all && last)
}
