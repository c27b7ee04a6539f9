"""Decoding with transformers, a static cache and torch.compile: the yardstick beside `sluicegate bench`.

The model has random weights of the shapes in a config.json. Prints one JSON object a line, for each
number of sequences.
"""

import argparse
import json
import time

import torch
import transformers


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--output-tokens", type=int, default=128)
    parser.add_argument("--device", default="cuda")
    return parser.parse_args()


def load(path, device):
    with open(path, encoding="utf-8") as file:
        fields = json.load(file)
    config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device(device):
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()


def generate(model, prompts, output_tokens):
    """Seconds for all prompts together, and the seconds of them until the first token."""

    def run(tokens):
        wait(model.device)
        began = time.perf_counter()
        model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            cache_implementation="static",
        )
        wait(model.device)
        return time.perf_counter() - began

    return run(output_tokens), run(1)


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main():
    args = parse()
    model = load(args.config, args.device)
    for sequences in args.sequences:
        shape = (sequences, args.prompt_tokens)
        prompts = torch.randint(3, 256, shape, device=args.device)
        # The first two runs compile and record.
        runs = [generate(model, prompts, args.output_tokens) for _ in range(4)][2:]
        total, first = min(runs)
        row = {
            "sequences": sequences,
            "tokens_per_s": sequences * args.output_tokens / total,
            "decode_tokens_per_s": sequences * (args.output_tokens - 1) / (total - first),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
