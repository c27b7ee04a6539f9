//! How byte-level vocabularies cut text before merging, by the names that GGUF files give.
//!
//! A wrong cut gives wrong tokens without any error, so an unknown name is refused.
//! Source: the `tokenizer.json` files of the models named, and `llm_tokenizer_bpe` of llama.cpp.

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

/// How one family of vocabularies cuts text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pre {
    cut: Cut,
    /// Whether text is brought into normal form C first.
    nfc: bool,
    /// Whether a word that is a token itself is taken as it is, without merging.
    pub(super) ignore_merges: bool,
    /// Whether a text begins with the begin token where the file does not say.
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
const DEFAULT: &[&str] = &[
    "[\\p{P}\\$\\+<=>\\^~\\|]+",
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
    "\\p{N}+",
    "[0-9][0-9][0-9]",
];

/// Each name and how it cuts.
const TABLE: &[(&str, Pre)] = &[
    ("default", Pre { cut: Cut::Expressions(DEFAULT), ..GPT2 }),
    ("gpt-2", GPT2),
    ("smollm", Pre { cut: Cut::Digits, ..GPT2 }),
    ("starcoder", Pre { cut: Cut::Digits, ..GPT2 }),
    ("llama-bpe", LLAMA_BPE),
    ("llama3", LLAMA_BPE),
    ("llama-v3", LLAMA_BPE),
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

    /// The names, for messages.
    pub(super) fn supported() -> String {
        let names: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    pub(super) fn normalizer(self) -> Option<NormalizerWrapper> {
        self.nfc.then_some(NormalizerWrapper::NFC(NFC))
    }

    /// # Errors
    /// What the expression engine says about an expression of the table.
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
