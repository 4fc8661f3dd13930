"""orchestrator: which compiler is faster, smaller and still correct for my models?"""

__version__ = "0.1.0"

DISTRIBUTION = "compiler-verdict"
"""What the package index calls this package: `pip install compiler-verdict`."""
