"""Makes tests/fixtures/tokenizers: token ids of strings that tokenizers often get wrong.

The ids are llama.cpp's, which reads tokenizers from GGUF files itself; each is
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
from fixture_texts import TEXTS

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
