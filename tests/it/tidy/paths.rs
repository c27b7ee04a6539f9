//! The paths of modules that a file's code names.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Attribute, Expr, Item, Macro, Token, UseTree, punctuated::Punctuated, visit};

/// Modules from the crate's root on, and perhaps an item of the last one.
pub(super) type Path = Vec<String>;

/// What the code of a module names outside of its tests. A path into another crate looks like one
/// below the module itself, and leads to no module there.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) paths: BTreeSet<Path>,
    /// Names that this module imports, and what they stand for. The modules inside may use them as
    /// if they were the module's own; where the import is public, all may.
    pub(super) imports: BTreeMap<String, Path>,
    /// Modules all of whose names this one imports.
    pub(super) globs: BTreeSet<Path>,
    module: Path,
}

/// Reads what the code of `module` names.
pub(super) fn named(module: &[&str], text: &str) -> Named {
    let file = syn::parse_file(text).expect("a file of the project is Rust");
    let module = module.iter().map(|&name| name.to_owned()).collect();
    let mut named = Named { module, ..Named::default() };
    visit::visit_file(&mut named, &file);
    named
}

impl<'a> visit::Visit<'a> for Named {
    fn visit_item(&mut self, item: &'a Item) {
        match item {
            Item::Mod(module) if is_test(&module.attrs) => {}
            Item::Mod(module) => {
                self.module.push(module.ident.to_string());
                visit::visit_item_mod(self, module);
                self.module.pop();
            }
            Item::Use(tree) if is_test(&tree.attrs) => {}
            Item::Use(tree) => {
                self.tree(Path::new(), &tree.tree);
            }
            item => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Path = path.segments.iter().map(|it| it.ident.to_string()).collect();
        if names.len() > 1 && ["crate", "super", "self"].contains(&&*names[0]) {
            self.paths.insert(self.absolute(&names));
        }
        visit::visit_path(self, path);
    }

    /// Reads what a macro is given as far as it is a list of expressions, as most are.
    fn visit_macro(&mut self, called: &'a Macro) {
        visit::visit_macro(self, called);
        let list = called.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
        for expression in list.iter().flatten() {
            // The expressions do not live as long as the file.
            let mut inside = Self { module: self.module.clone(), ..Self::default() };
            visit::visit_expr(&mut inside, expression);
            self.paths.append(&mut inside.paths);
        }
    }
}

impl Named {
    fn tree(&mut self, mut prefix: Path, tree: &UseTree) {
        let (last, name) = match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                return self.tree(prefix, &path.tree);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|it| self.tree(prefix.clone(), it));
            }
            UseTree::Name(name) => (Some(&name.ident), Some(&name.ident)),
            UseTree::Rename(renamed) => (Some(&renamed.ident), Some(&renamed.rename)),
            UseTree::Glob(_) => (None, None),
        };
        let is_itself = last.is_some_and(|last| last == "self");
        prefix.extend(last.filter(|_| !is_itself).map(ToString::to_string));
        let path = self.absolute(&prefix);
        match name {
            None => drop(self.globs.insert(path.clone())),
            Some(name) => {
                let name = if is_itself { path.last().cloned() } else { Some(name.to_string()) };
                self.imports.extend(name.map(|name| (name, path.clone())));
            }
        }
        self.paths.insert(path);
    }

    fn absolute(&self, path: &[String]) -> Path {
        let mut absolute = self.module.clone();
        for name in path {
            match &**name {
                "crate" => absolute.clear(),
                "super" => drop(absolute.pop()),
                "self" => {}
                name => absolute.push(name.to_owned()),
            }
        }
        absolute
    }
}

/// Whether an item is there for tests alone.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let inside = attribute.path().is_ident("cfg").then(|| attribute.parse_args::<syn::Path>());
        inside.is_some_and(|it| it.is_ok_and(|it| it.is_ident("test")))
    })
}

#[test]
fn what_code_names_is_read() {
    #[track_caller]
    fn check(text: &str, want: &[&str]) {
        let named = named(&["a", "b"], text);
        let found: Vec<String> = named.paths.iter().map(|path| path.join("::")).collect();
        assert_eq!(found, want, "{text}");
    }
    check("use crate::c::{self, d::D as E, f::*};", &["c", "c::d::D", "c::f"]);
    check("use super::{c, super::d};", &["a::c", "d"]);
    check("use e::f;", &["a::b::e::f"]);
    check(
        "fn f(x: &super::X) -> Vec<crate::Y> { self::g::<crate::z::Z>(x) }",
        &["Y", "a::X", "a::b::g", "z::Z"],
    );
    check(
        "fn f() { assert_eq!(super::c(), crate::d(), \"crate::e\") } // crate::f",
        &["a::c", "d"],
    );
    check("mod c { use super::d; }\n#[cfg(test)]\nmod tests { use crate::e; }", &["a::b::d"]);
    check("#[cfg(unix)]\nmod c { use super::d; }", &["a::b::d"]);
}

#[test]
fn what_has_another_name_is_read() {
    let text = "use a::b;\npub(crate) use c::{D, E as F, g::{self}};\npub use h::*;";
    let named = named(&["m"], text);
    let found: Vec<String> =
        named.imports.iter().map(|(name, path)| format!("{name} {}", path.join("::"))).collect();
    assert_eq!(found, ["D m::c::D", "F m::c::E", "b m::a::b", "g m::c::g"]);
    assert!(named.globs.iter().eq([&["m", "h"]]), "{:?}", named.globs);
}
