//! No circle between the modules of a folder.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    File, files, is_rust, is_test,
    paths::{Named, Path, named},
};

/// Modules of a folder that may name each other: a mask is one of a vocabulary, which has a mask
/// of all tokens.
const MAY: [&str; 1] = ["constraint: mask, vocab"];

/// The crate without circles between the files of a folder as well.
const STRICT: &str = "constraint";

/// Modules of a crate and what they name.
type Crate = BTreeMap<Path, Named>;

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

/// How often a name may be imported on its way from its module.
const MAX_IMPORTS: usize = 8;

/// The modules that a path leads to: that of the name, through those that import it, or all of those
/// from which a module on the way has all names.
fn targets<'a>(modules: &'a Crate, path: &[String]) -> Vec<&'a Path> {
    let Some((module, named, name)) = origin(modules, path) else { return Vec::new() };
    let globs = named.globs.iter().filter(|_| name.is_some());
    let globs = globs.filter_map(|path| origin(modules, path)).map(|(module, ..)| module);
    std::iter::once(module).chain(globs).collect()
}

/// The module where a path ends, and the name that is left of it there, if one is.
fn origin<'a>(
    modules: &'a Crate,
    path: &[String],
) -> Option<(&'a Path, &'a Named, Option<String>)> {
    let mut path = path.to_vec();
    let mut last = None;
    for _ in 0..MAX_IMPORTS {
        let depth = (0..=path.len()).rev().find(|&depth| modules.contains_key(&path[..depth]))?;
        let (module, named) = modules.get_key_value(&path[..depth])?;
        let name = path.get(depth);
        last = Some((module, named, name.cloned()));
        let Some(origin) = name.and_then(|name| named.imports.get(name)) else { break };
        path = [origin, &path[depth + 1..]].concat();
    }
    last
}

/// For each module with others inside, which of these name which, by themselves or by what is
/// inside them.
fn arrows(modules: &Crate) -> BTreeMap<&[String], Arrows<'_>> {
    let mut arrows = BTreeMap::<_, Arrows<'_>>::new();
    for (module, named) in modules {
        for target in named.paths.iter().flat_map(|path| targets(modules, path)) {
            let shared = module.iter().zip(target).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (module.get(shared), target.get(shared)) {
                let folder = arrows.entry(&module[..shared]).or_default();
                folder.entry(from).or_default().insert(to);
            }
        }
    }
    arrows
}

type Arrows<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// Pairs of modules each of which leads to the other.
fn circles<'a>(arrows: &Arrows<'a>) -> Vec<(&'a str, &'a str)> {
    let reached = |from: &'a str| {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(module) = open.pop() {
            let next = arrows.get(module).into_iter().flatten();
            open.extend(next.filter(|&&next| seen.insert(next)));
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        arrows.keys().map(|&module| (module, reached(module))).collect();
    let leads = |from, to| reached.get(from).is_some_and(|them| them.contains(to));
    let pairs = reached.iter().flat_map(|(&a, them)| them.iter().map(move |&b| (a, b)));
    pairs.filter(|&(a, b)| a < b && leads(b, a)).collect()
}

/// Circles of a crate, as `folder: one, other`. Files of one folder may name each other where the
/// crate is not a strict one.
fn found(folder: &str, modules: &Crate) -> Vec<String> {
    let mut found = Vec::new();
    for (parent, arrows) in arrows(modules) {
        let has_files = |name: &str| {
            let inside = [parent, &[name.to_owned()]].concat();
            modules.keys().any(|module| module.len() > inside.len() && module.starts_with(&inside))
        };
        let place = [&[folder.to_owned()], parent].concat().join("/");
        let is_free =
            |a, b| !parent.is_empty() && folder != STRICT && !has_files(a) && !has_files(b);
        let circles = circles(&arrows).into_iter().filter(|(a, b)| !is_free(a, b));
        found.extend(circles.map(|(a, b)| format!("{place}: {a}, {b}")));
    }
    found
}

#[test]
fn modules_of_a_folder_do_not_name_each_other_in_circles() {
    let mut crates: BTreeMap<String, Crate> = BTreeMap::new();
    for File { path, text } in files::all() {
        if let Some((folder, module)) = module_of(&path) {
            let named = named(&module, &text);
            let module = module.into_iter().map(ToOwned::to_owned).collect();
            crates.entry(folder.to_owned()).or_default().insert(module, named);
        }
    }
    assert!(crates.len() >= 8, "{:?}", crates.keys());
    let found: Vec<String> =
        crates.iter().flat_map(|(folder, modules)| found(folder, modules)).collect();
    assert_eq!(found, MAY);
}

#[track_caller]
fn check_circles(folder: &str, files: &[(&str, &str)], want: &[&str]) {
    let read = |&(path, text): &(&str, &str)| {
        let path = format!("{folder}/src/{path}");
        let (_, module) = module_of(&path).expect("it is a module");
        (module.iter().map(ToString::to_string).collect(), named(&module, text))
    };
    let modules = files.iter().map(read).collect();
    assert_eq!(found(folder, &modules), want, "{files:?}");
}

#[test]
fn circles_are_found() {
    let b = ("b/mod.rs", "");
    check_circles("a", &[("a.rs", "use crate::b::B;"), b], &[]);
    let c = ("b/c.rs", "fn f() { crate::a::g() }");
    check_circles("a", &[("a.rs", "use crate::b::B;"), b, c], &["a: a, b"]);
    let c = ("b/c.rs", "use super::super::a;");
    check_circles("a", &[("a.rs", "use super::{b::{A, B}};"), b, c], &["a: a, b"]);
    let c = ("b/c.rs", "use super::a; // crate::a");
    check_circles("a", &[("a.rs", "use super::b;"), b, c], &[]);
    let test = "#[cfg(test)]\nmod tests { use crate::a; }";
    check_circles("a", &[("a.rs", "use crate::b;"), ("b/mod.rs", test)], &[]);
    let root = ("lib.rs", "pub mod b;\npub use b::{C, d::{self, E}};");
    let d = ("b/d.rs", "use crate::a;");
    check_circles("a", &[root, ("a.rs", "use crate::E;"), b, d], &["a: a, b"]);
    check_circles("a", &[root, ("a.rs", "use crate::d::F;"), b, d], &["a: a, b"]);
    let (c, d) = (("c.rs", "use crate::d;"), ("d.rs", "use crate::e;"));
    let e = ("e.rs", "use crate::c;");
    check_circles("a", &[c, d, e], &["a: c, d", "a: c, e", "a: d, e"]);
    // Below the root: two files may, a file and a folder may not.
    let (c, d) = (("b/c.rs", "use super::d;"), ("b/d.rs", "use super::c;"));
    check_circles("a", &[b, c, d], &[]);
    check_circles(STRICT, &[b, c, d], &["constraint/b: c, d"]);
    check_circles("a", &[b, c, d, ("b/d/e.rs", "")], &["a/b: c, d"]);
    // A folder's own module and what is inside are no circle.
    check_circles("a", &[("b/mod.rs", "use c::C;"), ("b/c.rs", "use super::B;")], &[]);
}

#[test]
fn circles_through_what_a_folder_imports_are_found() {
    let parent = ("b/mod.rs", "use d::D;\nuse e::*;");
    let by_name = [parent, ("b/c.rs", "use super::D;"), ("b/d.rs", "use super::c;")];
    check_circles(STRICT, &by_name, &["constraint/b: c, d"]);
    let by_glob = [parent, ("b/c.rs", "use super::F;"), ("b/e.rs", "use super::c;")];
    check_circles(STRICT, &by_glob, &["constraint/b: c, e"]);
}
