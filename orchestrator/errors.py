"""Errors that a person is meant to read.

Everything that bad input can cause is a `UsageError`: one message that names the value and the remedy.
`__main__` prints it without a traceback and exits with 2. Anything else that escapes is a defect of ours
and keeps its traceback. What a job raises is no error of ours: it becomes a result (`orchestrator.worker.run`).
"""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator, Sequence

from orchestrator.words import some

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])|\x9b[0-?]*[ -/]*[@-~]")
"""Colours, cursor movements, window titles (ECMA-48): left out as a whole, for their letters say nothing."""

CONTROLS = re.compile(
    f"{ESCAPES.pattern}|[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]"
)
"""Besides, all controls but tab and newline, and what turns the direction of writing."""

TRACEBACK_VARIABLE = "ORCHESTRATOR_TRACEBACK"
"""Environment variable: if set, errors come with their traceback."""

LONGEST_LINE = 1000
"""Characters of a line of a message (`shortened`)."""


class UsageError(Exception):
    """Bad input: the message names the thing, the value and what to write instead."""


def in_one_line(error: BaseException) -> str:
    """Return the type of an error and the first sentence of its message."""
    return f"{type(error).__name__}: {first_sentence(str(error)) or 'no message'}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message that says something; its type where none does."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def first_sentence(message: str) -> str:
    """Return the first line of a message; "" of an empty one. Escapes are left out.

    While it ends with a colon ("backend='x' raised:") the next one follows, after a comma one. Of what TorchScript's
    interpreter raises the last line says it, if at all; of what `torch.jit.trace` says about a tensor, the line that
    begins with a colon, after the rows of the tensor.
    """
    lines = [line.strip() for line in ESCAPES.sub("", message).splitlines() if line.strip()] or [""]
    sentence = lines.pop(0)
    if lines and sentence.endswith("TorchScript interpreter.") and not lines[-1].endswith(":"):
        return f"{sentence} {lines[-1]}"
    if sentence.endswith(","):
        told = next((f" …{line}" for line in lines if line.startswith(":")), "")
        return sentence + (told or "".join(f" {line}" for line in lines[:1]))
    while lines and sentence.endswith(":"):
        sentence += f" {lines.pop(0)}"
    return sentence


def without_escapes(text: str) -> str:
    """Return a text that can do nothing to a terminal. Its lines stay."""
    return CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def shortened(text: str) -> str:
    """Return a message whose lines have `LONGEST_LINE` characters at most: a value in it may be of any length."""
    half = LONGEST_LINE // 2
    return "\n".join(
        line
        if len(line) <= LONGEST_LINE
        else f"{line[:half]} … {len(line) - LONGEST_LINE:,} characters … {line[-half:]}"
        for line in text.splitlines()
    )


def printable(text: str) -> list[str]:
    """Return the lines of a text, none of which can do anything to a terminal. Indentation is kept."""
    plain = ESCAPES.sub("", text).expandtabs(4)
    return ["".join(c for c in line if c.isprintable()).rstrip() for line in plain.splitlines()]


def did_you_mean(value: str, known: Iterable[str]) -> str:
    """Return `" did you mean 'x'?"`-style advice with the nearest legal name, and the legal names.

    At most twelve names are listed; the number of the others is given. `value` may be of any type: what is asked for in
    a configuration is not always a name.
    """
    names = sorted(known)
    return f"{suggestion(near(str(value), names))}Available: {some(names, 12) or 'none'}"


def suggestion(names: Sequence[str]) -> str:
    """Return "did you mean 'a' or 'b'? ", nothing without a name."""
    return f"did you mean {' or '.join(map(repr, names))}? " if names else ""


def near(
    value: str, known: Iterable[str], *, typos: bool = True, parts: bool = True, numbers: bool = False
) -> list[str]:
    """Return the names that `value` may be: the same but for case and signs, one with a slip, or which it is a part of.

    Words with other digits (float64, float16), and short ones with another first letter (gpu, cpu), are no slips of
    each other. typos, parts: False leaves out slips, or what it is a part of; numbers: True takes one wrong digit of
    several for a slip, too (float15, float16).
    """
    names = list(known)
    word = _letters(value)
    same = [name for name in names if word and _letters(name) == word]
    if same:
        return same[:1]
    letters = {_letters(name): name for name in names}
    slips = difflib.get_close_matches(word, list(letters), n=3, cutoff=0.6) if typos else []
    slip = next((slip for slip in slips if _may_be(word, slip, numbers)), None)
    if slip is not None:
        return [letters[slip]]
    own = set(_parts(value))
    wholes = [name for name in names if parts and len(word) > 2 and own < set(_parts(name))]
    fewest = min((len(_parts(name)) for name in wholes), default=0)
    return [name for name in wholes if len(_parts(name)) <= fewest + 1][:3]


def _may_be(word: str, other: str, numbers: bool) -> bool:
    """Return whether one word may be a slip of another that has most of its letters."""
    own, others = (re.sub(r"\D", "", text) for text in (word, other))
    wrong = sum(one != two for one, two in zip(own, others, strict=False))
    if own != others and not (numbers and len(own) == len(others) > 1 and wrong == 1):
        return False
    alike = difflib.SequenceMatcher(None, word, other).ratio()
    return alike >= 0.8 if word[:1] != other[:1] else alike >= 0.6


def _letters(name: str) -> str:
    return re.sub(r"[\s_./:-]", "", name.lower())


