"""One sweep, from its folder to rows of figures and tables. The modules, in the order of the data:

load             what was planned, and what became of each job
naming           what rows are called, and which jobs are one row; configuration: the same as keys of a command line
rounds           what one round says; memory, device: of its memory, of what the device did
performance      a row of figures from its rounds; accuracy: the same of what was judged
findings         the tables of all other measures; compile_phases: where the time of first calls went
metrics          what each column is; table: rows that have exactly some columns
tables           all of them, of one sweep: here it comes together
overview         means over a section's rows; answer: what it comes to, with recommendation and caution
flags            what deserves a look; environments: whether all was measured in one place
exports          tables as files
listing          which sweeps there are; details: all about one job; row_commands: the command of a row
acceptance       whether figures that are known beforehand were found
"""
