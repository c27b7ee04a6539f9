//! Reads with a limit: input may be too long to use, and input that is not a plain file may never
//! end.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Reads all of `source`; `None` if it has more than `max_bytes`.
pub(crate) fn read(source: impl Read, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    source.take(max_bytes + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= max_bytes))
}

/// Reads a file; `None` if it has more than `max_bytes`.
pub(crate) fn read_file(path: impl AsRef<Path>, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    read(File::open(path)?, max_bytes)
}

/// As [`read_file`], for text.
pub(crate) fn read_text(path: impl AsRef<Path>, max_bytes: u64) -> io::Result<Option<String>> {
    let no_text =
        |_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
    read_file(path, max_bytes)?.map(String::from_utf8).transpose().map_err(no_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_may_be() {
        assert_eq!(read(&b"four"[..], 4).unwrap().as_deref(), Some(&b"four"[..]));
        assert_eq!(read(&b"fours"[..], 4).unwrap(), None);
        assert_eq!(read(io::repeat(0), 4).unwrap(), None);
    }

    #[test]
    fn what_is_no_text_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"a\xff").unwrap();
        assert_eq!(read_file(file.path(), 2).unwrap().as_deref(), Some(&b"a\xff"[..]));
        assert_eq!(read_text(file.path(), 2).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_text(file.path(), 1).unwrap(), None);
    }
}
