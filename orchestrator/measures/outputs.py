"""Outputs that outlive their sweep: the same to the bit with another version, or the first tensor that is not.

What each call of a judged job's series left (`orchestrator.measures.calls`) is kept whole beside its result, as
safetensors, a file for each call, where `keep_outputs=true` asks for it. A job of another sweep that is given such a
folder compares its own with it bit by bit. Of eager's tensors a digest is kept: where those differ too, it is not the
compiler that has changed, but the model, its weights or inputs, or torch's own operators.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import columns
from orchestrator.columns import TableSpec
from orchestrator.files import write_text
from orchestrator.measures.calls import Call, Tensors
from orchestrator.measures.distances import in_json, place

if TYPE_CHECKING:
    import torch

RECORD = "outputs.json"
BITWISE_EQUAL, NOT_EQUAL, NOT_COMPARED = "bitwise equal", "not bitwise equal", "not compared"
TABLE = "compared_outputs"
SPEC = TableSpec(
    (
        "outputs",
        columns.count("tensors_compared", "tensors of all calls that both have"),
        columns.count("tensors_unequal", "those with other bits, or that only one has"),
        columns.text("first_unequal", "the first of them: its name, and the call of the series"),
        columns.count("elements_unequal", "elements of that tensor whose bits differ"),
        columns.count("elements_of_it", "elements that it has"),
        columns.number("largest_difference", "largest |after - before| in it"),
        columns.text("at", "index of that element, and both values"),
        columns.text("eager_too", "whether eager's is equal in both: then only the compiler has changed"),
        columns.text("compared_with", "the other job's folder, and its torch"),
    )
)
"""Left only where it was asked for (`Context.find_asked`)."""


@dataclass
class Outputs:
    """What the calls of one series left: kept in `folder`, compared with those in `other`; None: not that.

    `digests` has of each call name -> SHA-256 of eager's tensor.
    """

    folder: Path | None
    other: Path | None
    calls: list[Call]
    names: list[list[str]] = field(default_factory=list)
    digests: list[dict[str, str]] = field(default_factory=list)
    _known: Kept | str | None = None
    _compared: int = 0
    _unequal: list[dict[str, Any]] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.folder is not None:
            (self.folder / RECORD).unlink(missing_ok=True)  # of an earlier attempt: the record is written last
        if self.other is not None:
            self._known = Kept.read(self.other)

    def add(self, number: int, left: Tensors, eager: Tensors) -> None:
        """Take what call `number` left, and what eager left in it."""
        from safetensors.torch import save_file

        self.names.append(list(left))
        self.digests.append({name: digest(tensor) for name, tensor in eager.items()})
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.contiguous() for name, tensor in left.items()}, _file(self.folder, number))
        if isinstance(self._known, Kept):
            self._compare(self._known, number, left)

    def _compare(self, known: Kept, number: int, left: Tensors) -> None:
        from safetensors import SafetensorError

        call = self.calls[number]
        if (there := known.number_of(call)) is None:
            self._notes.append(f"call {number + 1} ({call.inputs} inputs) was not made there")
            return
        try:
            before = known.tensors(there)
        except (OSError, SafetensorError) as error:
            self._known = f"what was kept there cannot be read: {type(error).__name__}: {error}"
            return
        for name in dict.fromkeys([*left, *known.names[there]]):
            where = f"{name} in call {number + 1} ({call.inputs} inputs)"
            if name not in left or name not in before:
                self._unequal.append({"first_unequal": f"{where}: only {'here' if name in left else 'there'}"})
                continue
            self._compared += 1
            found = unequal(before[name], left[name])
            if found is not None:
                if name in (theirs := known.digests[there]) and name in self.digests[number]:
                    same = theirs[name] == self.digests[number][name]
                    found["eager_too"] = "equal in eager" if same else "eager differs there too"
                self._unequal.append({"first_unequal": where, **found})

    def finish(self, judged: str, torch_version: str) -> dict[str, Any] | None:
        """Write the record of what was kept; return the row of what was compared, None where nothing was asked."""
        made = {
            "calls": [[call.inputs, call.seed] for call in self.calls[: len(self.names)]],
            "names": self.names,
            "eager": self.digests,
            "judged": judged,
            "torch": torch_version,
        }
        if self.folder is not None:
            write_text(self.folder / RECORD, json.dumps(made))
        if self.other is None:
            return None
        if not isinstance(self._known, Kept):
            return {"outputs": f"{NOT_COMPARED}: {self._known}", "compared_with": str(self.other)}
        return self._row(self._known, judged)

    def _row(self, known: Kept, judged: str) -> dict[str, Any]:
        mine = {(call.inputs, call.seed) for call in self.calls}
        self._notes += [
            f"its call {number + 1} ({inputs} inputs) was not made here"
            for number, (inputs, seed) in enumerate(known.calls)
            if (inputs, seed) not in mine
        ]
        if known.judged != judged:
            self._notes.append(f"there {known.judged} was judged, here {judged}")
        word = NOT_EQUAL if self._unequal else BITWISE_EQUAL if self._compared else NOT_COMPARED
        return {
            "outputs": "; ".join([word, *self._notes]),
            "tensors_compared": self._compared,
            "tensors_unequal": len(self._unequal),
            "compared_with": f"{self.other} (torch {known.torch_version})",
            **(self._unequal[0] if self._unequal else {}),
        }


@dataclass(frozen=True)
class Kept:
    """What a job of another sweep has kept."""

    folder: Path
    calls: list[tuple[str, int]]
    names: list[list[str]]
    digests: list[dict[str, str]]
    judged: str
    torch_version: str

    @classmethod
    def read(cls, folder: Path) -> Kept | str:
        """Return what is there, or why it cannot be read."""
        try:
            found = json.loads((folder / RECORD).read_text())
            calls = [(str(inputs), int(seed)) for inputs, seed in found["calls"]]
            names, digests = ([dict.fromkeys(map(str, one)) for one in found["names"]], found["eager"])
            if not len(calls) == len(names) == len(digests):
                raise ValueError("it has not as many names as calls")
            return cls(folder, calls, [list(one) for one in names], digests, str(found["judged"]), str(found["torch"]))
        except FileNotFoundError:
            return "no outputs were kept there"
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            return f"what was kept there cannot be read: {type(error).__name__}: {error}"

    def number_of(self, call: Call) -> int | None:
        wanted = (call.inputs, call.seed)
        return self.calls.index(wanted) if wanted in self.calls else None

    def tensors(self, number: int) -> dict[str, torch.Tensor]:
        """Return what one call left. Raises OSError or SafetensorError for a file that was removed or cut short."""
        from safetensors.torch import load_file

        return load_file(_file(self.folder, number))


def unequal(before: torch.Tensor, after: torch.Tensor) -> dict[str, Any] | None:
    """Return None for tensors of the same bits, else what differs: columns of `SPEC`."""
    if before.dtype != after.dtype or before.shape != after.shape:
        there, here = (f"{str(one.dtype).removeprefix('torch.')}{list(one.shape)}" for one in (before, after))
        return {"at": f"{there} there, {here} here"}
    differs = (_bits(before) != _bits(after)).reshape(before.numel(), before.element_size()).any(1)
    count = int(differs.sum())
    if not count:
        return None
    where = differs.nonzero().flatten()
    was, now = (one.flatten()[where].double() for one in (before, after))
    sizes = (now - was).abs().nan_to_num(math.inf, math.inf, math.inf)
    sizes[(now == was) | (now.isnan() & was.isnan())] = 0.0  # zeros of two signs, NaN of other bits, infinities
    worst = int(sizes.argmax())
    at = place(int(where[worst]), before.shape)
    return {
        "elements_unequal": count,
        "elements_of_it": before.numel(),
        "largest_difference": in_json(float(sizes[worst])),
        "at": f"{at}: {float(now[worst]):.9g} instead of {float(was[worst]):.9g}",
    }


def digest(tensor: torch.Tensor) -> str:
    """Return the SHA-256 of a tensor's dtype, shape and bytes."""
    found = hashlib.sha256(f"{tensor.dtype} {list(tensor.shape)}".encode())
    found.update(_bits(tensor).numpy().tobytes())
    return found.hexdigest()


def of_job(folder: Path, keep: bool, other: str | None, calls: Iterable[Call]) -> Outputs | None:
    """Return where a judged job's outputs go, None where they are neither kept nor compared."""
    if not keep and other is None:
        return None
    return Outputs(folder if keep else None, None if other is None else Path(other), list(calls))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return a CPU tensor's bytes, flat."""
    import torch

    return tensor.detach().contiguous().flatten().view(torch.uint8)


def _file(folder: Path, number: int) -> Path:
    return folder / f"call.{number}.safetensors"
