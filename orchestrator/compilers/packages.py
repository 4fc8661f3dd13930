"""Optional packages of compilers: looked for without importing them, asked for with the command that installs them."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping

from orchestrator.plugins import Unsupported

INSTALL: Mapping[str, str] = {
    "onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "onnxscript": "onnxscript",
    "openvino": "openvino",
    "torch_tensorrt": "torch-tensorrt",
    "torch_xla": "torch_xla",
    "torchao": "torchao",
    "mslk": "mslk-cuda",
    "intel_extension_for_pytorch": "intel-extension-for-pytorch",
}
"""Top-level module -> the name under which pip knows it."""


def present(*modules: str) -> tuple[str, ...]:
    """Return those of the modules whose package is installed; nothing is imported."""
    return tuple(module for module in modules if importlib.util.find_spec(module.partition(".")[0]) is not None)


def require(why: str, *modules: str) -> None:
    """Import the modules. Raises Unsupported, with the pip command, for what is missing or cannot be imported.

    `why` begins the message: what needs them.
    """
    missing = [module for module in modules if module not in present(module)]
    if missing:
        names = " ".join(dict.fromkeys(INSTALL[module.partition(".")[0]] for module in missing))
        raise Unsupported(f"{why} needs {', '.join(missing)}, which is not installed: pip install {names}")
    for module in modules:
        try:
            importlib.import_module(module)
        except (ImportError, OSError, RuntimeError) as error:  # OSError: a shared library of another version
            raise Unsupported(f"{why} needs {module}, which cannot be imported here: {_line(error)}") from error


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
