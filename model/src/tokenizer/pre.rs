//! How byte-level vocabularies split text before merging, by the names in GGUF files.
//!
//! A wrong split gives wrong tokens without any error, so an unknown name is refused. Source: the
//! `tokenizer.json` files of the models named, and `llm_tokenizer_bpe` of llama.cpp.

use tokenizers::{
    NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior,
    normalizers::NFC,
    pre_tokenizers::{
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

/// How one family of vocabularies splits text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pre {
    cut: Cut,
    /// Whether text is first converted to normal form C.
    nfc: bool,
    /// Whether a word that is a token is used without merging.
    pub(super) ignore_merges: bool,
    /// Whether a text begins with the begin token if the file does not state it.
    pub(super) add_bos: bool,
}

#[derive(Debug, Clone, Copy)]
enum Cut {
    /// GPT-2's own expression.
    Gpt2,
    /// Digits one by one, then GPT-2's expression.
    Digits,
    /// Expressions applied one after the other.
    Expressions(&'static [&'static str]),
}

const GPT2: Pre = Pre { cut: Cut::Gpt2, nfc: false, ignore_merges: false, add_bos: false };
const LLAMA3: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| \
     ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const QWEN2: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| \
     ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const TEKKEN: &str = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\
     \\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\
     \\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const GPT_4O: &str = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\
     \\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\
     \\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| \
     ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const DEFAULT: &[&str] = &[
    "[\\p{P}\\$\\+<=>\\^~\\|]+",
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
    "\\p{N}+",
    "[0-9][0-9][0-9]",
];

/// The names and how each splits text.
const TABLE: &[(&str, Pre)] = &[
    ("default", Pre { cut: Cut::Expressions(DEFAULT), ..GPT2 }),
    ("gpt-2", GPT2),
    ("smollm", Pre { cut: Cut::Digits, ..GPT2 }),
    ("starcoder", Pre { cut: Cut::Digits, ..GPT2 }),
    ("llama-bpe", LLAMA_BPE),
    ("llama3", LLAMA_BPE),
    ("llama-v3", LLAMA_BPE),
    // Phi 4.
    ("dbrx", Pre { cut: Cut::Expressions(&[LLAMA3]), ..GPT2 }),
    // The smallest Phi 4, among others. llama.cpp treats combining marks and capitals beyond ASCII
    // differently; this is the expression of the models themselves.
    ("gpt-4o", Pre { cut: Cut::Expressions(&[GPT_4O]), ..GPT2 }),
    ("qwen2", QWEN),
    ("deepseek-r1-qwen", Pre { nfc: false, add_bos: true, ..QWEN }),
    (
        "tekken",
        Pre { cut: Cut::Expressions(&[TEKKEN]), ignore_merges: true, add_bos: true, ..GPT2 },
    ),
];
const LLAMA_BPE: Pre =
    Pre { cut: Cut::Expressions(&[LLAMA3]), ignore_merges: true, add_bos: true, ..GPT2 };
const QWEN: Pre = Pre { cut: Cut::Expressions(&[QWEN2]), nfc: true, ..GPT2 };

impl Pre {
    pub(super) fn by_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|(known, _)| *known == name).map(|(_, pre)| *pre)
    }

    /// Returns the names, for messages.
    pub(super) fn supported() -> String {
        let names: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    pub(super) fn normalizer(self) -> Option<NormalizerWrapper> {
        self.nfc.then_some(NormalizerWrapper::NFC(NFC))
    }

    /// # Errors
    /// The expression engine's, for an expression of the table.
    pub(super) fn pre_tokenizer(self) -> tokenizers::Result<PreTokenizerWrapper> {
        let to_bytes = |use_regex| ByteLevel::new(false, true, use_regex).into();
        let steps: Vec<PreTokenizerWrapper> = match self.cut {
            Cut::Gpt2 => return Ok(to_bytes(true)),
            Cut::Digits => vec![Digits::new(true).into(), to_bytes(true)],
            Cut::Expressions(expressions) => {
                let mut steps = Vec::new();
                for expression in expressions {
                    let pattern = SplitPattern::Regex((*expression).to_owned());
                    steps
                        .push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false)?.into());
                }
                steps.push(to_bytes(false));
                steps
            }
        };
        Ok(Sequence::new(steps).into())
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;

    #[test]
    fn words_and_digits_are_cut_as_the_names_say() {
        #[track_caller]
        fn check(name: &str, text: &str, wanted: &[&str]) {
            let cut = Pre::by_name(name).unwrap().pre_tokenizer().unwrap();
            let mut pieces = PreTokenizedString::from(text);
            cut.pre_tokenize(&mut pieces).unwrap();
            let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
            let found: Vec<&str> =
                splits.into_iter().map(|(_, (start, end), _)| &text[start..end]).collect();
            assert_eq!(found, wanted, "{name}");
        }
        let text = "It's HTMLParser's  ab12345/\nx";
        check(
            "dbrx",
            text,
            &["It", "'s", " HTMLParser", "'s", " ", " ab", "123", "45", "/\n", "x"],
        );
        check("gpt-4o", text, &["It's", " HTMLParser's", " ", " ab", "123", "45", "/\n", "x"]);
        // Capitals in a word begin another.
        check("gpt-4o", "aBcD e/\n/x", &["a", "Bc", "D", " e", "/\n/", "x"]);
        check("dbrx", "aBcD e/\n/x", &["aBcD", " e", "/\n", "/x"]);
    }
}
