"""Several sweeps side by side. The modules, in the order of the data:

snapshot         a sweep in one value; snapshot_files: as a file; sides: what a person names, as one
matching         which row of one belongs to which of the other
changes          whether a figure has changed, by its rounds; thresholds: which are compared, from what size on
compare          all of that: two snapshots, matched and judged
attribution      what goes with a change: keys, load; configuration_changes: in which keys, as overrides
differences      `diff`: what differs, the worst first; difference_tables, pasting: its tables, its lines to paste
matrix           `diff` of many sweeps; builds: of one sweep's builds; ahead: of what was not run
gate             `gate`, by rules, against a baseline
history          `history` of a row; means: of a suite
reproduction     `rerun`: is it the same again? bisection: `bisect`: since when is it not?
"""
