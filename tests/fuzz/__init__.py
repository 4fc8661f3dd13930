"""Random command lines, YAML, CSV files and sweep folders: nothing may make a traceback, hang, or need much memory."""
