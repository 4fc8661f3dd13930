"""A campaign of faults against real sweeps: `make chaos` (docs/reliability.md).

schedule    which faults, in which sweep, after how many results: a seeded random list
injectors   how each fault is done to the processes and files of a running sweep
sweeps      the real command, its resumes, and its processes
invariants  what must hold whatever was done
campaign    runs the schedule, and counts
"""
