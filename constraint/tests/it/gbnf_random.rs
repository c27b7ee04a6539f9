//! Random grammars against a recogniser that is too simple to be wrong.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

use sluicegate_constraint::Spec;

use crate::support::{COMPILER, Rng, accepts, bytewise};

const ALPHABET: [char; 3] = ['a', 'b', '('];
const NUM_RULES: usize = 3;

enum Node {
    Literal(String),
    Class(Vec<char>, bool),
    Rule(usize),
    Seq(Vec<Node>),
    Alt(Vec<Node>),
    Repeat(Box<Node>, usize, usize),
}

fn random(rng: &mut Rng, depth: usize) -> Node {
    let items = |rng: &mut Rng| {
        let num = 1 + rng.below(3);
        (0..num).map(|_| random(rng, depth.saturating_sub(1))).collect()
    };
    match rng.below(if depth == 0 { 5 } else { 9 }) {
        0 | 1 => {
            let len = rng.below(3);
            Node::Literal((0..len).map(|_| rng.pick(&ALPHABET)).collect())
        }
        2 | 3 => {
            let num = 1 + rng.below(2);
            Node::Class((0..num).map(|_| rng.pick(&ALPHABET)).collect(), rng.below(4) == 0)
        }
        4 => Node::Rule(rng.below(NUM_RULES)),
        5 | 6 => Node::Seq(items(rng)),
        7 => Node::Alt(items(rng)),
        _ => {
            let (min, max) = rng.pick(&[(0, 9), (1, 9), (0, 1), (1, 2), (2, 2)]);
            Node::Repeat(Box::new(random(rng, depth - 1)), min, max)
        }
    }
}

fn print(node: &Node, out: &mut String) {
    match node {
        Node::Literal(text) => write!(out, "\"{text}\"").unwrap(),
        Node::Class(chars, negated) => {
            let chars: String = chars.iter().collect();
            write!(out, "[{}{chars}]", if *negated { "^" } else { "" }).unwrap();
        }
        Node::Rule(rule) => out.push_str(["root", "x", "y"][*rule]),
        Node::Seq(items) | Node::Alt(items) => {
            let between = if matches!(node, Node::Seq(_)) { " " } else { " | " };
            out.push('(');
            for (idx, item) in items.iter().enumerate() {
                if idx > 0 {
                    out.push_str(between);
                }
                print(item, out);
            }
            out.push(')');
        }
        Node::Repeat(item, min, max) => {
            print(item, out);
            match max {
                9 => write!(out, "{{{min},}}").unwrap(),
                _ => write!(out, "{{{min},{max}}}").unwrap(),
            }
        }
    }
}

type Ends = BTreeSet<usize>;

/// Where each rule can end from each place: grown until nothing changes.
struct Recogniser<'a> {
    rules: &'a [Node],
    text: Vec<char>,
    known: HashMap<(usize, usize), Ends>,
}

impl Recogniser<'_> {
    fn accepts(&mut self) -> bool {
        loop {
            let before = self.known.clone();
            for rule in 0..self.rules.len() {
                for start in 0..=self.text.len() {
                    let ends = self.ends(&self.rules[rule], start);
                    self.known.insert((rule, start), ends);
                }
            }
            if self.known == before {
                return self.known[&(0, 0)].contains(&self.text.len());
            }
        }
    }

    fn ends(&self, node: &Node, start: usize) -> Ends {
        let then = |ends: &Ends, node: &Node| -> Ends {
            ends.iter().flat_map(|&end| self.ends(node, end)).collect()
        };
        match node {
            Node::Literal(text) => {
                let chars: Vec<char> = text.chars().collect();
                let found = self.text[start..].starts_with(&chars);
                found.then_some(start + chars.len()).into_iter().collect()
            }
            Node::Class(chars, negated) => {
                let found = self.text.get(start).is_some_and(|c| chars.contains(c) != *negated);
                found.then_some(start + 1).into_iter().collect()
            }
            Node::Rule(rule) => self.known.get(&(*rule, start)).cloned().unwrap_or_default(),
            Node::Seq(items) => {
                items.iter().fold(Ends::from([start]), |ends, item| then(&ends, item))
            }
            Node::Alt(items) => items.iter().flat_map(|item| self.ends(item, start)).collect(),
            Node::Repeat(item, min, max) => {
                let (mut ends, mut all) = (Ends::from([start]), Ends::new());
                for done in 0..=*max {
                    if done >= *min {
                        all.extend(&ends);
                    }
                    ends = then(&ends, item);
                }
                all
            }
        }
    }
}

fn texts(max: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut start = 0;
    for _ in 0..max {
        let end = all.len();
        for idx in start..end {
            for c in ALPHABET {
                all.push(format!("{}{c}", all[idx]));
            }
        }
        start = end;
    }
    all
}

#[test]
fn random_grammars_accept_exactly_their_texts() {
    let mut rng = Rng(0x5eed);
    let texts = texts(4);
    let mut num_compiled = 0;
    let mut num_accepted = 0;
    for _ in 0..600 {
        let rules: Vec<Node> = (0..NUM_RULES).map(|_| random(&mut rng, 2)).collect();
        let mut source = String::new();
        for (name, rule) in ["root", "x", "y"].iter().zip(&rules) {
            write!(source, "{name} ::= ").unwrap();
            print(rule, &mut source);
            source.push('\n');
        }
        // A rule without end is an error, and so is a grammar without any text.
        let Ok(compiled) = COMPILER.compile(&Spec::Gbnf(source.clone())) else { continue };
        assert!(compiled.warnings().is_empty(), "{source}");
        num_compiled += 1;
        for text in &texts {
            let text_chars = text.chars().collect();
            let mut recogniser =
                Recogniser { rules: &rules, text: text_chars, known: HashMap::new() };
            let wanted = recogniser.accepts();
            num_accepted += usize::from(wanted);
            assert_eq!(
                accepts(&compiled, &bytewise(text.as_bytes())),
                wanted,
                "{text:?}\n{source}"
            );
        }
    }
    assert!(num_compiled > 300 && num_accepted > 800, "{num_compiled} {num_accepted}");
}
