//! Chooses the files of a repository or directory that make up the model.

use std::path::Path;

use sluicegate_spec::gguf::ShardName;

use super::HubModel;
use crate::error::SourceError;

pub(super) const CONFIG: &str = "config.json";
pub(super) const INDEX: &str = "model.safetensors.index.json";
pub(super) const SINGLE: &str = "model.safetensors";
/// Fetched in addition to the weights, if the repository has them.
const SMALL_FILES: [&str; 5] = [
    CONFIG,
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// The files that make up a model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// A single file, or all shards in order.
    Gguf(Vec<String>),
    /// `weights` is the single file, or the index of several.
    SafeTensors { small: Vec<String>, weights: String },
}

impl Weights {
    /// Chooses among the files of a repository. Only GGUF files may be in folders.
    ///
    /// # Errors
    /// [`SourceError`] with the files found, if they make up no model or several.
    pub(super) fn choose(model: &HubModel, files: &[String]) -> Result<Self, SourceError> {
        let repository = &model.repository;
        let mut ggufs = gguf_models(files);
        if let Some(wanted) = &model.quantisation {
            let names = listed(&ggufs);
            ggufs.retain(|files| is_called(&files[0], wanted));
            return match ggufs.pop() {
                Some(files) if ggufs.is_empty() => Ok(Self::Gguf(files)),
                other => Err(SourceError::Quantisation {
                    repository: repository.clone(),
                    wanted: wanted.clone(),
                    found: ggufs.len() + usize::from(other.is_some()),
                    files: names,
                }),
            };
        }
        let has = |name: &str| files.iter().any(|file| file == name);
        let is_tensors = |file: &&String| {
            let end = Path::new(file).extension();
            !file.contains('/') && end.is_some_and(|end| end == "safetensors")
        };
        let tensors: Vec<&String> = files.iter().filter(is_tensors).collect();
        let weights = match tensors.as_slice() {
            _ if has(INDEX) => Some(INDEX),
            _ if has(SINGLE) => Some(SINGLE),
            [only] => Some(only.as_str()),
            _ => None,
        };
        if let Some(weights) = weights.filter(|_| has(CONFIG)) {
            let small = SMALL_FILES.into_iter().filter(|name| has(name)).map(str::to_owned);
            return Ok(Self::SafeTensors { small: small.collect(), weights: weights.to_owned() });
        }
        match ggufs.pop() {
            Some(files) if ggufs.is_empty() && tensors.is_empty() => Ok(Self::Gguf(files)),
            Some(last) if tensors.is_empty() => {
                ggufs.push(last);
                let files = listed(&ggufs);
                Err(SourceError::SeveralGgufs { repository: repository.clone(), files })
            }
            other => {
                let (tensors, ggufs) = (tensors.len(), ggufs.len() + usize::from(other.is_some()));
                let config = if has(CONFIG) { "a" } else { "no" };
                let found = format!(
                    "{config} {CONFIG}, {tensors} .safetensors files without an index and \
                     {ggufs} GGUF models"
                );
                Err(SourceError::NoWeights { repository: repository.clone(), found })
            }
        }
    }
}

/// Returns the GGUF models among files, sorted by name: for each its file, or all its shards.
pub(super) fn gguf_models(files: &[String]) -> Vec<Vec<String>> {
    let mut models: Vec<Vec<String>> = files.iter().filter_map(|file| gguf_model(file)).collect();
    models.sort();
    models.dedup();
    models
}

/// Returns the files of the model to which a file belongs.
fn gguf_model(file: &str) -> Option<Vec<String>> {
    let (folder, name) = split_folder(file);
    let is_gguf = Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    // The vision part of a model, which is not a model by itself.
    if !is_gguf || name.to_ascii_lowercase().starts_with("mmproj") {
        return None;
    }
    let Some(shard) = ShardName::parse(name) else { return Some(vec![file.to_owned()]) };
    Some((1..=shard.count).map(|number| format!("{folder}{}", shard.sibling(number))).collect())
}

/// Splits a path into the folder, with its trailing slash, and the name.
fn split_folder(file: &str) -> (&str, &str) {
    file.split_at(file.rfind('/').map_or(0, |slash| slash + 1))
}

/// Lists the first files of models, for messages.
pub(super) fn listed(models: &[Vec<String>]) -> String {
    let names: Vec<&str> =
        models.iter().filter_map(|files| files.first()).map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Returns whether a file is the wanted one: by its name, or by a quantisation in its name as a
/// whole word.
fn is_called(file: &str, wanted: &str) -> bool {
    let name = split_folder(file).1.to_ascii_lowercase();
    let wanted = wanted.to_ascii_lowercase();
    let stem = name.strip_suffix(".gguf").unwrap_or(&name);
    if wanted == name || wanted == stem {
        return true;
    }
    // Q4_K must not match Q4_K_M, nor F16 match BF16.
    let goes_on = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let is_within = |text: &str| text.ends_with(|c: char| c.is_ascii_alphanumeric());
    let mut places = stem.match_indices(&wanted);
    places.any(|(at, _)| !is_within(&stem[..at]) && !goes_on(&stem[at + wanted.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Vec<String> {
        files.iter().map(|file| (*file).to_owned()).collect()
    }

    const FILES: [&str; 9] = [
        "README.md",
        "config.json",
        "mmproj-model-f16.gguf",
        "big/model-Q8_0-00002-of-00002.gguf",
        "big/model-Q8_0-00001-of-00002.gguf",
        "model-BF16.gguf",
        "model-IQ4_XS.gguf",
        "model-Q4_K.gguf",
        "model.q4_k_m.gguf",
    ];

    #[track_caller]
    fn check(wanted: &str, found: &[&str]) {
        let model = HubModel::parse(&format!("some/model:{wanted}")).unwrap();
        let chosen = Weights::choose(&model, &names(&FILES));
        assert_eq!(chosen.ok(), (!found.is_empty()).then(|| Weights::Gguf(names(found))));
    }

    #[test]
    fn a_quantisation_chooses_one_of_several_files() {
        check("Q4_K_M", &["model.q4_k_m.gguf"]);
        check("q4_k", &["model-Q4_K.gguf"]);
        check("bf16", &["model-BF16.gguf"]);
        check("model-BF16.gguf", &["model-BF16.gguf"]);
        check(
            "Q8_0",
            &["big/model-Q8_0-00001-of-00002.gguf", "big/model-Q8_0-00002-of-00002.gguf"],
        );
        for none in ["F16", "Q4", "Q4_XS", "Q5_K_M"] {
            check(none, &[]);
        }
        check("model", &[]);
    }

    #[test]
    fn several_files_without_a_choice_are_listed() {
        let choose = |name: &str, files: &[&str]| {
            Weights::choose(&HubModel::parse(name).unwrap(), &names(files)).unwrap_err().to_string()
        };
        let error = choose("some/model", &FILES);
        for part in ["some/model:Q4_K_M", "model-BF16.gguf", "big/model-Q8_0-00001-of-00002.gguf"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("00002-of-") && !error.contains("mmproj"), "{error}");
        let error = choose("some/model:Q3", &FILES);
        assert!(error.contains("`Q3` names 0 of") && error.contains("model-Q4_K.gguf"), "{error}");
        let error = choose("some/model:Q3", &["model.safetensors"]);
        assert!(error.contains("none"), "{error}");
    }
}
