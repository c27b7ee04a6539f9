//! Arrows between the folders of one crate.

use super::{check, code::code, hold, is_test, lines_with};

/// Modules, the folder whose files may not name them, and who may all the same.
const KNOWN_TO: [(&str, &str, &[&str]); 1] = [(
    "notations",
    "constraint/src/",
    &["constraint/src/notations/", "constraint/src/compile.rs", "constraint/src/lib.rs"],
)];

fn wrong_imports(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (module, folder, users) in KNOWN_TO {
        let may = users.iter().any(|user| path.starts_with(user));
        if path.starts_with(folder) && !may && !is_test(path) {
            let why = "is known to fewer files than this one";
            complaints.extend(lines_with(path, &code(text), &[module], why));
        }
    }
    complaints
}

#[test]
fn notations_are_known_to_the_compiler_alone() {
    hold(wrong_imports);
}

#[test]
fn wrong_imports_are_found() {
    let (path, text) = ("constraint/src/guard/mod.rs", "use crate::notations::lark;");
    let want = "constraint/src/guard/mod.rs:1: `notations` is known to fewer files than this one";
    check(wrong_imports, path, text, &[want]);
    check(wrong_imports, path, "// Other notations.", &[]);
    check(wrong_imports, "constraint/src/compile.rs", text, &[]);
    check(wrong_imports, "constraint/src/notations/lark/mod.rs", text, &[]);
    check(wrong_imports, "runtime/src/lib.rs", text, &[]);
}
