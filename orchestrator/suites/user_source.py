"""What is wrong with a file of somebody's models, as far as its source says it: looked at when planning, never run.

What depends on running it (a base class from elsewhere, a decorator, a star import) is left to the job.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.errors import did_you_mean
from orchestrator.suites.rules import EXAMPLE, KEY

INPUTS = "get_example_inputs"
MODULES = ("torch.nn.Module", "nn.Module", "Module", "object")
AT_RUN_TIME = (b"globals()", b"exec(", b"__getattr__")
"""Ways to bind names that the source does not show."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def check(path: Path, name: str, arguments: Sequence[str], *, inputs: bool = False) -> None:
    """Raise ValueError for a file that cannot be read or parsed, or whose `name(**arguments)` cannot make a model.

    inputs: there are rules for its inputs, so that the file needs not give any.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        beside = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        near = f": {did_you_mean(path.name, beside)}" if beside else ""
        raise ValueError(f"{path} cannot be read: {error.strerror}{near}") from error
    try:
        tree = ast.parse(text, str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ValueError(f"{path}{line} is not Python: {getattr(error, 'msg', error)}") from error
    defined = dict(_defined(tree.body))
    if "*" in defined or any(word in text for word in AT_RUN_TIME):
        return
    if name not in defined:
        known = [key for key, node in defined.items() if isinstance(node, (ast.ClassDef, Function)) and key[0] != "_"]
        raise ValueError(f"{path} has no class or function '{name}': {did_you_mean(name, known)}")
    _check(path, name, defined, arguments, inputs)


def _check(path: Path, name: str, defined: Mapping[str, ast.AST], arguments: Sequence[str], inputs: bool) -> None:
    node = defined[name]
    if isinstance(node, ast.Call) and isinstance(defined.get(ast.unparse(node.func)), ast.ClassDef):
        maker = ast.unparse(node.func)
        raise ValueError(
            f"'{name}' of {path} is a model that is made already: name what makes one, {path.name}:{maker}, or write "
            f"def make(): return {ast.unparse(node)} and name that: each job makes its own, with its seed"
        )
    if isinstance(node, ast.ClassDef):
        classes = _bases(node, defined)
        makers = [one for owner in classes or () for one in owner.body if isinstance(one, Function)]
        init = next((one for one in makers if one.name == "__init__"), None)
        if init is not None and not node.decorator_list:
            _expect_arguments(path, name, init.args, arguments)
        if classes is not None and not inputs and INPUTS not in (*defined, *(one.name for one in makers)):
            raise ValueError(
                f"{name} has no {INPUTS}(): write it as a method of {name} or as a function of {path}; it returns a "
                "tensor, a tuple or a dict of tensors, batch first (docs/suites.md); or write rules, as in "
                f"'{KEY}.x={EXAMPLE}'"
            )
    elif isinstance(node, Function) and not node.decorator_list:
        _expect_arguments(path, name, node.args, arguments, skip=0)


def _expect_arguments(path: Path, name: str, parameters: ast.arguments, given: Sequence[str], *, skip: int = 1) -> None:
    """Raise ValueError when a call with the keywords `given` does not fit. skip: parameters in front: self."""
    positional = [*parameters.posonlyargs, *parameters.args]
    without = positional[skip : len(positional) - len(parameters.defaults)]
    alone = zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True)
    required = [one.arg for one in (*without, *(one for one, default in alone if default is None))]
    missing = [one for one in required if one not in given]
    where = "suite.common.build.arguments"
    if missing:
        raise ValueError(f"{name} of {path} needs {', '.join(missing)}: give a default, or {where}.{missing[0]}=...")
    known = [one.arg for one in (*positional[skip:], *parameters.kwonlyargs)]
    unknown = [one for one in given if one not in known]
    if unknown and parameters.kwarg is None:
        raise ValueError(
            f"{where}.{unknown[0]}: {name} of {path} takes no such argument: {did_you_mean(unknown[0], known)}"
        )


def _bases(node: ast.ClassDef, defined: Mapping[str, ast.AST]) -> list[ast.ClassDef] | None:
    """Return a class and those of its file that it inherits from; None where one is from elsewhere."""
    found = [node]
    for base in map(ast.unparse, node.bases):
        owner = defined.get(base)
        if isinstance(owner, ast.ClassDef) and owner is not node:
            above = _bases(owner, defined)
            if above is None:
                return None
            found += above
        elif base not in MODULES:
            return None
    return found


def _defined(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that statements bind at the top of a file, and what to; "*" of a star import."""
    for node in body:
        if isinstance(node, (ast.ClassDef, Function)):
            yield node.name, node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name.partition(".")[0], node) for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
            yield from ((name, node.value or node) for name in names)
        else:
            inner = [one for one in ast.iter_child_nodes(node) if isinstance(one, ast.stmt)]
            handlers = [one for handler in getattr(node, "handlers", ()) for one in handler.body]
            yield from _defined([*inner, *handlers])


def of_module(name: str) -> Path | None:
    """Return the source of a module that can be imported from here; None where that cannot be told without importing.

    Raises ValueError when there is no such module.
    """
    places: Sequence[str] | None = [str(Path.cwd()), *sys.path]
    parts = name.split(".")
    spec = None
    for index in range(len(parts)):
        whole = ".".join(parts[: index + 1])
        spec = importlib.machinery.PathFinder.find_spec(whole, places)
        if spec is None and index == 0:
            spec = importlib.util.find_spec(whole)  # what an editable installation finds in its own way
        if spec is None:
            raise ValueError(
                f"there is no module '{whole}' in the folder where the command runs, in PYTHONPATH, or installed"
            )
        places = spec.submodule_search_locations
        if places is None and index + 1 < len(parts):
            return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None
