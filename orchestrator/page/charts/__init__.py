"""The charts, as Vega-Lite specifications in which only the data are missing.

A function is a chart, called by its id. Its specification names its data ("rows", "samples", "boxes"); the page's
script puts the rows that are filtered there, and `Chart` tells it which. What a chart says is decided here, not there.
"""
