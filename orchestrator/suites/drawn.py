"""What rules for inputs (`orchestrator.suites.rules`) say, drawn: tensors, and what is made of them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.suites.rules import KEY, ORDERS, Rules, Size, check, form_of, number_of

if TYPE_CHECKING:
    import torch


def draw(rules: Rules, size: Size, seed: int) -> dict[str, Any]:
    """Return name -> input on the CPU, in the order of `rules`, from `seed` alone.

    Tensors, or what the rules say: lists, tuples and dicts of them, numbers, texts, None. Raises ValueError, with the
    key of the rule, for a rule that is none.
    """
    import torch

    check(rules)
    one = _Draw(size, torch.Generator().manual_seed(seed))
    made: dict[str, Any] = {}
    for name, rule in rules.items():
        if rule is not None:
            made[name] = one.of(rule, f"{KEY}.{name}", made)
    return made


class _Draw:
    """Draws what rules say; `size` gives the number that a word stands for."""

    def __init__(self, size: Size, generator: torch.Generator) -> None:
        self._size, self._generator = size, generator

    def of(self, rule: Any, where: str, made: Mapping[str, Any]) -> Any:
        if isinstance(rule, str):
            rule = {"copy": rule}
        if isinstance(rule, (list, tuple)):
            return [self.of(inner, f"{where}[{place}]", made) for place, inner in enumerate(rule)]
        if not isinstance(rule, Mapping):
            return rule
        form = form_of(rule)
        if form == "copy":
            if rule["copy"] not in made:
                known = ", ".join(made) or "none"
                raise ValueError(
                    f"{where} copies '{rule['copy']}', which is no input before it ({known}); a text is {{value: ...}}"
                )
            return copy.deepcopy(made[rule["copy"]])
        if form == "shape" or (form == "value" and "dtype" in rule):
            try:
                return self._tensor(rule)
            except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
                raise ValueError(f"{where}: {error}") from error
        if form == "value":
            return copy.deepcopy(rule["value"])
        if form in ("list", "tuple"):
            inner, count = rule[form], rule.get("count")
            rules = list(inner) if count is None else [inner] * self._whole(count)
            drawn = self.of(rules, where, made)
            return tuple(drawn) if form == "tuple" else drawn
        return {key: self.of(inner, f"{where}.{key}", made) for key, inner in rule.get("dict", rule).items()}

    def _tensor(self, rule: Mapping[str, Any]) -> torch.Tensor:
        import torch

        dtype: torch.dtype | None = getattr(torch, rule["dtype"]) if "dtype" in rule else None
        if "shape" not in rule:
            constant: torch.Tensor = torch.tensor(rule["value"], dtype=dtype)
            return constant
        shape = [self._whole(number) for number in rule["shape"]]
        if "value" in rule:
            filled = torch.tensor(self._filled(rule["value"])).expand(shape).clone()
            tensor = filled if dtype is None else filled.to(dtype)
        elif "step" in rule:
            places = torch.arange(shape[-1]) * self._number(rule["step"]) + self._number(rule.get("low", 0))
            tensor = places.expand(shape).clone().to(dtype or places.dtype)
        else:
            tensor = self._random(rule, shape, dtype)
        if "order" in rule:
            tensor = tensor.sort(dim=-1, descending=rule["order"] == ORDERS[1]).values
        for one in rule.get("set", ()):
            self._set(tensor, one)
        return tensor

    def _random(self, rule: Mapping[str, Any], shape: list[int], dtype: torch.dtype | None) -> torch.Tensor:
        import torch

        bounded = "low" in rule or "high" in rule
        low, high = self._number(rule.get("low", 0)), self._number(rule.get("high", 2 if dtype is torch.bool else 1))
        if dtype is None:
            whole = "high" in rule and isinstance(low, int) and isinstance(high, int)
            dtype = torch.int64 if whole else torch.float32
        if dtype.is_floating_point or dtype.is_complex:
            if not bounded:
                drawn = torch.complex64 if dtype.is_complex else torch.float32
                return torch.randn(shape, generator=self._generator, dtype=drawn).to(dtype)
            if low >= high:
                raise ValueError(f"no number in [{low}, {high})")
            uniform = torch.rand(shape, generator=self._generator)
            return (uniform * float(high - low) + float(low)).to(dtype)
        if "high" not in rule and dtype is not torch.bool:
            raise ValueError(f"integers need a bound: write high, as in {{shape: [batch], high: 2, dtype: {dtype}}}")
        without = sorted({self._whole(number) for number in rule.get("without", ())})
        return _integers(shape, int(low), int(high), self._generator, without).to(dtype)

    def _set(self, tensor: torch.Tensor, one: Mapping[str, Any]) -> None:
        span = one["at"] if isinstance(one["at"], (list, tuple)) else None
        places = [self._whole(number) for number in (span or [one["at"]])]
        length = tensor.shape[-1]
        if any(not -length <= place <= length - (len(places) == 1) for place in places):
            raise ValueError(f"set: at={one['at']}: the last dimension has {length} places")
        tensor[..., slice(*places) if len(places) == 2 else places[0]] = self._number(one["value"])

    def _filled(self, value: Any) -> Any:
        return [self._filled(one) for one in value] if isinstance(value, (list, tuple)) else self._number(value)

    def _number(self, number: Any) -> Any:
        return number_of(number, self._size)

    def _whole(self, number: Any) -> int:
        found = self._number(number)
        if isinstance(found, bool) or int(found) != found:
            raise ValueError(f"{number} is {found!r}: a whole number is needed")
        return int(found)


def _integers(
    shape: list[int], low: int, high: int, generator: torch.Generator, without: Sequence[int]
) -> torch.Tensor:
    """Return int64 integers of [low, high) but `without`, every one of them present where there is room for all.

    So that a batch's labels are never all of one class: a loss over one class is no test of anything.
    """
    import torch

    without = [number for number in without if low <= number < high]
    span = high - low - len(without)
    if span <= 0:
        raise ValueError(
            f"no integer in [{low}, {high})" + (f" without {', '.join(map(str, without))}" * bool(without))
        )
    count = torch.Size(shape).numel()
    if count < span:
        drawn = torch.randint(low, low + span, shape, generator=generator)
    else:
        drawn = (torch.randperm(count, generator=generator) % span + low).reshape(shape)
    for number in without:
        drawn += drawn >= number
    return drawn
