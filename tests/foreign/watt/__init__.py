"""A package from outside, which orchestrator knows nothing of: a measure, a compiler, a mode and a suite."""