def _parts(name: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+", name.lower())


OUT_OF_MEMORY_WORDS = (
    *("out of memory", "memoryerror", "can't allocate memory", "cannot allocate memory", "std::bad_alloc"),
    *("_alloc_failed", "_allocation_failed", "error_out_of_memory", "errormemoryallocation"),  # cuBLAS, cuDNN, CUDA
    "unable to find an engine",  # cuDNN: no algorithm's workspace fits
    *("failed to allocate memory", "could not be allocated"),  # onnxruntime, TensorRT
)
"""What Python, C++, the system, torch, CUDA's libraries and compilers say when memory ends, in small letters."""
DEVICE_WORDS = (
    *("busy or unavailable", "uncorrectable ecc", "is lost", "fallen off the bus", "no cuda-capable device"),
    "no cuda gpus are available",
    *("driver version is insufficient", "unsupported display driver", "system not yet initialized"),
    *("cuda error: initialization error", "driver initialization failed", "found no nvidia driver", "mps server"),
)
"""What CUDA says when the device, its driver or who else uses it is at fault, whatever was asked of it."""
OF_CUDA = ("cuda", "nvidia", "gpu")
"""One of them is in its messages."""
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EFBIG})
DESCRIPTOR_ERRORS = frozenset({errno.EMFILE, errno.ENFILE})
DISK_WORDS = (
    *("no space left on device", "disk quota exceeded", "read-only file system", "stale file handle"),
    *("too many open files", "file too large"),
)


class DeviceFailure(RuntimeError):
    """A device could not do what every device can: it is broken, or somebody else has it. The job has no part in it."""


def says_out_of_memory(text: str) -> bool:
    """Return whether a message, or the log of a process that died, says that memory could not be allocated."""
    return any(word in text.lower() for word in OUT_OF_MEMORY_WORDS)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception is an allocator's, of host or device, also when a compiler has wrapped it."""
    return any(isinstance(one, MemoryError) or says_out_of_memory(str(one)) for one in _chain(error))


def is_device_failure(error: BaseException) -> bool:
    """Return whether a GPU or its driver failed, also when a compiler has wrapped it."""
    return any(
        isinstance(one, DeviceFailure)
        or (any(name in (text := str(one).lower()) for name in OF_CUDA) and any(word in text for word in DEVICE_WORDS))
        for one in _chain(error)
    )


def is_disk_failure(error: BaseException) -> bool:
    """Return whether a disk was full, over its quota, read-only or broken, or a limit of the process forbade to open or
    to write a file (ulimit -n, -f), also when a compiler has wrapped it.

    Whatever was being done did not fail by its own fault. A C++ compiler, or safetensors, says it in words only.
    """
    return any(
        (isinstance(one, OSError) and one.errno in DISK_ERRORS | DESCRIPTOR_ERRORS)
        or any(word in str(one).lower() for word in DISK_WORDS)
        for one in _chain(error)
    )


def machine_refuses(error: BaseException) -> str | None:
    """Return what the machine has no more of, and what to do, where that is what an exception is about; else None."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return "there is no memory left: end what else runs here, or raise the limit (ulimit -v, the control group's)"
    if not isinstance(error, OSError):
        return None
    if error.errno in DESCRIPTOR_ERRORS:
        return "no more files may be open: raise the limit (ulimit -n)"
    if error.errno == errno.EAGAIN:
        return "no more processes may be started: end some, or raise the limit (ulimit -u, the control group's)"
    if error.errno in DISK_ERRORS:
        return "the disk is full, broken or read-only, or a limit forbids so large a file (quota, ulimit -f): repair it"
    return None


REMEDIES: tuple[tuple[tuple[str, ...], bool | None, str], ...] = (
    (
        ("does not require grad and does not have a grad_fn",),
        False,
        "mode=inference runs under torch.no_grad(): wrap what differentiates in torch.enable_grad() in the model, or "
        "take mode=training",
    ),
    (
        ("backward through the graph a second time",),
        True,
        "the model keeps a tensor with its graph from one step to the next: detach() what it keeps",
    ),
    (
        ("mat1 and mat2 must have the same dtype", "expected scalar type"),
        None,
        "the model makes a tensor of a dtype of its own: make it with dtype=x.dtype, or take dtype=amp_bfloat16 or "
        "float32",
    ),
    (
        ("not implemented for 'Half'", "not implemented for 'BFloat16'"),
        None,
        "this device has no such operator in that dtype: let the model compute it in float32, or take dtype=float32",
    ),
    (
        ("Couldn't load custom C++ ops",),
        None,
        "torchvision's compiled part does not fit this torch: install the torchvision built for it",
    ),
    (
        ("output of CUDAGraphs that has been overwritten",),
        None,
        "the next replay of a CUDA graph writes where this result is: where a model keeps what it returned, as "
        "cache=dynamic does, take mode.options.cache=static, or a compiler without CUDA graphs (inductor)",
    ),
)
"""Words of a message of torch's, the steps that it is about (with gradients, without, None: both), what to do."""


def remedy(error: BaseException, *, training: bool) -> str:
    """Return what to do about an exception whose cause is known, also when a compiler has wrapped it; else nothing."""
    said = [str(one) for one in _chain(error)]
    for words, steps, advice in REMEDIES:
        if steps in (None, training) and any(word in message for message in said for word in words):
            return advice
    return ""


def came_of_interrupt(error: BaseException) -> bool:
    """Return whether an exception came of Ctrl-C: a library's `finally` may fail where nothing was opened yet, and
    Python 3.11 has a RuntimeError around what is raised in `__set_name__`."""
    return any(isinstance(one, KeyboardInterrupt) for one in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, and what caused it, each once: one that is raised again may be among its own causes."""
    one: BaseException | None = error
    seen: set[int] = set()
    while one is not None and id(one) not in seen:
        yield one
        seen.add(id(one))
        one = one.__cause__ or one.__context__
