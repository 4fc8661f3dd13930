"""How far a tensor is from another, element by element, sample by sample and as a whole: sums in float64, block by
block.

No element is kept, and no copy of a tensor made: what is in memory in float64 is one block of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ELEMENTS = 2**16  # of a block: what is made of it stays in a core's cache (2**20 takes 2.7 times as long)
OVERFLOWING = 0.9  # of the largest number of a dtype: rounding decides whether that is infinite
EXACTER = 4e-2  # as torch's: how near float64 a finite result is where eager has NaN
FILL_TIMES, FILL_WIDTH = 1e3, 0.01
"""A fill value is over 1000 times the RMS of the rest, and stands, within 1 %, in more than one place."""


@dataclass(frozen=True)
class Distance:
    """How far one tensor is from another, relative to the scale of the truth.

    rows: RMS of the difference in each sample. worst: largest |difference| / (scale + |truth|), at flat index `place`.
    slope: regression on the truth. largest: |difference|. lead: of the truth's largest element over the one that is the
    result's largest, in any row of the last dimension.
    """

    rmse: float
    rows: Sequence[float]
    worst: float
    place: int
    slope: float
    largest: float
    lead: float


@dataclass(frozen=True)
class Seen:
    """What is to be known of a floating tensor to judge it: no element of it is kept."""

    shape: Sequence[int]
    count: int
    columns: int  # elements of a sample
    scale: float
    scales: Sequence[float]  # of each sample
    lengths: tuple[Sequence[float], Sequence[float]]  # of each sample, of eager and of the result
    cosines: Sequence[float]
    cosine: float
    max_abs_error: float
    places: str | None  # what is wrong with values that are not finite, or fill
    eager: Distance | None  # to float64
    result: Distance | None
    apart: Distance  # result to eager
    without: str | None  # why there is no float64

    @classmethod
    def of(cls, e: torch.Tensor, r: torch.Tensor, t: torch.Tensor | None, without: str | None) -> Seen:
        return _Sums(e, r, t).seen(without)


class _Sums:
    """Sums over a tensor, block by block, in float64."""

    def __init__(self, e: torch.Tensor, r: torch.Tensor, t: torch.Tensor | None) -> None:
        import torch

        self.e, self.r, self.t, self.fill = e, r, t, _fill(e)
        self.rows, self.columns = _layout(e.shape)
        self.largest = float(torch.finfo(e.dtype).max)
        names = ("count", "ee", "rr", "er", "tt", "rt", "et", "r-t", "e-t", "r-e")
        self.by_row = {name: torch.zeros(self.rows, dtype=torch.float64) for name in names}
        self.worst = dict.fromkeys(("r-t", "e-t", "r-e"), (0.0, 0))
        self.largest_error = dict.fromkeys(("r-t", "e-t", "r-e"), 0.0)
        self.wrong: list[tuple[int, str]] = []
        self.scale = self._scale()
        for rows_of, first, (eager, result, truth) in self._blocks():
            self._add(rows_of, first, eager, result, truth)

    def _blocks(self) -> Iterator[tuple[slice, int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]]:
        """Yield rows, the flat index of a block's first element, and e, r and t (e where there is none) in float64."""
        tensors = [
            tensor.reshape(self.rows, self.columns) for tensor in (self.e, self.r, self.e if self.t is None else self.t)
        ]
        height = max(1, ELEMENTS // max(self.columns, 1))
        for row in range(0, self.rows, height):
            for column in range(0, self.columns, ELEMENTS):
                block = [tensor[row : row + height, column : column + ELEMENTS].double() for tensor in tensors]
                yield slice(row, row + height), row * self.columns + column, (block[0], block[1], block[2])

    def _comparable(self, e: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Where eager and float64 have finite values, that the dtype has too, and that fill nothing."""
        return e.isfinite() & (t.abs() <= self.largest) & (e.abs() < self.fill)

    def _all_comparable(self, e: torch.Tensor, t: torch.Tensor) -> bool:
        """Return whether all of a block is comparable, as is usual: from its extremes, at a third of the time."""
        return bool(_size(t) <= self.largest) and bool(_size(e) < self.fill)

    def _scale(self) -> float:
        import torch

        squares, count = 0.0, 0
        for _, _, (e, _, t) in self._blocks():
            if self._all_comparable(e, t):
                count += t.numel()
            else:
                ok = self._comparable(e, t)
                count += int(ok.sum())
                t = t.where(ok, 0.0)
            squares += float(torch.linalg.vecdot(t, t).sum())
        return math.sqrt(squares / count) if count else 0.0

    def _add(self, rows: slice, first: int, e: torch.Tensor, r: torch.Tensor, t: torch.Tensor) -> None:
        import torch

        dot, by_row = torch.linalg.vecdot, self.by_row
        if self._all_comparable(e, t) and bool(_size(r) < math.inf):
            by_row["count"][rows] += e.shape[1]
        else:
            ok = self._comparable(e, t)
            both = ok & r.isfinite()
            self._look_at_places(first, e, r, t, ok, both)
            e, r, t = (x.where(both, 0.0) for x in (e, r, t))
            by_row["count"][rows] += both.sum(1)
        for name, one, other in (("ee", e, e), ("rr", r, r), ("er", e, r), ("tt", t, t), ("rt", r, t), ("et", e, t)):
            by_row[name][rows] += dot(one, other)
        against = self.scale + t.abs()
        for name, difference in (("r-t", r - t), ("e-t", e - t), ("r-e", r - e)):
            by_row[name][rows] += dot(difference, difference)
            if not difference.numel():
                continue
            size = difference.abs()
            self.largest_error[name] = max(self.largest_error[name], float(size.max()))
            size = (size / against).nan_to_num(0.0) if self.scale == 0.0 else size / against  # 0 / 0
            if (most := float(size.max())) > self.worst[name][0]:
                row, column = divmod(int(size.argmax()), size.shape[1])
                self.worst[name] = (most, first + row * self.columns + column)

    def _look_at_places(
        self, first: int, e: torch.Tensor, r: torch.Tensor, t: torch.Tensor, ok: torch.Tensor, both: torch.Tensor
    ) -> None:
        """Judge what is not compared by its size: NaN, infinity, fill values, and what float64 alone can hold."""
        alike = (e == r) | (e.isnan() & r.isnan()) | (e.isfinite() & ((r - e).abs() <= FILL_WIDTH * e.abs()))
        # eager has NaN or overflowed, float64 did not, and the result is near float64
        exacter = ~e.isfinite() & (t.abs() <= self.largest) & ((r - t).abs() <= EXACTER * (self.scale + t.abs()))
        exacter &= t.isfinite() & r.isfinite()
        # the result overflowed where the value is at the dtype's edge
        edge = e.isfinite() & r.isinf() & (t.abs() >= OVERFLOWING * self.largest) & (r.sign() == t.sign())
        wrong = ~both & ~alike & ~exacter & ~edge
        if bool(wrong.any()):
            row, column = divmod(int(wrong.flatten().nonzero()[0]), wrong.shape[1])
            text = f"{float(r[row, column]):g} instead of {float(e[row, column]):g}"
            at = place(first + row * self.columns + column, self.e.shape)
            self.wrong.append((int(wrong.sum()), f"at {at}: {text}"))

    def seen(self, without: str | None) -> Seen:
        rows, total = self.by_row, {name: float(values.sum()) for name, values in self.by_row.items()}
        count = rows["count"].clamp(min=1)
        wrong = sum(number for number, _ in self.wrong)

        def distance(name: str, of: str, by: str, truth: torch.Tensor) -> Distance:
            worst, place = self.worst[name]
            slope = total[of] / total[by] if total[by] else 1.0
            each = (rows[name] / count).sqrt().tolist()
            rmse = math.sqrt(total[name] / max(total["count"], 1))
            lead = 0.0 if wrong or name == "e-t" else _lead(truth, self.r)
            return Distance(rmse, each, worst, place, slope, self.largest_error[name], lead)

        lengths = (rows["ee"].sqrt().tolist(), rows["rr"].sqrt().tolist())
        return Seen(
            shape=self.e.shape,
            count=int(total["count"]),
            columns=self.columns,
            scale=self.scale,
            scales=(rows["tt"] / count).sqrt().tolist(),
            lengths=lengths,
            cosines=[_cosine(*numbers) for numbers in zip(rows["er"].tolist(), *lengths, strict=True)],
            cosine=_cosine(total["er"], math.sqrt(total["ee"]), math.sqrt(total["rr"])),
            max_abs_error=math.nan if wrong else self.largest_error["r-e"],
            places=f"{wrong} values, first {self.wrong[0][1]}" if wrong else None,
            eager=None if self.t is None else distance("e-t", "et", "tt", self.t),
            result=None if self.t is None else distance("r-t", "rt", "tt", self.t),
            apart=distance("r-e", "er", "ee", self.e),
            without=without,
        )


def _size(block: torch.Tensor) -> torch.Tensor:
    """Return the largest absolute value of a block, NaN where it has NaN; 0 for an empty one."""
    if not block.numel():
        return block.new_zeros(())
    low, high = block.aminmax()
    return low.abs().maximum(high)


def _layout(shape: Sequence[int]) -> tuple[int, int]:
    """Return how many samples a tensor has, along its first dimension with more than one entry, and elements of each.

    A vector is one sample: what its elements are is judged one by one anyway.
    """
    sizes = [size for size in shape if size != 1]
    count = math.prod(sizes)
    if len(sizes) < 2 or count == 0:
        return 1, count
    return sizes[0], count // sizes[0]


def place(index: int, shape: Sequence[int]) -> list[int]:
    """Return the indices of an element by its place in memory."""
    place: list[int] = []
    for size in reversed(shape):
        index, at = divmod(index, size)
        place.insert(0, at)
    return place


def _lead(truth: torch.Tensor, result: torch.Tensor) -> float:
    """Return by how much a row's largest element leads, in the truth, the one that is largest in the result."""
    if not truth.ndim or truth.shape[-1] < 2 or not truth.numel():
        return 0.0
    truth, result = (tensor.reshape(-1, tensor.shape[-1]) for tensor in (truth, result))
    height, lead = max(1, ELEMENTS // truth.shape[1]), 0.0
    for row in range(0, len(truth), height):
        t, r = truth[row : row + height], result[row : row + height]
        behind = t.max(1).values.double() - t.gather(1, r.argmax(1, keepdim=True)).squeeze(1).double()
        lead = max(lead, float(behind.where(r.isfinite().all(1), 0.0).nan_to_num(0.0, 0.0, 0.0).max()))
    return lead


def _fill(e: torch.Tensor) -> float:
    """Return the size from which on values are fill: a mask's. Infinity where there is none (`FILL_TIMES`)."""
    values = e.flatten()
    if not math.isfinite(float(_size(values))):
        values = values[values.isfinite()]
    if values.numel() < 3:
        return math.inf
    most = float(_size(values))
    if float(values[:: max(1, values.numel() // 4096)].abs().double().median()) * FILL_TIMES >= most and most < 1e4:
        return math.inf  # the usual case, without another look at all of them
    sizes = values.abs()
    limit = most * (1 - FILL_WIDTH)
    filled = sizes >= limit
    count = int(filled.sum())
    if count < 2 or count == sizes.numel():
        return math.inf
    rest = float(sizes[~filled].double().square().mean().sqrt())
    return limit if most >= FILL_TIMES * rest > 0 else math.inf


def _cosine(product: float, one: float, other: float) -> float:
    """Return the cosine of the angle between two vectors of these lengths; 1 for two that are zero."""
    if not one and not other:
        return 1.0
    return product / (one * other) if one and other else 0.0


def rms_error(truth: torch.Tensor, values: torch.Tensor) -> float:
    """Return the root of the mean squared difference of two float64 tensors; 0 for empty ones."""
    if truth.shape != values.shape:
        raise ValueError(f"the float64 reference has shape {list(truth.shape)}, the result {list(values.shape)}")
    return float((truth - values).square().mean().sqrt()) if truth.numel() else 0.0


def cosine_similarity(reference: torch.Tensor, result: torch.Tensor) -> float:
    """Return the cosine of the angle between two float64 tensors, flattened; 1 for two that are all zero."""
    import torch

    if not reference.any() and not result.any():
        return 1.0
    return float(torch.nn.functional.cosine_similarity(reference.flatten(), result.flatten(), dim=0, eps=1e-30))


def in_json(value: float) -> float | str:
    """Return a number that JSON can hold."""
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")


def severity(error: float | str | None) -> float:
    """Return what errors are sorted by (`in_json`, None where there is nothing to compare): no number is worst."""
    return error if isinstance(error, float) else math.inf
