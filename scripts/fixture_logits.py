"""Makes tests/fixtures/logits: what transformers computes for tiny seeded models.

Owns the weight formula, the list of models and the checks that a fixture must pass before it is
written. Weights are never stored: whoever reads a fixture makes them again from name and seed.
"""

import copy
import json
import math
import pathlib
import tempfile

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from fixture_file import write_fixture

NUM_TOKENS = 24
NUM_KEPT_POSITIONS = 4
NUM_DECODE_STEPS = 8
NUM_SEEDS = 32
WINDOW = 8
# Largest difference between two ways to compute the same logits, over the largest logit.
SAME = 1e-5
# Least distance between best and second-best logit, over the largest logit: below it, rounding
# in another implementation could change which token is greedy.
CLEAR = 2e-3
# Least difference that an ablation must make, over the largest logit.
DIFFERENT = 2e-2

GOLDEN = 0x9E3779B97F4A7C15
MASK_64 = (1 << 64) - 1


def fnv1a64(data):
    """Hashes bytes. Source: Fowler, Noll and Vo, FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & MASK_64
    return value


def uniform(name, seed, count):
    """Yields `count` numbers in [-1, 1) that depend on the tensor's name and the seed only.

    Source: Steele, Lea and Flood, SplitMix64.
    """
    start = fnv1a64(name.encode()) ^ ((seed * GOLDEN) & MASK_64)
    with np.errstate(over="ignore"):
        x = np.uint64(start) + np.arange(count, dtype=np.uint64) + np.uint64(GOLDEN)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float64) / 2.0**24 * 2.0 - 1.0


def weight(name, shape, seed, architecture):
    """Makes one tensor, row-major, computed in f64 and rounded to f32."""
    values = uniform(name, seed, math.prod(shape))
    if name.endswith(".bias"):
        values = 0.1 * values
    elif name.endswith("norm.weight"):
        # Gemma stores the distance from one.
        is_gemma = architecture in ("gemma2", "gemma3_text")
        values = 0.1 * values if is_gemma else 1.0 + 0.1 * values
    elif name != "model.embed_tokens.weight":
        assert len(shape) == 2, (name, shape)
        values = values * math.sqrt(3.0 / shape[-1])
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def config_json(architecture, model_type, **fields):
    """Builds a `config.json` with the field names that repositories on the hub use."""
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 7,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float32",
    } | fields


def llama(**fields):
    return config_json("LlamaForCausalLM", "llama", hidden_act="silu", **fields)


def mistral(**fields):
    fields = {"sliding_window": WINDOW} | fields
    return config_json("MistralForCausalLM", "mistral", hidden_act="silu", **fields)


def qwen2(**fields):
    fields = {
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "sliding_window": WINDOW,
        "max_window_layers": 3,
    } | fields
    return config_json("Qwen2ForCausalLM", "qwen2", hidden_act="silu", **fields)


def qwen3():
    return config_json(
        "Qwen3ForCausalLM",
        "qwen3",
        hidden_act="silu",
        head_dim=16,
        rms_norm_eps=1e-6,
        attention_bias=False,
        use_sliding_window=False,
        sliding_window=None,
        max_window_layers=7,
    )


def gemma2():
    # Caps so low that they show.
    return config_json(
        "Gemma2ForCausalLM",
        "gemma2",
        head_dim=16,
        query_pre_attn_scalar=24,
        rms_norm_eps=1e-6,
        sliding_window=WINDOW,
        hidden_activation="gelu_pytorch_tanh",
        attn_logit_softcapping=2.0,
        final_logit_softcapping=20.0,
        tie_word_embeddings=True,
    )


def phi3(**fields):
    # The class' own padding token lies beyond so small a vocabulary.
    fields = {"pad_token_id": 0, "sliding_window": None} | fields
    return config_json("Phi3ForCausalLM", "phi3", hidden_act="silu", **fields)


def gemma3(**fields):
    fields = {
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "sliding_window": WINDOW,
        "sliding_window_pattern": 3,
        "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
    } | fields
    return config_json("Gemma3ForCausalLM", "gemma3_text", **fields)


LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# The older name of the field, which repositories on the hub still use.
LINEAR_ROPE = {"type": "linear", "factor": 4.0}
# The larger Gemma 3 models have this; it holds for the layers without a window only.
GEMMA3_ROPE = {"rope_type": "linear", "factor": 8.0}

# Divisors that differ from pair to pair and from each other.
LONGROPE = {
    "type": "longrope",
    "short_factor": [1.0, 1.1, 1.3, 1.6, 2.0, 2.5, 3.0, 3.5],
    "long_factor": [1.0, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0, 18.0],
}
# For the six pairs of a head of 16 of which 12 are turned.
PARTIAL_LONGROPE = {
    "type": "longrope",
    "short_factor": LONGROPE["short_factor"][:6],
    "long_factor": LONGROPE["long_factor"][:6],
}

# Name, configuration, layers with a window, and the ablations: fields which, changed, must change
# the logits. They show that the fixture would notice a reader that ignores the field.
MODELS = [
    ("llama", llama(), [], [{"rope_theta": 500.0}]),
    ("llama_tied", llama(tie_word_embeddings=True), [], [{"tie_word_embeddings": False}]),
    (
        "llama_rope_llama3",
        llama(rope_scaling=LLAMA3_ROPE),
        [],
        [{"rope_scaling": None}, {"rope_scaling": LINEAR_ROPE | {"factor": 8.0}}]
        + [{"rope_scaling": LLAMA3_ROPE | {"high_freq_factor": 2.0}}],
    ),
    (
        "llama_rope_linear",
        llama(rope_scaling=LINEAR_ROPE),
        [],
        [{"rope_scaling": None}, {"rope_scaling": LINEAR_ROPE | {"factor": 2.0}}],
    ),
    (
        "mistral_window",
        mistral(),
        range(7),
        [{"sliding_window": None}, {"sliding_window": 7}, {"sliding_window": 9}],
    ),
    ("qwen2", qwen2(), [], [{"use_sliding_window": True}]),
    (
        "qwen2_window",
        qwen2(use_sliding_window=True),
        range(3, 7),
        [{"use_sliding_window": False}, {"max_window_layers": 4}, {"sliding_window": 9}],
    ),
    ("qwen3", qwen3(), [], [{"model_type": "llama"}]),
    (
        "phi3_window",
        phi3(sliding_window=WINDOW, partial_rotary_factor=0.75),
        range(7),
        [{"sliding_window": None}, {"sliding_window": 7}, {"sliding_window": 9}]
        + [{"partial_rotary_factor": 1.0}, {"partial_rotary_factor": 0.5}],
    ),
    (
        # transformers takes the long divisors as soon as there are more positions than the
        # original ones: here from the first chunk on, so that nothing is ever computed anew.
        "phi3_longrope",
        phi3(
            rope_scaling=PARTIAL_LONGROPE,
            partial_rotary_factor=0.75,
            original_max_position_embeddings=4,
            tie_word_embeddings=True,
        ),
        [],
        [{"rope_scaling": None}, {"original_max_position_embeddings": 5}]
        + [{"rope_scaling": PARTIAL_LONGROPE | {"long_factor": LONGROPE["short_factor"][:6]}}]
        + [{"rope_scaling": PARTIAL_LONGROPE | {"attention_factor": 1.0}}],
    ),
    (
        # Not more positions than the original ones: the short divisors.
        "phi3_shortrope",
        phi3(rope_scaling=LONGROPE | {"factor": 8.0}, original_max_position_embeddings=512),
        [],
        [{"rope_scaling": None}, {"original_max_position_embeddings": 4}]
        + [{"rope_scaling": LONGROPE}]
        + [{"rope_scaling": LONGROPE | {"factor": 8.0, "short_factor": [1.0] * 8}}],
    ),
    (
        "gemma2",
        gemma2(),
        range(0, 7, 2),
        [{"sliding_window": 7}, {"sliding_window": 9}, {"query_pre_attn_scalar": 16}]
        + [{"attn_logit_softcapping": None}, {"final_logit_softcapping": None}],
    ),
    (
        "gemma3",
        gemma3(),
        [0, 1, 3, 4, 6],
        [{"sliding_window": None}, {"sliding_window": 9}, {"sliding_window_pattern": 4}]
        + [{"rope_local_base_freq": 1000000.0}, {"rope_theta": 10000.0}]
        + [{"query_pre_attn_scalar": 64}, {"hidden_activation": "silu"}],
    ),
    (
        "gemma3_rope_linear",
        gemma3(head_dim=32, query_pre_attn_scalar=24, rope_scaling=GEMMA3_ROPE),
        [0, 1, 3, 4, 6],
        [{"rope_scaling": None}, {"rope_scaling": GEMMA3_ROPE | {"factor": 4.0}}]
        + [{"query_pre_attn_scalar": 32}],
    ),
]


def build(config, seed):
    """Builds a model from the text of a `config.json` and fills it with seeded weights."""
    config = copy.deepcopy(config)
    # Gemma 3 has no way to say "no window" but by layer.
    if config["model_type"] == "gemma3_text" and config["sliding_window"] is None:
        config |= {"layer_types": ["full_attention"] * 7, "sliding_window": WINDOW}
    resolved = AutoConfig.for_model(**config)
    model = AutoModelForCausalLM.from_config(
        resolved, attn_implementation="eager", dtype=torch.float32
    )
    model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weight(name, tuple(parameter.shape), seed, config["model_type"]))
    return model


@torch.no_grad()
def full_logits(model, tokens):
    """Computes logits of all positions in one pass, without a cache: `[tokens, vocab]`."""
    return model(torch.tensor([tokens]), use_cache=False).logits[0]


@torch.no_grad()
def cached_logits(model, chunks):
    """Computes the logits of each chunk through one KV cache, of the kind the model asks for."""
    cache = DynamicCache(config=model.config)
    return [
        model(torch.tensor([chunk]), past_key_values=cache, use_cache=True).logits[0]
        for chunk in chunks
    ]


def distance(wanted, found):
    return ((wanted - found).abs().max() / wanted.abs().max()).item()


def greedy(model, tokens):
    """Decodes greedily through the cache: the ids fed, and the logits that each one gave."""
    cache = DynamicCache(config=model.config)
    ids, rows = [], []
    with torch.no_grad():
        row = model(torch.tensor([tokens]), past_key_values=cache, use_cache=True).logits[0, -1]
        for _ in range(NUM_DECODE_STEPS):
            ids.append(int(row.argmax()))
            step = model(torch.tensor([ids[-1:]]), past_key_values=cache, use_cache=True)
            row = step.logits[0, -1]
            rows.append(row)
    return ids, torch.stack(rows)


def check_positions(model, tokens, ids, wanted):
    """Asserts that decoding with positions off by one is seen; returns the least difference."""
    cache = DynamicCache(config=model.config)
    least = math.inf
    with torch.no_grad():
        model(torch.tensor([tokens]), past_key_values=cache, use_cache=True)
        for step_idx, token in enumerate(ids):
            position = torch.tensor([[len(tokens) + step_idx + 1]])
            found = model(torch.tensor([[token]]), position_ids=position, past_key_values=cache)
            least = min(least, distance(wanted[step_idx], found.logits[0, -1]))
    assert least > CLEAR, least
    return least


def check_windows(model, tokens, windowed):
    """Asserts how many positions each layer's last token attends to."""
    with torch.no_grad():
        output = model(torch.tensor([tokens]), use_cache=False, output_attentions=True)
    for layer_idx, scores in enumerate(output.attentions):
        seen = int((scores[0, 0, -1] > 0).sum())
        wanted = WINDOW if layer_idx in windowed else len(tokens)
        assert seen == wanted, (layer_idx, wanted, seen)


