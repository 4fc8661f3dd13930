"""Does a sample's result depend on how many others are in its batch? It must not, to the bit.

As `--batch-invariant` of PyTorch's benchmarks/dynamo: the batch is cut down to its first N // 2, N // 4, ..., 1
samples, each compiled afresh, and the outputs must be slices of those of the whole batch. Forward only, in eval mode.

Two things are otherwise. The batch is no dimension that happens to be N: it is the one that goes from N to N // 2 when
the inputs are built for N // 2, and when the outputs are computed from N // 2 samples. And a compiler is not blamed for
what eager does too: eager goes first, and what it does is taken off.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orchestrator import columns, precision
from orchestrator.columns import TableSpec
from orchestrator.measures.calls import Tensors
from orchestrator.measures.context import Context
from orchestrator.measures.distances import in_json, severity
from orchestrator.measures.reference import make_deterministic
from orchestrator.measures.shapes import Shape, build_inputs
from orchestrator.plugins import Outcome, Unsupported
from orchestrator.precision import computed_in
from orchestrator.records import FAIL_ACCURACY, OBSERVED, PASS, PASS_DUE_TO_SKIP

if TYPE_CHECKING:
    import torch

Axes = Mapping[str, int]
Differences = Mapping[str, "torch.Tensor | None"]


@dataclass(frozen=True)
class BatchInvariance:
    """The whole batch is the workload's: 8 unless `batch_size` says another.

    A tensor that is not invariant in eager passes where the compiled difference is eager's, element by element, to
    within sqrt(eps) of the tensor's root mean square, eps of the coarser of its dtype and the workload's: kernels round
    otherwise for other sizes, and a model may mix samples.
    """

    kind: ClassVar[str] = OBSERVED
    shareable: ClassVar[bool] = True
    default_batch_size: ClassVar[int] = 8
    deterministic: ClassVar[bool] = True
    TABLES: ClassVar[Mapping[str, TableSpec]] = {
        "batch_invariance": TableSpec(
            (
                columns.count("slice_batch_size", "the first so many samples of the batch, on their own"),
                "tensors",
                "tensors_failed",
                "worst_tensor",
                "max_abs_error",
                columns.number("eager_max_abs_error", "the same difference of that tensor in eager"),
                columns.text(
                    "left_out",
                    "outputs that are not checked, with their shapes for all samples and for half: none has one batch",
                ),
            )
        ),
    }

    def run(self, context: Context) -> Outcome:
        if context.mode.training:
            raise Unsupported("batch invariance is asked of a forward pass: mode=inference")
        whole = context.workload.batch_size
        if whole < 2:
            return Outcome(PASS_DUE_TO_SKIP, f"a batch of {whole} has no smaller ones: batch_size=8")
        make_deterministic()
        precision.use(context.workload, judged=True)
        with context.phase("build"):
            inputs = context.build(dropout=False).inputs
            try:
                batches = _of_inputs(context, inputs)
            except _NoBatch as reason:
                return Outcome(PASS_DUE_TO_SKIP, str(reason))
        expected = observe(context, inputs, batches, whole, compiled=False)
        half = observe(context, inputs, batches, whole // 2, compiled=False)
        axes = {
            name: axis for name in expected if (axis := batch_axis(expected[name], half.get(name), whole)) is not None
        }
        left_out = "; ".join(_shapes(name, expected, half) for name in expected if name not in axes)
        if not axes:
            return Outcome(PASS_DUE_TO_SKIP, f"no output has one dimension that is the batch ({left_out})")
        compiled = None if context.is_eager else observe(context, inputs, batches, whole, compiled=True)
        own, wrong = [], []
        for size in smaller(whole):
            part = half if size == whole // 2 else observe(context, inputs, batches, size, compiled=False)
            found = by_eager = differences(expected, part, axes, size)
            failed = dict(by_eager)
            if compiled is not None:
                part = observe(context, inputs, batches, size, compiled=True)
                found = differences(compiled, part, axes, size)
                failed = {
                    name: difference
                    for name, difference in found.items()
                    if not _as_eager(difference, by_eager.get(name), expected[name], computed_in(context.workload))
                }
            own += _said(by_eager, whole, size)
            wrong += _said(failed, whole, size)
            worst = _worst(failed or found)
            context.find(
                "batch_invariance",
                slice_batch_size=size,
                tensors=len(axes),
                tensors_failed=len(failed),
                worst_tensor=worst,
                max_abs_error=None if worst is None else _size(found[worst]),
                eager_max_abs_error=None if compiled is None or worst is None else _size_of(by_eager, worst),
                left_out=left_out or None,
            )
        itself = f"the model itself, in eager, is not batch-invariant: {'; '.join(own)}" if own else ""
        if compiled is None or not wrong:
            return Outcome(FAIL_ACCURACY if wrong else PASS, itself)
        return Outcome(FAIL_ACCURACY, "; ".join(wrong) + (f" (beyond eager: {itself})" if itself else ""))


class _NoBatch(Exception):
    """The batch is not found among the inputs; the message says why."""


def smaller(whole: int) -> Iterator[int]:
    """Yield whole // 2, whole // 4, ..., 1."""
    while whole := whole // 2:
        yield whole


