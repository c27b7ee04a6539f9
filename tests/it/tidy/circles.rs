//! No circle between the top-level modules of a crate.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    File,
    code::{before_tests, code},
    files, is_rust, is_test,
};

/// Modules of a crate that may name each other: a mask is one of a vocabulary, which has a mask of
/// all tokens.
const MAY: [(&str, &str, &str); 1] = [("constraint", "mask", "vocab")];

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The crate's folder, and the module's path below its root, of a file of code that is no test.
fn module_of(path: &str) -> Option<(&str, Vec<&str>)> {
    let (folder, file) = path.split_once("/src/")?;
    let file = file.strip_suffix(".rs").filter(|_| is_rust(path) && !is_test(path))?;
    let mut module: Vec<&str> = file.split('/').collect();
    if matches!(module.last(), Some(&"mod" | &"lib" | &"main")) {
        module.pop();
    }
    Some((folder, module))
}

/// What is named first behind each `beginning`: one name, or those of a list.
fn named_behind(code: &str, beginning: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(beginning) {
        let is_longer = code[..at].ends_with("::") || code[..at].ends_with(char::is_alphanumeric);
        let rest = code[at + beginning.len()..].trim_start();
        if is_longer {
            continue;
        }
        let Some(list) = rest.strip_prefix('{') else {
            names.extend(first_name(rest));
            continue;
        };
        let (mut depth, mut begins) = (0_usize, true);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                letter if begins && !letter.is_whitespace() => {
                    names.extend(first_name(&list[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    names
}

fn first_name(text: &str) -> Option<String> {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
    (end > 0).then(|| text[..end].to_owned())
}

/// Which modules each module of a crate names.
fn arrows(files: &[(Vec<&str>, &str)]) -> Arrows {
    let known: BTreeSet<&str> =
        files.iter().filter_map(|(module, _)| module.first().copied()).collect();
    let mut arrows = Arrows::new();
    let root = files.iter().find(|(module, _)| module.is_empty());
    let handed_on = root.map(|(_, text)| handed_on(&code(text), &known)).unwrap_or_default();
    for (module, text) in files {
        let Some(first) = module.first() else { continue };
        let code = code(text);
        let code = before_tests(&code);
        let mut named = named_behind(code, "crate::");
        named.extend(named_behind(code, &"super::".repeat(module.len())));
        let modules = named.iter().map(|name| handed_on.get(name).unwrap_or(name));
        let modules = modules.filter(|name| known.contains(&***name) && *name != first).cloned();
        arrows.entry((*first).to_owned()).or_default().extend(modules);
    }
    arrows
}

/// Names that the crate's root hands on from its modules, and from which.
fn handed_on(code: &str, known: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for statement in code.split(';') {
        let Some((_, tree)) = statement.split_once("pub use ") else { continue };
        let mut words = tree.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let Some(module) = words.next().filter(|module| known.contains(module)) else { continue };
        let handed = words.filter(|word| !word.is_empty() && !known.contains(word));
        names.extend(handed.map(|name| (name.to_owned(), module.to_owned())));
    }
    names
}

/// Pairs of modules each of which leads to the other.
fn circles(arrows: &Arrows) -> Vec<(String, String)> {
    let reached = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(module) = open.pop() {
            let next = arrows.get(module).into_iter().flatten();
            open.extend(next.filter(|next| seen.insert((*next).clone())));
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> =
        arrows.keys().map(|module| (module, reached(module))).collect();
    let mut found = Vec::new();
    for (a, from_a) in &reached {
        for b in from_a.iter().filter(|b| *a < *b) {
            let is_circle = reached.get(b).is_some_and(|from_b| from_b.contains(*a));
            if is_circle {
                found.push(((*a).clone(), b.clone()));
            }
        }
    }
    found
}

#[test]
fn modules_of_a_crate_do_not_name_each_other_in_circles() {
    let files = files::all();
    let mut crates: BTreeMap<&str, Vec<(Vec<&str>, &str)>> = BTreeMap::new();
    for File { path, text } in &files {
        if let Some((folder, module)) = module_of(path) {
            crates.entry(folder).or_default().push((module, text));
        }
    }
    assert!(crates.len() >= 8, "{:?}", crates.keys());
    let mut found = Vec::new();
    for (folder, files) in crates {
        let circles = circles(&arrows(&files)).into_iter();
        found.extend(circles.map(|(a, b)| (folder.to_owned(), a, b)));
    }
    let found: Vec<(&str, &str, &str)> = found.iter().map(|(a, b, c)| (&**a, &**b, &**c)).collect();
    assert_eq!(found, MAY);
}

#[test]
fn circles_are_found() {
    #[track_caller]
    fn check(files: &[(&str, &str)], want: &[(&str, &str)]) {
        let paths: Vec<String> = files.iter().map(|(path, _)| format!("a/src/{path}")).collect();
        let files: Vec<(Vec<&str>, &str)> = paths
            .iter()
            .zip(files)
            .map(|(path, (_, text))| (module_of(path).expect("it is a module").1, *text))
            .collect();
        let found = circles(&arrows(&files));
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(found, want);
    }
    let b = ("b/mod.rs", "");
    check(&[("a.rs", "use crate::b::B;"), b], &[]);
    check(&[("a.rs", "use crate::b::B;"), ("b/c.rs", "fn f() { crate::a::g() }")], &[("a", "b")]);
    check(&[("a.rs", "use super::{x, b::{a, B}};"), ("b/c.rs", "use crate::a;")], &[("a", "b")]);
    check(&[("a.rs", "use super::b;"), ("b/c.rs", "use super::super::a;")], &[("a", "b")]);
    check(&[("a.rs", "use super::b;"), ("b/c.rs", "use super::a; // crate::a")], &[]);
    let test = "#[cfg(test)]\nmod tests { use crate::a; }";
    check(&[("a.rs", "use crate::b;"), ("b/mod.rs", test)], &[]);
    let root = ("lib.rs", "pub mod b;\npub use b::{C, d::{self, E}};");
    check(&[root, ("a.rs", "use crate::E;"), ("b/d.rs", "use crate::a;")], &[("a", "b")]);
    check(&[root, ("a.rs", "use crate::d::F;"), ("b/d.rs", "use crate::a;")], &[("a", "b")]);
    let (c, d) = (("c.rs", "use crate::d;"), ("d.rs", "use crate::e;"));
    let e = ("e.rs", "use crate::c;");
    check(&[c, d, e], &[("c", "d"), ("c", "e"), ("d", "e")]);
}
