VERBS = {
    "options": ("orchestrator.cli.options", "what can be chosen in each group, and what it needs"),
    "report": ("orchestrator.cli.report", "show a sweep's tables again, in the terminal or as a file"),
    "rerun": ("orchestrator.cli.rerun", "run the stored jobs of a sweep again: are its results reproduced?"),
    "diff": ("orchestrator.cli.diff", "what differs between two sweeps or jobs, and which key goes with it"),
    "gate": ("orchestrator.cli.gate", "fail when a sweep lacks or worsens what a baseline has, for CI"),
    "bisect": ("orchestrator.cli.bisect", "which commit or version of a package made a row slower, or fail"),
    "ls": ("orchestrator.cli.ls", "list sweeps: state, jobs, failures, age"),
    "show": ("orchestrator.cli.show", "everything about a sweep, or about one job of it"),
    "history": ("orchestrator.cli.history", "a metric over all sweeps, and what changed where it moved"),
    "export": (
        "orchestrator.cli.export",
        "write a sweep for other tools: csv, json, parquet, plots, perfetto, mlflow, wandb, dynamobench, hud, ...",
    ),
    "import": ("orchestrator.cli.imports", "read results of other tools into a sweep folder: dynamobench"),
    "merge": ("orchestrator.cli.merge", "join the folders of a sweep that was run in parts (shard=1/3, ...)"),
    "completion": ("orchestrator.cli.completion", "what makes bash, zsh or fish complete verbs, groups and options"),
}
"""verb -> (module whose main(argv) it is, what it does)."""
