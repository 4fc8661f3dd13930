"""Tensors on the disk, call by call: what references, and timed code, leave for the jobs that compare with them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.measures.calls import Call, Tensors, unchanged

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Tensorfiles:
    """The tensors that the calls of a series left, in one kind of arithmetic: a file for each call, safetensors (no
    pickle).

    What a later call with the same inputs leaves unchanged is in the file of the earlier one only.
    """

    folder: Path
    kind: str
    calls: list[Call]

    def write(self, place: int, tensors: Tensors) -> None:
        """Store, atomically, what call number `place` left."""
        from safetensors.torch import save_file

        earlier = self._earlier(place)
        new = dict(tensors)
        if earlier is not None:
            with self._open(earlier) as file:
                known = set(file.keys())
                new = {n: t for n, t in tensors.items() if n not in known or not unchanged(file.get_tensor(n), t)}
        path = self._path(place)
        temporary = path.with_suffix(".tmp")
        save_file({name: tensor.contiguous() for name, tensor in new.items()}, temporary)
        os.replace(temporary, path)

    def read(self, place: int, names: list[str]) -> Tensors:
        """Return name -> tensor; each is read when it is asked for."""
        return _Lazy(self, place, names)

    def exists(self) -> bool:
        return all(self._path(place).exists() for place in range(len(self.calls)))

    def remove(self) -> None:
        for place in range(len(self.calls)):
            self._path(place).unlink(missing_ok=True)

    def tensor(self, place: int, name: str) -> torch.Tensor | None:
        """Return one tensor of a call; None where there is none."""
        for number in (place, self._earlier(place)):
            if number is not None:
                with self._open(number) as file:
                    if name in file.keys():  # noqa: SIM118 - no dict
                        tensor: torch.Tensor = file.get_tensor(name)
                        return tensor
        return None

    def _earlier(self, place: int) -> int | None:
        """Return the first call with the same inputs as an earlier one; None where this is the first."""
        first = next(number for number, call in enumerate(self.calls) if call.inputs == self.calls[place].inputs)
        return first if first < place else None

    def _path(self, place: int) -> Path:
        return self.folder / f"{self.kind}.{place}.safetensors"

    def _open(self, place: int) -> Any:
        from safetensors import safe_open

        return safe_open(self._path(place), framework="pt")


class _Lazy(Mapping[str, "torch.Tensor"]):
    """The tensors of one call: in memory one at a time."""

    def __init__(self, files: Tensorfiles, place: int, names: list[str]) -> None:
        self._files, self._place, self._names = files, place, dict.fromkeys(names)

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._files.tensor(self._place, name) if name in self._names else None
        if tensor is None:
            raise KeyError(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
