"""How large what is read may be. Sweeps are exchanged between people, and a small file can become gigabytes.

What is larger is refused, in words that name the limit; ours are far below.
"""

from __future__ import annotations

HEADER = 8 << 20
"""Bytes of sweep.json, which has every grid point: of 1,000 it has 1.5 MB, so that it holds over 5,000."""
PLAN = 48 << 20
"""Bytes of plan.json. Of 100,000 jobs it has 38 MB; parsed, a file may take 13 times its size."""
RESULT = 8 << 20
"""Bytes of a result or a job. Ours have 7 kB with every sample that was taken, and 3 MB at most of thousands."""
RESULTS, RESULTS_EACH = 128 << 20, 32 << 10
"""Bytes of all results of a sweep: so many, and so many more for each job."""
LIST_BYTES = 32
"""A file has one object or list for so many of the bytes that it may have, at most: each takes 100 in memory, and more.
Ours have one for 68."""
FILE = 64 << 20
"""Bytes of any other file that is read whole: a baseline, tables, CSV."""
RULES = 1 << 20
"""Bytes of a gate's rules, or of a configuration file that is copied to a rerun's folder."""
LOCK = 4096
"""Bytes of what a lock says of its holder."""
LOG_LINE = 1 << 20
"""Bytes of a line of a log that is shown at once."""

JOBS = 100_000
"""Of one sweep: its tables are made in memory, of some 10 kB a job."""
ROUNDS = 100_000
METRICS = 1000
"""Samples of so many metrics in one result. Ours have twenty."""
NAME = 1000
"""Characters of a name: of a suite, a model, a compiler, ... It stands in every row of every table."""
MESSAGE = 8000
"""Characters of why a job failed."""
RECORD = 256 << 10
"""Characters of a workload or a plug-in with all its options, as JSON. Those of Hugging Face have 2,000."""
RECORDS = 1 << 30
"""Characters of a plan in which every job had records of its own: what a small file of many jobs, which all refer to a
few large records, would become in tables."""
DEEPEST = 64
"""Levels of lists and objects in each other, in JSON."""
WORD = 2**63
"""Integers are smaller, as in a column of a table."""
SECONDS = 366 * 86400.0
"""A time-out or a cost, at most: a year. The sum over all jobs of a sweep stays a number, and a date."""
GIB = 2**20
"""A limit of memory, at most."""
LAST_SECOND = 1e11
"""Times are between 1970 and the year 5138: others have no date."""
