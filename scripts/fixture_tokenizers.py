"""Makes tests/fixtures/tokenizers: token ids of strings that tokenizers often get wrong.

Owns the strings. The ids are llama.cpp's, which reads tokenizers from GGUF files itself; each is
compared with a second tokenizer, built from the same file by other software.
"""

import json
import urllib.request

import gguf
import sentencepiece
import tokenizers
import xllamacpp
from sentencepiece import sentencepiece_model_pb2

from fixture_file import write_fixture

TEXTS = [
    "",
    " ",
    "  ",
    "   leading and trailing   ",
    "Hello world",
    " Hello world",
    "Hello  world,   again",
    "0",
    "1234567890",
    "In 2024, 3.14159 is about 22/7; +49 (0)30 1234-5678.",
    "１２３ ٣٤٥ ½ x² Ⅷ",
    "\n",
    "\n\n\n",
    "one\ntwo\r\nthree\n\n  four",
    "\t",
    "\tindented\t\ttwice",
    " \t \n \t ",
    "def f(x):\n    if x > 0:\n\treturn x ** 2  # square\n    return None\n",
    "for (int i = 0; i < 10; ++i) { a[i] += b->c; }",
    '{"name": "Ada", "age": 36, "tags": ["x", "y\\n"], "ok": true}',
    "https://example.org/a-b_c?d=e%20f&g=h#i",
    "don't I'll we've she'd they're it's DON'T I'M",
    "Crème brûlée, naïve façade, Ångström",
    "e\u0301 versus \u00e9",
    "Straße, Ελληνικά, Привет мир",
    "你好，世界。今天是2024年5月1日。",
    "こんにちは世界、カタカナとｶﾀｶﾅ",
    "안녕하세요 세계",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "🙂",
    "👩‍👩‍👧‍👦 family",
    "👍🏽 🇩🇪 ❤️ 1️⃣",
    "a\u200bb\ufeffc\u00a0d\u3000e",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🜁 \U0010ffff",
    "<|im_start|>user\nHi<|im_end|>",
    "<start_of_turn>user\nHi<end_of_turn>\n<bos>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "CamelCaseAndSNAKE_case and-kebab ... --- === !!??",
    "▁lower one eighth block and Ġ",
    "a\x00b\x07c\x7f",
]

# What GGUF's `tokenizer.ggml.token_type` calls a token.
UNKNOWN, USER_DEFINED = 2, 4


class Reference:
    """Asks llama.cpp for token ids, over the loopback server of its Python binding."""

    def __init__(self, path):
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx = 64
        parameters.warmup = False
        parameters.cpuparams.n_threads = 1
        parameters.port = 0
        self.server = xllamacpp.Server(parameters)

    def encode(self, text, parse_special):
        body = {"content": text, "add_special": False, "parse_special": parse_special}
        request = urllib.request.Request(
            self.server.listening_address + "/tokenize",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request) as response:
            return json.load(response)["tokens"]


def fields(path):
    reader = gguf.GGUFReader(path)
    return {
        name: reader.fields[f"tokenizer.ggml.{name}"].contents()
        for name in ("tokens", "scores", "merges", "token_type", "unknown_token_id", "pre")
        if f"tokenizer.ggml.{name}" in reader.fields
    }


def second_smollm2(path):
    """Rebuilds the byte-level BPE tokenizer; `smollm` splits every digit off."""
    parts = fields(path)
    assert parts["pre"] == "smollm", parts["pre"]
    vocabulary = {token: token_id for token_id, token in enumerate(parts["tokens"])}
    merges = [tuple(merge.split(" ")) for merge in parts["merges"]]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def second_gemma3(path):
    """Rebuilds the SentencePiece model: pieces, scores and types are the file's own."""
    parts = fields(path)
    model = sentencepiece_model_pb2.ModelProto()
    model.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(parts["tokens"])
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    entries = zip(parts["tokens"], parts["scores"], parts["token_type"], strict=True)
    for token_id, (token, score, kind) in enumerate(entries):
        if token_id == parts["unknown_token_id"]:
            kind = UNKNOWN
        elif kind == USER_DEFINED:
            # The converter to GGUF wrote runs of spaces as such, where the model has the symbol.
            token = token.replace(" ", "\u2581")
        model.pieces.add(piece=token, score=score, type=kind)
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())
    return lambda text: processor.encode(text)


def make(path, second):
    """Tokenises every text; a text on which the two tokenizers differ is an error."""
    reference = Reference(path)
    entries = []
    for text in TEXTS:
        entry = {"text": text, "ids": reference.encode(text, parse_special=False)}
        with_special = reference.encode(text, parse_special=True)
        if with_special != entry["ids"]:
            entry["ids_with_special"] = with_special
        found = second(text)
        assert found == entry["ids"], (text, entry["ids"], found)
        entries.append(entry)
    return entries


def main(folder, smollm2, gemma3):
    for name, path, second in (
        ("smollm2", smollm2, second_smollm2(smollm2)),
        ("gemma3", gemma3, second_gemma3(gemma3)),
    ):
        entries = make(path, second)
        write_fixture(folder / "tokenizers" / f"{name}.json", entries)
        print(f"{name}: {len(entries)} texts")
