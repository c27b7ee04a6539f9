//! No circle between the modules of a crate: what is named first in a path below the crate's root.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    File,
    code::{before_tests, code},
    files, is_rust, is_test,
};

/// Two modules that may name each other: a mask is one of a vocabulary, which has a mask of all tokens.
const MAY: [(&str, &str); 1] = [("mask", "vocab")];

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
    for (module, text) in files {
        let Some(first) = module.first() else { continue };
        let code = code(text);
        let code = before_tests(&code);
        let mut named = named_behind(code, "crate::");
        named.extend(named_behind(code, &"super::".repeat(module.len())));
        named.retain(|name| known.contains(&**name) && name != first);
        arrows.entry((*first).to_owned()).or_default().extend(named);
    }
    arrows
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
            if is_circle && !MAY.contains(&(a, b)) {
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
    for (folder, files) in crates {
        let found = circles(&arrows(&files));
        assert!(found.is_empty(), "{folder}: {found:?}");
    }
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
    check(&[("mask.rs", "use crate::vocab;"), ("vocab.rs", "use crate::mask;")], &[]);
    let (c, d) = (("c.rs", "use crate::d;"), ("d.rs", "use crate::e;"));
    let e = ("e.rs", "use crate::c;");
    check(&[c, d, e], &[("c", "d"), ("c", "e"), ("d", "e")]);
}
