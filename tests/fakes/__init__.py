"""Plug-ins and jobs that misbehave in known ways, for tests with real processes."""
