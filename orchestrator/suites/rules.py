"""Rules for inputs: what a model is called with, as data. One language for the tables here and for YAML.

A rule is one of (docs/suites.md has an example for each task):

    {shape: [batch, 42, visual_feat_dim]}                 a tensor, standard normal, float32
    {shape: [batch, sequence], high: vocab_size}          integers of [low, high), low is 0; int64
    {shape: [batch], low: 0.0, high: 1.0}                 floats of [low, high)
    {shape: [batch, 4], value: 1, dtype: bool}            the same everywhere, or the numbers of a nested list
    {shape: [batch], step: 4}                             0, 4, 8, ... along the last dimension, from `low`
    {list: RULE, count: batch}, {tuple: RULE, count: 2}   so many draws of one rule
    [RULE, ...], {tuple: [RULE, ...]}, {dict: {key: RULE}}
    3, 0.5, true, {value: null}, {value: "text"}          what stands there, passed as it is
    input_ids, {copy: input_ids}                          a copy of the input `input_ids`, which stands before it
    null                                                  no such input, whatever a table says

`{key: RULE}` is a dict too, where no key looks like a word of rules. A tensor may have besides:

    dtype      float32, int64, bool, ...
    without    integers that are never drawn: [image_token_id]
    order      ascending or descending, along the last dimension
    set        [{at: 0, value: 2}, {at: [1, 5], value: 9}]: places of the last dimension, or ranges [from, to) of them

Where a number stands a word may stand, or a sum of words ("batch * 2", "(vision_config.image_size // 16) ** 2"):
`batch`, `sequence` (or `batch_size`, `sequence_length`), or what the model's config calls so.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.errors import did_you_mean

Rule = str | bool | int | float | Sequence[Any] | Mapping[str, Any] | None
Rules = Mapping[str, Rule]
Size = Callable[[str], int | float]
"""The number that a word stands for ("image_size", "vision_config.image_size"). Raises ValueError for one of none."""

KEY = "suite.common.build.inputs"
EXAMPLE = "{shape:[batch,3,224,224]}"
TENSOR_KEYS = ("shape", "dtype", "low", "high", "value", "step", "without", "order", "set")
FORMS: Mapping[str, tuple[str, ...]] = {
    "shape": TENSOR_KEYS,
    "value": ("value", "dtype"),
    "list": ("list", "count"),
    "tuple": ("tuple", "count"),
    "dict": ("dict",),
    "copy": ("copy",),
}
"""Key that says what a rule makes, the first that it has -> all its keys."""
WORDS = frozenset(key for keys in FORMS.values() for key in keys)
DTYPES = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
    *("int64", "int32", "int16", "int8", "uint8", "bool"),
)
ORDERS = ("ascending", "descending")
ALIASES = {"batch_size": "batch", "sequence_length": "sequence"}
OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def check(rules: Any, where: str = KEY) -> None:
    """Raise ValueError, with the key of the fault, for rules that nothing can be drawn from, whatever the model."""
    if isinstance(rules, Mapping):
        for name, rule in rules.items():
            _check(rule, f"{where}.{name}")
    elif isinstance(rules, Sequence) and not isinstance(rules, str):
        for place, rule in enumerate(rules):
            _check(rule, f"{where}[{place}]")
    else:
        raise ValueError(f"{where}={rules!r}: write a rule for each input, as in {where}.x={EXAMPLE}")


def names_in(rule: Any) -> set[str]:
    """Return the words that stand for numbers in rules (the whole, or a part)."""
    return {word for text in _numbers(rule) if isinstance(text, str) for word in _words(text)}


def _numbers(rule: Any) -> Iterator[Any]:
    """Yield all that stands where a number may."""
    if isinstance(rule, Mapping):
        form = form_of(rule)
        if form == "shape":
            shape = rule["shape"]
            yield from (shape if isinstance(shape, (list, tuple)) else ())
            yield from (rule[key] for key in ("low", "high", "step") if key in rule)
            yield from rule.get("without", ())
            yield rule.get("value")
            for one in rule.get("set", ()):
                yield from (*(one["at"] if isinstance(one["at"], (list, tuple)) else [one["at"]]), one["value"])
        elif form in ("list", "tuple", "dict"):
            yield rule.get("count")
            yield from _numbers(rule[form])
        elif form is None:
            for inner in rule.values():
                yield from _numbers(inner)
    elif isinstance(rule, (list, tuple)):
        for inner in rule:
            yield from _numbers(inner)


def form_of(rule: Mapping[str, Any]) -> str | None:
    """Return the key that says what a rule makes; None for a dict of rules."""
    return next((key for key in FORMS if key in rule), None)


def _check(rule: Any, where: str) -> None:
    if isinstance(rule, (list, tuple)):
        for place, inner in enumerate(rule):
            _check(inner, f"{where}[{place}]")
    elif isinstance(rule, Mapping):
        form = form_of(rule)
        if form is None:
            _check_dict(rule, where)
            return
        for key in rule:
            if key not in FORMS[form]:
                raise ValueError(f"{where}: '{key}' is no word beside '{form}': {did_you_mean(str(key), FORMS[form])}")
        if form == "shape":
            _check_tensor(rule, where)
        elif form == "value":
            _check_dtype(rule, where)
        elif form == "dict":
            if not isinstance(rule["dict"], Mapping):
                raise ValueError(f"{where}.dict={rule['dict']!r}: write a rule for each key")
            for key, inner in rule["dict"].items():
                _check(inner, f"{where}.dict.{key}")
        elif form in ("list", "tuple"):
            many = isinstance(rule[form], (list, tuple))
            if many == ("count" in rule):
                raise ValueError(f"{where}: write {{{form}: [RULE, ...]}}, or {{{form}: RULE, count: batch}}")
            _check(rule[form], f"{where}.{form}")
            _check_number(rule.get("count", 0), f"{where}.count")
        elif not isinstance(rule[form], str):
            raise ValueError(f"{where}.{form}={rule[form]!r}: write the name of an input that stands before it")
    elif not isinstance(rule, (str, bool, int, float)) and rule is not None:
        raise ValueError(f"{where}={rule!r} is no rule: write one as in {where}={EXAMPLE}")


def _check_dict(rule: Mapping[str, Any], where: str) -> None:
    for key, inner in rule.items():
        near = difflib.get_close_matches(str(key), WORDS, 1, 0.75)
        if key in WORDS or near:
            meant = f"did you mean '{near[0]}'?" if key not in WORDS else f"it needs one of {', '.join(FORMS)} besides"
            raise ValueError(
                f"{where}: a rule with '{key}' is as {EXAMPLE}: {meant} (a dict with such a key is written as "
                f"{{dict:{{{key}:...}}}})"
            )
        _check(inner, f"{where}.{key}")


def _check_tensor(rule: Mapping[str, Any], where: str) -> None:
    shape = rule["shape"]
    if not isinstance(shape, (list, tuple)):
        raise ValueError(f"{where}.shape={shape!r}: write a list, as in {EXAMPLE}")
    _check_dtype(rule, where)
    for number in shape:
        _check_number(number, f"{where}.shape")
    for key in ("low", "high", "step"):
        _check_number(rule.get(key, 0), f"{where}.{key}")
    if rule.get("order", ORDERS[0]) not in ORDERS:
        raise ValueError(f"{where}.order={rule['order']!r}: write {' or '.join(ORDERS)}")
    for key in ("without", "set"):
        if not isinstance(rule.get(key, ()), (list, tuple)):
            raise ValueError(f"{where}.{key}={rule[key]!r}: write a list")
    for number in rule.get("without", ()):
        _check_number(number, f"{where}.without")
    for one in rule.get("set", ()):
        if not isinstance(one, Mapping) or set(one) != {"at", "value"}:
            raise ValueError(f"{where}.set: {one!r}: write {{at: 0, value: 2}}, or {{at: [1, 5], value: 9}}")
        span = one["at"] if isinstance(one["at"], (list, tuple)) else [one["at"]]
        if len(span) not in (1, 2):
            raise ValueError(f"{where}.set: at={one['at']!r}: write a place, or [from, to)")
        for number in (*span, one["value"]):
            _check_number(number, f"{where}.set")


def _check_dtype(rule: Mapping[str, Any], where: str) -> None:
    dtype = rule.get("dtype")
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"{where}.dtype={dtype!r}: {did_you_mean(str(dtype), DTYPES)}")


def _check_number(number: Any, where: str) -> None:
    if isinstance(number, str):
        try:
            set(_words(number))
        except (SyntaxError, ValueError) as error:
            raise ValueError(
                f"{where}: '{number}' is no number: write one, a word (batch, sequence, what the model's config calls "
                "so), or a sum of them with + - * // % **"
            ) from error
    elif not isinstance(number, (int, float)):
        raise ValueError(f"{where}: {number!r} is no number")


def _words(text: str) -> Iterator[str]:
    """Yield the words of a sum. Raises SyntaxError, or ValueError for what is none."""
    for node in _leaves(ast.parse(text.strip(), mode="eval").body):
        if not isinstance(node, ast.Constant):
            yield ALIASES.get(ast.unparse(node), ast.unparse(node))


def _leaves(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield from (*_leaves(node.left), *_leaves(node.right))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield from _leaves(node.operand)
    elif isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)) or (
        isinstance(node, ast.Constant) and type(node.value) in (int, float)
    ):
        yield node
    else:
        raise ValueError(ast.unparse(node))


def looked_up(owner: Any, word: str) -> Any:
    """Return what `owner` calls so, attribute by attribute ("vision_config.image_size", "sizes[0]"), or None."""
    node = ast.parse(word, mode="eval").body
    try:
        return _found(owner, node)
    except (AttributeError, KeyError, IndexError, TypeError):
        return None


def _found(owner: Any, node: ast.expr) -> Any:
    if isinstance(node, ast.Subscript):
        return _found(owner, node.value)[ast.literal_eval(node.slice)]
    if isinstance(node, ast.Attribute):
        inner = _found(owner, node.value)
        return inner[node.attr] if isinstance(inner, Mapping) else getattr(inner, node.attr)
    if isinstance(node, ast.Name):
        return getattr(owner, node.id)
    raise TypeError(ast.unparse(node))


def number_of(number: int | float | str, size: Size) -> Any:
    """Return the number that stands in a rule, or that its words come to."""
    return _value(ast.parse(number.strip(), mode="eval").body, size) if isinstance(number, str) else number


def _value(node: ast.expr, size: Size) -> Any:
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](_value(node.left, size), _value(node.right, size))
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand, size)
    return node.value if isinstance(node, ast.Constant) else size(next(_words(ast.unparse(node))))
