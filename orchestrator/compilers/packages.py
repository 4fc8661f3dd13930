"""What compilers need besides torch: optional packages, a C++ compiler, Triton's driver, the CUDA toolkit.

Packages are looked for without importing them, and asked for with the command that installs them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import first_line
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
            raise Unsupported(f"{why} needs {module}, which cannot be imported here: {first_line(error)}") from error


def check_cpp_compiler(who: str) -> None:
    """Raise Unsupported when inductor finds no C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise Unsupported(f"{who} needs a C++ compiler here: install g++ or clang++") from error


def check_triton(who: str) -> None:
    """Raise Unsupported when Triton is missing, or what it builds its driver with when a kernel is first launched."""
    from torch.utils._triton import has_triton, has_triton_package

    lacks = None
    if not has_triton_package():
        lacks = "triton: pip install triton"
    elif not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        lacks = "a C compiler, for Triton's driver: install gcc, or name one by the variable CC"
    elif not Path(sysconfig.get_path("include"), "Python.h").is_file():
        lacks = f"Python.h, for Triton's driver: install this Python's headers (python{sys.version_info[0]}-dev)"
    elif not has_triton():
        lacks = "a GPU that triton supports (compute capability 7.0)"
    if lacks:
        raise Unsupported(f"{who} on CUDA needs {lacks}")


def check_cuda_toolkit(who: str) -> None:
    """Raise Unsupported when torch finds no CUDA toolkit with headers to compile C++ against."""
    from torch.utils import cpp_extension

    home = cpp_extension.CUDA_HOME
    remedy = "install the CUDA toolkit (nvcc and headers) of torch's version, and set CUDA_HOME to its folder"
    if home is None:
        raise Unsupported(f"{who} on CUDA needs the CUDA toolkit, which torch does not find: {remedy}")
    folders = [folder for folder in (str(Path(home, "include")), os.environ.get("CUDA_INC_PATH")) if folder]
    if not any(Path(folder, "cuda.h").is_file() for folder in folders):
        raise Unsupported(f"{who} on CUDA needs cuda.h, which is not in {' or '.join(folders)}: {remedy}")