def batch_axis(whole: torch.Tensor, part: torch.Tensor | None, samples: int) -> int | None:
    """Return the one dimension that goes from `samples` to half of them, where it is the only one that changes."""
    if part is None or part.ndim != whole.ndim:
        return None
    changed = [axis for axis, sizes in enumerate(zip(whole.shape, part.shape, strict=True)) if len({*sizes}) > 1]
    if len(changed) != 1 or (whole.shape[changed[0]], part.shape[changed[0]]) != (samples, samples // 2):
        return None
    return changed[0]


def _of_inputs(context: Context, inputs: Tensors) -> Axes:
    """Return input name -> its batch dimension, of those that have one. Raises _NoBatch."""
    whole = context.workload.batch_size
    try:
        fewer = build_inputs(context, Shape(whole // 2, context.workload.sequence_length))
    except (ValueError, Unsupported) as error:
        raise _NoBatch(f"no inputs for {whole // 2} samples, to see where the batch is: {error}") from error
    axes = {}
    for name, tensor in inputs.items():
        if name in fewer and fewer[name].shape == tensor.shape:
            continue
        axis = batch_axis(tensor, fewer.get(name), whole)
        if axis is None:
            raise _NoBatch(f"an input has no one dimension that is the batch: {_shapes(name, inputs, fewer)}")
        axes[name] = axis
    if not axes:
        raise _NoBatch(f"no input changes with the batch size: {_shapes(next(iter(inputs)), inputs, fewer)}")
    return axes


def observe(context: Context, inputs: Tensors, axes: Axes, size: int, *, compiled: bool) -> dict[str, torch.Tensor]:
    """Build the model afresh, and compile it; return what it makes of the first `size` samples, outputs by name.

    Not a copy of a model: one with a weight that is computed (weight_norm) cannot be copied.
    """
    import torch

    with context.phase(f"{'' if compiled else 'eager_'}batch_{size}", children=compiled):
        if compiled:
            torch.compiler.reset()
        part = {
            name: x.narrow(axes[name], 0, size).clone() if name in axes else x.clone() for name, x in inputs.items()
        }
        program = dataclasses.replace(context.build(dropout=False), inputs=part)
        workload = dataclasses.replace(context.workload, batch_size=size)
        context.seed()
        forward = context.compiler.compile(program, workload) if compiled else program.model
        found = context.mode.observe(program, forward, workload)
    return {name: tensor for name, tensor in found.items() if name.partition(".")[0] == "output"}


def differences(whole: Tensors, part: Tensors, axes: Axes, size: int) -> Differences:
    """Return, of each tensor whose part is not the slice of the whole to the bit, slice - part in float64.

    NaN equals NaN, and what is equal has the difference 0. None where the shapes or dtypes do not fit.
    """
    import torch

    found: dict[str, torch.Tensor | None] = {}
    for name, axis in axes.items():
        one, two = whole.get(name), part.get(name)
        if one is None or two is None or axis >= one.ndim or one.shape[axis] < size:
            found[name] = None
            continue
        one = one.narrow(axis, 0, size)
        if one.shape != two.shape or one.dtype != two.dtype:
            found[name] = None
            continue
        same = (one == two) | (one.isnan() & two.isnan())
        if not same.all():
            found[name] = torch.where(same, 0.0, one.double() - two.double())
    return found


def _as_eager(difference: torch.Tensor | None, by_eager: torch.Tensor | None, output: torch.Tensor, dtype: str) -> bool:
    """Return whether the compiled difference is the one that eager has; an integer may be another where eager's is."""
    import torch

    if difference is None or by_eager is None:
        return False
    if not output.is_floating_point():
        return True
    eps = max(torch.finfo(kind).eps for kind in (output.dtype, getattr(torch, dtype)))
    finite = output.double()[output.isfinite()]
    scale = float(finite.square().mean().sqrt()) if finite.numel() else 0.0
    return bool(((difference - by_eager).abs() <= eps**0.5 * scale).all())


def _said(found: Differences, whole: int, size: int) -> list[str]:
    worst = _worst(found)
    if worst is None:
        return []
    error = _size(found[worst])
    how = "has another shape or dtype" if error is None else f"by {error}"
    return [f"batch {size} is no slice of {whole}: {worst} {how}"]


def _worst(found: Differences) -> str | None:
    """Return the name of what is furthest off; what cannot be compared, and what is not a number, is worst."""
    return max(found, key=lambda name: severity(_size(found[name])), default=None)


def _size(difference: torch.Tensor | None) -> float | str | None:
    return None if difference is None else in_json(float(difference.abs().max()))


def _size_of(found: Differences, name: str) -> float | str | None:
    return _size(found[name]) if name in found else 0.0


def _shapes(name: str, whole: Tensors, part: Tensors) -> str:
    halved = f"{list(part[name].shape)} of half the samples" if name in part else "absent with half the samples"
    return f"{name}: {list(whole[name].shape)}, {halved}"
