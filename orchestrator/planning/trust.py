"""What running a stored sweep would run or use, for a person to read before a sweep that someone sent runs again.

All of it is listed, harmless or not: which option or variable of which library can name code is not for us to foresee.
Nothing is imported for it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

from orchestrator.records import Build, JobSpec, PluginSpec
from orchestrator.store import Sweep

LISTED = 160
"""So many characters of a value are shown."""


def would_run(jobs: Iterable[JobSpec], online: bool) -> tuple[str, ...]:
    """Return what these jobs of a stored sweep would run or use: a phrase each, the unusual first.

    online: the sweep asks for the network.
    """
    jobs = list(jobs)
    builds = {job.workload.build for job in jobs}
    variables = {f"the environment variable {name}={value!r}" for job in jobs for name, value in job.env.items()}
    specs: dict[int, tuple[PluginSpec, str]] = {}  # by identity: a plan shares its records
    for job in jobs:
        parts = {"model": job.workload.builder, "mode": job.workload.mode, "compiler": job.compiler}
        specs |= {id(spec): (spec, what) for what, spec in {**parts, "measure": job.measure}.items()}
    count = Counter(spec.target for spec, _ in specs.values())
    classes = {
        (count[spec.target], f"{what} '{spec.name}': {spec.target} {json.dumps(dict(spec.options), default=str)}")
        for spec, what in specs.values()
    }
    environments = sorted({phrase for build in builds if build is not None for phrase in _of_build(build)})
    network = ["the network (online=true)"] if online else []
    phrases = [*environments, *sorted(variables), *network, *(phrase for _, phrase in sorted(classes))]
    return tuple(map(_short, phrases))


def command_line(sweep: Sweep) -> str:
    """Return the phrase for the stored command line, which is composed again."""
    return _short(f"the configuration that its command line names: {' '.join(sweep.argv)!r}")


def _of_build(build: Build) -> list[str]:
    made = [f"the shell command {build.setup!r}"] if build.setup is not None else []
    made += [f"what pip installs for {requirement!r}" for requirement in build.requirements]
    return made + ([f"the interpreter {build.python!r}"] if build.python is not None else [])


def _short(text: str) -> str:
    return text if len(text) <= LISTED else text[: LISTED - 1] + "…"