def check_reload(model, wanted, tokens):
    """Asserts that a saved and reloaded model is the same; returns its `config.json`."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        reloaded = AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32
        )
        config = json.loads(pathlib.Path(folder, "config.json").read_text())
    assert distance(wanted, full_logits(reloaded.eval(), tokens)) == 0.0
    return config


def check_ablations(config, ablations, seed, tokens, wanted):
    """Asserts that each named field matters; returns how much the least of them does."""
    least = math.inf
    for fields in ablations:
        found = full_logits(build(config | fields, seed), tokens)
        share = distance(wanted[-1], found[-1])
        assert share > DIFFERENT, (fields, share)
        least = min(least, share)
    return least


def margin(rows):
    """Measures how clearly the best token wins in the worst row."""
    best = rows.topk(2).values
    return ((best[:, 0] - best[:, 1]) / rows.abs().max()).min().item()


def pick_seed(config, tokens):
    """Picks the seed with the most varied of the greedy tokens that rounding cannot change.

    Tied embeddings of this size make a token its own likeliest successor, so few seeds do.
    """
    best = None
    for seed in range(1, NUM_SEEDS + 1):
        model = build(config, seed)
        prefill = full_logits(model, tokens)
        ids, decode = greedy(model, tokens)
        clear = margin(torch.cat([prefill[-1:], decode])) > CLEAR
        if clear and (best is None or len(set(ids)) > len(set(best[3]))):
            best = seed, model, prefill, ids, decode
    assert best is not None, "no seed gives clear greedy tokens"
    return best


def rounded(rows):
    return [[float(f"{value:.6g}") for value in row] for row in rows.tolist()]


def probe(model):
    """Takes three values (first, second, last) of each kind of tensor, exact for f32."""
    return {
        name: [float(f"{values.flatten()[at].item():.9g}") for at in (0, 1, -1)]
        for name, values in model.named_parameters()
        if ".layers." not in name or ".layers.0." in name
    }


def make(name, config, windowed, ablations):
    """Makes, checks and returns one fixture, with a line that says what was measured."""
    tokens = [(7 * i * i + 3 * i + 11) % 256 for i in range(NUM_TOKENS)]
    seed, model, prefill, ids, decode = pick_seed(config, tokens)
    check_windows(model, tokens, windowed)
    fresh = full_logits(model, tokens + ids)
    shares = {
        "decode": distance(fresh[NUM_TOKENS:], decode),
        "chunks": distance(
            prefill, torch.cat(cached_logits(model, [tokens[:5], tokens[5:17], tokens[17:]]))
        ),
        "f64": distance(full_logits(copy.deepcopy(model).double(), tokens).float(), prefill),
    }
    assert max(shares.values()) < SAME, (name, shares)
    saved = check_reload(model, prefill, tokens)
    shares["ablation"] = check_ablations(config, ablations, seed, tokens, prefill)
    shares["position"] = check_positions(model, tokens, ids, decode)
    shares["margin"] = margin(torch.cat([prefill[-1:], decode]))
    measured = ", ".join(f"{key} {share:.1e}" for key, share in shares.items())
    fixture = {
        "config": config,
        "config_saved": saved,
        "seed": seed,
        "weights": probe(model),
        "tokens": tokens,
        "prefill_logits": rounded(prefill[-NUM_KEPT_POSITIONS:]),
        "decode": {"ids": ids, "logits": rounded(decode)},
    }
    return fixture, f"{name}: seed {seed}, {measured}"


def main(folder):
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    for name, config, windowed, ablations in MODELS:
        fixture, line = make(name, config, list(windowed), ablations)
        write_fixture(folder / "logits" / f"{name}.json", fixture)
        print(line, flush=True)
