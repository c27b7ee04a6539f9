//! The table of keywords in `docs/constraints.md` against the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Fields whose names stand for nothing else in the code.
const PLAIN: [&str; 13] = [
    "minimum",
    "maximum",
    "multiple_of",
    "min_length",
    "max_length",
    "min_items",
    "max_items",
    "is_unique",
    "min_properties",
    "max_properties",
    "needs",
    "dependent",
    "condition",
];

fn source(folder: &str, file: &str) -> String {
    let root = Path::new("src").join(folder);
    let text = fs::read_to_string(root.join(format!("{file}.rs")));
    let text = text.unwrap_or_else(|error| panic!("{folder}/{file}: {error}"));
    // Tests say what they like.
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn files(folder: &str) -> BTreeSet<String> {
    let root = Path::new("src").join(folder);
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.filter_map(|name| name.to_str()?.strip_suffix(".rs").map(str::to_owned));
    names.collect()
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|it| it == word)
}

fn names(cell: &str) -> BTreeSet<String> {
    cell.split(',')
        .map(|name| name.trim().trim_matches('`').to_owned())
        .filter(|it| !it.is_empty())
        .collect()
}

#[test]
fn each_keyword_means_something_where_the_table_says() {
    let docs = fs::read_to_string("../docs/constraints.md").unwrap();
    let (_, table) = docs.split_once("| keyword | field |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let mut num_rows = 0;
    for row in rows {
        num_rows += 1;
        let cells: Vec<&str> = row.split('|').skip(1).collect();
        let field = cells[1].trim().trim_matches('`');
        for (folder, cell) in [("json_schema/grammar", cells[2]), ("guard", cells[3])] {
            let named = names(cell);
            for file in &named {
                assert!(has_word(&source(folder, file), field), "{folder}/{file}: no {field}");
            }
            if !PLAIN.contains(&field) {
                continue;
            }
            for file in files(folder).difference(&named) {
                // Opinions are of all keywords, and what is preferred of some.
                if folder == "guard" && ["verdict", "facts"].contains(&file.as_str()) {
                    continue;
                }
                let is_there = has_word(&source(folder, file), field);
                assert!(!is_there, "{folder}/{file}: {field} is not in the table");
            }
        }
    }
    assert_eq!(num_rows, 31);
}
