"""Charts of one workload, training, suite or job each. For papers `plots.py` draws losses, and sweep after sweep."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.page.charts.chart import (
    BLUE,
    COLUMNS,
    GREEN,
    GREY,
    PURPLE,
    VERMILION,
    Chart,
    Spec,
    bands,
    named_scale,
    quantitative,
    series_scales,
    spec,
    tooltip,
)

KINDS = {  # samples of a job, in the order in which they are taken: colour and shape
    "first_call": (PURPLE, "diamond"),
    "warmup_latency": (GREY, "triangle-up"),
    "latency": (BLUE, "circle"),
    "pair_eager_latency": (VERMILION, "square"),
    "pair_latency": (GREEN, "cross"),
}
OVER_TIME = "over_time"
CHOICES = {  # column of the overview -> what it is, with its unit
    "geomean_speedup": "geometric-mean speed-up (x)",
    "geomean_speedup_clipped": "the same, below 1 counts as 1 (x)",
    "pass_rate_percent": "pass rate (%)",
    "mean_compile_latency_cold_s": "mean cold compile latency (s)",
    "geomean_compression_ratio": "geometric-mean memory ratio (x)",
}


def latency(series: Sequence[str]) -> Chart:
    """Return, for one workload, every latency sample of every process, with median and quartiles."""
    colour, _ = series_scales(series)
    colour = {**colour, "legend": None}
    y = bands("process", labelLimit=150)
    scale = {"zero": False, "nice": False, "padding": 6}
    x = quantitative("ms", scale, title="latency (ms)", tickCount=5, format=",f")
    box = tooltip(
        ("process", "process", ""),
        ("median", "median (ms)", ".4~g"),
        ("q25", "25 % (ms)", ".4~g"),
        ("q75", "75 % (ms)", ".4~g"),
        ("low", "least (ms)", ".4~g"),
        ("high", "most (ms)", ".4~g"),
        ("count", "samples", "d"),
    )
    boxes = {"name": "boxes"}
    layers = [
        {
            "data": boxes,
            "mark": {"type": "rule", "size": 1, "opacity": 0.5},
            "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}, "color": colour},
        },
        {
            "data": boxes,
            "mark": {"type": "bar", "height": 12, "opacity": 0.25, "cursor": "pointer"},
            "encoding": {"y": y, "x": {**x, "field": "q25"}, "x2": {"field": "q75"}, "color": colour, "tooltip": box},
        },
        {
            "data": {"name": "samples"},
            "mark": {"type": "point", "size": 9, "filled": True, "opacity": 0.55},
            "encoding": {
                "y": y,
                "yOffset": {"field": "jitter", "type": "quantitative", "scale": {"domain": [-1, 1]}},
                "x": x,
                "color": colour,
            },
        },
        {
            "data": boxes,
            "mark": {"type": "tick", "thickness": 2.5, "height": 16},
            "encoding": {"y": y, "x": {**x, "field": "median"}, "tooltip": box},
        },
    ]
    return Chart(
        id="latency",
        title="Latency distributions",
        note="Every dot is one call in steady state, every line one fresh process (r0 is round 0); the tick is the "
        "median, the bar holds the middle half. Scales differ between models.",
        data="samples",
        spec=spec(height={"step": 20}, layer=layers),
        needs=("latency_ms",),
        panels=True,
        fields=("latency_ms", "latency_spread_percent"),
        limit=6,
    )


def phases(series: Sequence[str]) -> Chart:
    """Return, for one workload, the peak of each phase of the job, a line for each compiler."""
    colour, shape = series_scales(series)
    colour, shape = colour | {"legend": None}, shape | {"legend": None}
    both = "datum.phase == 'pairs'"
    words_of = "datum.label == 'pairs' ? ['pairs', '(with eager)'] : datum.label"
    axis: Spec = {"title": None, "labelAngle": 0, "labelOverlap": "greedy", "labelExpr": words_of}
    x = {"field": "phase", "type": "ordinal", "sort": None, "axis": axis, "scale": {"padding": 0.4}}
    y = quantitative("mib", {"zero": True}, title="peak (MiB)", tickCount=4)
    words = tooltip(("series", "compiler", ""), ("phase", "phase", ""), ("mib", "peak (MiB)", ",.4~r"))
    return Chart(
        id="phases",
        title="Peak memory by phase",
        note="Of the process over its level before the model existed, on CUDA of the allocator; median over rounds. "
        "Processes that the compiler starts are not in it. The hollow mark apart is no growth: while pairs are timed, "
        "eager runs in the process too.",
        data="phases",
        spec=spec(
            data={"name": "rows"},
            height=150,
            encoding={"x": x, "y": y, "color": colour},
            layer=[
                {"transform": [{"filter": f"!({both})"}], "mark": {"type": "line", "size": 1.5}},
                *(
                    {
                        "transform": [{"filter": which}],
                        "mark": {"type": "point", "size": 55, "filled": which != both, "opacity": 1},
                        "encoding": {"shape": shape, "tooltip": words},
                    }
                    for which in (f"!({both})", both)
                ),
            ],
        ),
        panels=True,
        needs=("own_memory_mib",),
        fields=("own_memory_mib", "compression_ratio"),
        limit=6,
    )


def over_time(series: Sequence[str]) -> Chart:
    """Return one figure of the overview over the sweeps, for one suite, mode, dtype and device."""
    colour, shape = series_scales(series)
    x = {
        "field": "sweep",
        "type": "ordinal",
        "sort": None,
        "axis": {"title": None, "labelAngle": -20, "labelLimit": 140, "labelOverlap": "greedy"},
        "scale": {"type": "point", "padding": 0.3},
    }
    y = quantitative("value", {"zero": False, "padding": 12}, title=None, tickCount=5, format=".4~g")
    words = tooltip(
        ("sweep", "sweep", ""),
        ("when", "when", ""),
        ("series", "compiler", ""),
        ("value", "", ".4~g"),
        ("count", "workloads", "d"),
    )
    return Chart(
        id=OVER_TIME,
        title="Over time",
        note="One mark a sweep, oldest first, at equal distances. Means are over the workloads that all compilers of a "
        "sweep ran (bars: 95 %, for exactly these); where their number (under the mark) differs between sweeps, so may "
        "what they mean.",
        data="overview",
        spec=spec(
            data={"name": "rows"},
            height=190,
            encoding={"x": x, "y": y, "color": colour},
            layer=[
                {"mark": {"type": "line", "size": 1.5}},
                {
                    "transform": [{"filter": "isValid(datum.low)"}],
                    "mark": {"type": "rule", "size": 1.5, "opacity": 0.5},
                    "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}},
                },
                {
                    "mark": {"type": "point", "size": 70, "filled": True, "opacity": 1},
                    "encoding": {"shape": shape, "tooltip": words},
                },
                {
                    "mark": {"type": "text", "dx": 9, "dy": 15, "fontSize": 10},
                    "encoding": {"text": {"field": "count", "type": "nominal"}},
                },
            ],
        ),
        panels=True,
        each="section",
        choices=CHOICES,
        limit=12,
    )


def loss_curves() -> Chart:
    """Return eager's and the compiler's loss, step by step, for one training."""
    colours = {"eager": GREY, "compiled": BLUE}
    legend = {"title": None, "orient": "top", "symbolType": "stroke", "symbolOpacity": 1}
    colour = {"field": "side", "type": "nominal", "scale": named_scale(colours), "legend": legend}
    words = tooltip(("side", "", ""), ("step", "step", "d"), ("loss", "loss", ".6~g"))
    x = {"field": "step", "type": "quantitative", "axis": {"title": "optimizer steps", "tickMinStep": 1, "grid": False}}
    return Chart(
        id="loss_curves",
        title="Training loss",
        note="Means over seeds; eager's is the broad line below. Whether they are alike, the table training_loss says.",
        data="loss_curves",
        spec=spec(
            data={"name": "rows"},
            height=190,
            encoding={"x": x, "y": quantitative("loss", {"zero": False}, title="loss", tickCount=5), "color": colour},
            layer=[
                {
                    "transform": [{"filter": f"datum.side == '{side}'"}],
                    "mark": {"type": "line", "size": size},
                    "encoding": {"tooltip": words},
                }
                for side, size in (("eager", 5), ("compiled", 1.5))
            ],
        ),
        panels=True,
        each="training",
        limit=12,
    )


def job_samples() -> Chart:
    """Return the samples of one job in the order in which they were taken."""
    colours = named_scale({kind: colour for kind, (colour, _) in KINDS.items()})
    shapes = named_scale({kind: shape for kind, (_, shape) in KINDS.items()})
    legend = {"title": None, "orient": "top", "columns": COLUMNS}
    return Chart(
        id="job_samples",
        title="Samples in time order",
        note="The first call is left out where there are others: it is the compilation. Pairs are timed after the "
        "steady samples, eager and compiled in turn.",
        data="job",
        spec=spec(
            data={"name": "rows"},
            height=260,
            mark={"type": "point", "size": 34, "filled": True, "opacity": 0.75},
            encoding={
                "x": {"field": "order", "type": "quantitative", "axis": {"title": "sample", "tickMinStep": 1}},
                "y": quantitative("value", {"zero": False}, title="latency (ms)"),
                "color": {"field": "metric", "type": "nominal", "scale": colours, "legend": legend},
                "shape": {"field": "metric", "type": "nominal", "scale": shapes, "legend": legend},
                "tooltip": tooltip(("metric", "", ""), ("order", "sample", "d"), ("value", "ms", ".4~g")),
            },
        ),
    )
