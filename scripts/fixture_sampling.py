"""Makes tests/fixtures/sampling: what transformers' logits processors make of small rows.

Owns the rows and the cases. Order: repetition, frequency and presence penalty, mask, temperature,
top-k, top-p, min-p, softmax; each works on the result of the one before.
"""

import collections

import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from fixture_file import write_fixture
from fixture_logits import uniform

VOCAB = 40
# How far every decision must lie from its border, so that rounding cannot turn it: in logits for
# top-k, in summed probability for top-p, as a share of the border for min-p.
CLEAR = 1e-3

# Scale and shift of each row's logits: flat, ordinary, peaked, wholly negative, very large.
SHAPES = [
    (0.3, 0.0),
    (2.0, 0.0),
    (4.0, 0.0),
    (4.0, 1.5),
    (6.0, -8.0),
    (8.0, 0.0),
    (10.0, 3.0),
    (12.0, 0.0),
    (3.0, -20.0),
    (5.0, 90.0),
    (60.0, 0.0),
    (1.0, -0.5),
]

NEUTRAL = {
    "history": [],
    "masked": [],
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
}

HISTORY = [3, 17, 3, 3, 8, 21, 8, 39, 0, 14, 30]
LOWER_HALF = list(range(20))
ALL_BUT_ONE = [token for token in range(VOCAB) if token != 23]

WARPERS = [
    {},
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": 400},
    {"top_p": 0.001},
    {"top_p": 0.6},
    {"top_p": 0.95},
    {"min_p": 0.05},
    {"min_p": 0.4},
    {"min_p": 1.0},
    {"temperature": 0.7, "top_k": 12, "top_p": 0.9},
    {"temperature": 1.6, "top_k": 20, "top_p": 0.8, "min_p": 0.1},
    {"masked": LOWER_HALF, "temperature": 0.8, "top_k": 5},
    {"masked": LOWER_HALF, "top_p": 0.7, "min_p": 0.02},
    {"masked": ALL_BUT_ONE, "top_k": 3, "top_p": 0.5, "min_p": 0.3},
]

PENALTIES = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8},
    {"frequency_penalty": 0.5},
    {"frequency_penalty": -0.7},
    {"presence_penalty": 1.2},
    {"presence_penalty": -0.4},
    {"repetition_penalty": 1.2, "frequency_penalty": 0.3, "presence_penalty": 0.6},
    {"repetition_penalty": 1.1, "frequency_penalty": 0.2, "masked": LOWER_HALF},
    {
        "repetition_penalty": 1.15,
        "presence_penalty": 0.5,
        "masked": LOWER_HALF,
        "temperature": 0.9,
        "top_k": 15,
        "top_p": 0.85,
        "min_p": 0.03,
    },
]


def logit_row(row_idx, attempt):
    scale, shift = SHAPES[row_idx]
    values = uniform(f"sampling.{row_idx}", attempt, VOCAB) * scale + shift
    return [round(float(value), 4) for value in values]


def penalise(scores, case):
    """Applies the penalties. Source of frequency and presence: OpenAI's API reference."""
    # The processor cannot work on an empty history.
    if case["history"] and case["repetition_penalty"] != 1.0:
        history = torch.tensor([case["history"]])
        scores = RepetitionPenaltyLogitsProcessor(case["repetition_penalty"])(history, scores)
    scores = scores.clone()
    for token, count in collections.Counter(case["history"]).items():
        scores[0, token] -= count * case["frequency_penalty"] + case["presence_penalty"]
    return scores


def warp(scores, case):
    """Applies the processors and asserts that each border is far from every token."""
    no_ids = torch.empty((1, 0), dtype=torch.long)
    scores = TemperatureLogitsWarper(case["temperature"])(no_ids, scores)
    if 0 < case["top_k"] < VOCAB:
        best = scores.sort(descending=True).values[0]
        gap = best[case["top_k"] - 1] - best[case["top_k"]]
        clear = gap.isnan() or gap > CLEAR
        scores = TopKLogitsWarper(case["top_k"])(no_ids, scores)
        if not clear:
            return None
    if case["top_p"] < 1.0:
        best = scores.softmax(-1).sort(descending=True).values[0]
        if ((best.cumsum(-1) - case["top_p"]).abs() < CLEAR).any():
            return None
        scores = TopPLogitsWarper(case["top_p"])(no_ids, scores)
    if case["min_p"] > 0.0:
        best = scores.softmax(-1).sort(descending=True).values[0]
        others = best[1:] if case["min_p"] == 1.0 else best
        if ((others / best[0] / case["min_p"] - 1.0).abs() < CLEAR).any():
            return None
        scores = MinPLogitsWarper(case["min_p"])(no_ids, scores)
    return scores


def probabilities(logits, case):
    """Computes what a case makes of a row, in f64; `None` where a border is too close."""
    scores = penalise(torch.tensor([logits], dtype=torch.float64), case)
    scores[0, case["masked"]] = -torch.inf
    scores = warp(scores, case)
    if scores is None:
        return None
    return [float(f"{value:.6g}") for value in scores.softmax(-1)[0].tolist()]


def make_row(row_idx, changes):
    """Finds logits for a row with which every case is clear."""
    cases = [NEUTRAL | change for change in changes]
    for attempt in range(1, 10_000):
        logits = logit_row(row_idx, attempt)
        results = [probabilities(logits, case) for case in cases]
        if None not in results:
            entries = zip(cases, results, strict=True)
            return logits, [{"row": row_idx} | case | {"probs": probs} for case, probs in entries]
    raise AssertionError(f"row {row_idx}: no logits keep every case clear")


def main(folder):
    penalties = [{"history": HISTORY} | change for change in PENALTIES]
    # An empty history: penalties without anything to count change nothing.
    penalties.append({"repetition_penalty": 1.5, "presence_penalty": 1.0})
    for name, changes in (("warpers", WARPERS), ("penalties", penalties)):
        rows, cases = [], []
        for row_idx in range(len(SHAPES)):
            logits, made = make_row(row_idx, changes)
            rows.append(logits)
            cases.extend(made)
        write_fixture(folder / "sampling" / f"{name}.json", {"rows": rows, "cases": cases})
        print(f"{name}: {len(rows)} rows, {len(cases)} cases")
