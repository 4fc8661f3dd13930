"""What goes through torch's dispatcher: operators with the shapes and dtypes of their inputs, and the bytes they move.

Imported where a measure runs: it needs torch. A dispatch mode disables compiled code, so all of this is of eager code.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

DTYPES: Mapping[torch.dtype, str] = {
    torch.bfloat16: "bf16",
    torch.float64: "f64",
    torch.float32: "f32",
    torch.float16: "f16",
    torch.complex32: "c32",
    torch.complex64: "c64",
    torch.complex128: "c128",
    torch.int8: "i8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "b8",
    torch.uint8: "u8",
}
"""The abbreviations that PyTorch's benchmarks/dynamo/microbenchmarks/operator_inp_utils.py reads; it has no others."""


class OperatorCounter(TorchDispatchMode):
    """Counts the calls of every operator by the text of its inputs: `counts[operator][inputs]`.

    Left out are calls without a tensor among their inputs or their results, and those that are no work
    (`is_compute`), unless `everything`.
    """

    def __init__(self, *, everything: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.everything = everything
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = (args, kwargs or {})
        wanted = (self.everything or is_compute(func)) and _any_tensor(inputs) and not _is_layout_call(inputs)
        seen = text(inputs) if wanted else ""  # before the call, which may write into its inputs
        results = func(*args, **(kwargs or {}))
        if wanted and _any_tensor(results):
            self.counts[str(func)][seen] += 1
        return results


class TrafficCounter(TorchDispatchMode):
    """Sums the bytes of the tensors that operators read and write: each call's inputs and results once.

    What eager code moves if no cache helps; views move nothing, and an expanded dimension is one element long.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            self.bytes += sum(map(_bytes_of, _tensors((args, kwargs or {}, results))))
        return results


class TouchedBytes(TorchDispatchMode):
    """Sums the bytes of those of `tensors` that operators work on, each once: what any code has to read of them.

    Of a table in which rows are looked up, those rows; of a part of a tensor, the part. What a call writes into them is
    not counted again. After `again()`, which a step of several calls of a model asks for, all are to be read anew.
    """

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        storages = (tensor.untyped_storage() for tensor in tensors)
        self._sizes = {at: storage.nbytes() for storage in storages if (at := storage.data_ptr())}
        self._seen: dict[int, dict[tuple[Any, ...], int]] = defaultdict(dict)
        self._before = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            limit = sum(map(_bytes_of, _tensors(results))) if func in LOOK_UPS else None
            for tensor in _tensors((args, kwargs or {})):
                self._see(tensor, limit)
        return results

    def _see(self, tensor: torch.Tensor, limit: int | None) -> None:
        if not self.knows(tensor):
            return
        part = (tensor.storage_offset(), tuple(tensor.shape), limit)
        size = _bytes_of(tensor)
        self._seen[tensor.untyped_storage().data_ptr()][part] = size if limit is None else min(size, limit)

    def knows(self, tensor: torch.Tensor) -> bool:
        """Return whether a tensor lies in the memory of one of those that are looked for."""
        return tensor.layout is torch.strided and tensor.untyped_storage().data_ptr() in self._sizes

    def again(self) -> None:
        """Count from now on what has been seen once more."""
        self._before = self.bytes
        self._seen.clear()

    @property
    def bytes(self) -> int:
        """Parts that overlap are no more than the whole."""
        return self._before + sum(min(sum(parts.values()), self._sizes[at]) for at, parts in self._seen.items())


LOOK_UPS = frozenset(
    {
        torch.ops.aten.embedding.default,
        torch.ops.aten.index_select.default,
        torch.ops.aten.index.Tensor,
        torch.ops.aten.gather.default,
    }
)
"""Operators that read no more of a tensor than they return."""


def is_compute(operator: Any) -> bool:
    """Return whether an operator does work: no view, no constructor (nothing that takes no tensor, nothing `_like`)."""
    schema = getattr(operator, "_schema", None)
    if schema is None:  # a higher-order operator
        return True
    if "_like" in schema.name or not any("Tensor" in str(argument.type) for argument in schema.arguments):
        return False
    return not operator.is_view


def text(value: Any) -> str:
    """Return inputs as operator_inp_utils.py writes and reads them: `((T([2, 64], f32), 1.0), {'dtype': f16})`.

    A tensor that is not contiguous has its stride. A random generator becomes None, the default one.
    """
    if isinstance(value, torch.Tensor):
        return _tensor_text(value)
    if isinstance(value, torch.dtype):
        return DTYPES.get(value, repr(value))
    if isinstance(value, torch.device):
        return repr(value.type)
    if isinstance(value, torch.Generator):
        return "None"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple) and not isinstance(value, torch.Size):
        return f"({text(value[0])},)" if len(value) == 1 else f"({', '.join(map(text, value))})"
    if isinstance(value, (list, torch.Size)):
        return f"[{', '.join(map(text, value))}]"
    return repr(value)


def log_text(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Return counts as a file that operator_inp_utils.py reads: operators by name, inputs in the order of calls."""
    lines = []
    for operator in sorted(counts):
        lines += [f"Operator: {operator}", *(f"cnt: {count}, {seen}" for seen, count in counts[operator].items())]
    return "\n".join([*lines, ""])


def _tensor_text(tensor: torch.Tensor) -> str:
    shape, dtype = list(tensor.shape), DTYPES.get(tensor.dtype, repr(tensor.dtype))
    if tensor.is_sparse:
        return f"ST({shape}, {dtype}, {tensor.layout}, {tensor.is_coalesced()}, {tensor._nnz()})"
    if tensor.layout is torch.strided and not tensor.is_contiguous():
        return f"T({shape}, {dtype}, stride={tuple(tensor.stride())})"
    return f"T({shape}, {dtype})"


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_iter(value) if isinstance(leaf, torch.Tensor))


def _any_tensor(value: Any) -> bool:
    return any(True for _ in _tensors(value))


def _is_layout_call(value: Any) -> bool:
    """True for calls with a memory format or a storage: constructors and the like, which the format cannot hold."""
    return any(isinstance(leaf, (torch.memory_format, torch.UntypedStorage)) for leaf in tree_iter(value))


def _bytes_of(tensor: torch.Tensor) -> int:
    if tensor.layout is not torch.strided:
        return 0
    count = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        count *= size if stride or size == 0 else 1
    return count * tensor.element_size()
