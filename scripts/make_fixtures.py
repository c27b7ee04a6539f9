#!/usr/bin/env python3
"""Makes the fixtures under tests/fixtures; the README there says how and with which versions.

    python3 scripts/make_fixtures.py logits
    python3 scripts/make_fixtures.py sampling
    python3 scripts/make_fixtures.py tokenizers --smollm2 FILE.gguf --gemma3 FILE.gguf
    python3 scripts/make_fixtures.py tekken
"""

import argparse
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["logits", "sampling", "tokenizers", "tekken"])
    parser.add_argument("--smollm2", type=pathlib.Path, help="GGUF file with that tokenizer")
    parser.add_argument("--gemma3", type=pathlib.Path, help="GGUF file with that tokenizer")
    parser.add_argument("--out", type=pathlib.Path, default=FOLDER)
    arguments = parser.parse_args()
    # Each kind needs other packages, so that each module is loaded only where it is used.
    if arguments.kind == "logits":
        import fixture_logits

        fixture_logits.main(arguments.out)
    elif arguments.kind == "sampling":
        import fixture_sampling

        fixture_sampling.main(arguments.out)
    elif arguments.kind == "tekken":
        import fixture_tekken

        fixture_tekken.main(arguments.out)
    else:
        if arguments.smollm2 is None or arguments.gemma3 is None:
            parser.error("tokenizers: --smollm2 and --gemma3 are wanted")
        import fixture_tokenizers

        fixture_tokenizers.main(arguments.out, arguments.smollm2, arguments.gemma3)


if __name__ == "__main__":
    main()
