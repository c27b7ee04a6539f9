"""Makes tests/fixtures/tokenizers/tekken.json: token ids of Mistral's own tokenizer.

The ids are mistral-common's, from the vocabulary that its package carries. That software merges with
tiktoken, which shares nothing with ours.
"""

import pathlib

import mistral_common
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from fixture_file import write_fixture
from fixture_texts import TEXTS

FILE = pathlib.Path(mistral_common.__file__).parent / "data" / "tekken_240911.json"


def main(folder):
    tokenizer = Tekkenizer.from_file(FILE)
    entries = []
    for text in TEXTS:
        ids = tokenizer.encode(text, bos=False, eos=False)
        assert tokenizer.decode(ids) == text, text
        entries.append({"text": text, "ids": ids})
    write_fixture(folder / "tokenizers" / "tekken.json", entries)
    print(f"tekken: {len(entries)} texts")
