//! File names of split models: `name-00001-of-00003.gguf`.

use std::path::{Path, PathBuf};

/// The parsed file name of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardName {
    /// The part before the number, equal for all shards.
    pub stem: String,
    /// From 1.
    pub number: usize,
    pub count: usize,
    extension: String,
}

impl ShardName {
    /// Parses a file name without its directory; `None` if it is not a shard's.
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, extension) = name.rsplit_once('.')?;
        let (rest, count) = rest.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| -> Option<usize> {
            let is_number = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| is_number)
        };
        let (number, count) = (digits(number)?, digits(count)?);
        let is_one_of_them =
            extension.eq_ignore_ascii_case("gguf") && (1..=count).contains(&number);
        is_one_of_them.then(|| Self {
            stem: stem.to_owned(),
            number,
            count,
            extension: extension.to_owned(),
        })
    }

    /// Returns the name of another shard, counted from 1.
    pub fn sibling(&self, number: usize) -> String {
        let Self { stem, count, extension, .. } = self;
        format!("{stem}-{number:05}-of-{count:05}.{extension}")
    }

    /// Returns the paths of all shards in order, in the directory of `path`.
    pub fn paths(&self, path: &Path) -> Vec<PathBuf> {
        (1..=self.count).map(|number| path.with_file_name(self.sibling(number))).collect()
    }
}
