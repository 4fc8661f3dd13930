"""Two that take turns by their pipes, without a scheduler: here two threads, which have a CPU each."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from orchestrator.batons import FIRST, SECOND, VARIABLE, Baton, Pipes


@pytest.mark.parametrize("follows", [True, False])
def test_the_second_goes_on_where_the_first_has_run_once_it_is_warm(tmp_path: Path, follows: bool) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    pipes = Pipes(tmp_path, ("a", "b"))
    assert [pipes.environment(job)[VARIABLE] for job in "ab"] == [str(tmp_path / FIRST), str(tmp_path / SECOND)]
    seen: dict[str, set[int]] = {}

    def first() -> None:
        os.sched_setaffinity(0, {cpus[-1]})  # of this thread
        baton = Baton(tmp_path / FIRST)
        baton.begin()
        baton.leave()
        seen["first"] = os.sched_getaffinity(0)

    def second() -> None:
        baton = Baton(tmp_path / SECOND)
        if follows:
            baton.follow()
        baton.begin()
        seen["second"] = os.sched_getaffinity(0)
        baton.leave()

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    threads[1].join(20)
    assert not pipes.ended("b")  # and so the first hears that it is alone
    threads[0].join(20)
    assert pipes.ended("a")
    assert seen == {"first": {cpus[-1]}, "second": {cpus[-1]} if follows else set(cpus)}
