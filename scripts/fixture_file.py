"""Writes fixtures: JSON, compact, but with a line for each entry so that changes can be read."""

import json


def write_fixture(path, value):
    """Writes a JSON value: the entries of its two outer levels have lines of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_lines(value, 2) + "\n", encoding="utf-8")


def _lines(value, depth):
    if depth == 0 or not isinstance(value, (dict, list)) or not value:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    if isinstance(value, list):
        if not isinstance(value[0], (dict, list)):
            return _lines(value, 0)
        return "[\n" + ",\n".join(_lines(item, depth - 1) for item in value) + "\n]"
    entries = (f"{json.dumps(key)}:{_lines(item, depth - 1)}" for key, item in value.items())
    return "{\n" + ",\n".join(entries) + "\n}"
