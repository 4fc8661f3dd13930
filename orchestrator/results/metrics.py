"""The one table of columns: name, unit, direction, how it is printed and what it means.

Every output (terminal, CSV, Markdown, JSON) reads it, so a figure has one name, one unit and one definition.
Records hold seconds and bytes; tables hold milliseconds where a latency is meant, and MiB (2**20 bytes).
A column's name ends with its unit where it has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MISSING = "—"
MS = 1e3
US = 1e6
MIB = 2.0**-20

SLOW_SPEEDUP = 0.95
LONG_COMPILE_S = 120.0
LOW_COMPRESSION = 0.90
"""Thresholds of the marks of PyTorch's performance dashboard (HUD): below, above, below."""


@dataclass(frozen=True)
class Column:
    """One column. `kind` is "text", "count" or "number"; `better` is "lower", "higher" or "none"."""

    name: str
    kind: str
    unit: str
    better: str
    show: Callable[[Any], str]
    doc: str

    def text(self, value: Any) -> str:
        """Return the value for people: significant digits, `MISSING` where there is none. No unit."""
        return MISSING if is_missing(value) else self.show(value)

    @property
    def words(self) -> str:
        """The name without its unit, for headings that have the unit beside it."""
        end = "percent" if self.unit == "%" else self.unit.lower().replace("/", "_per_")
        return self.name.removesuffix(f"_{end}").replace("_", " ")


def is_missing(value: Any) -> bool:
    """None, NaN, pandas' NA and empty text: nothing was seen. 0 is a figure, never a missing one."""
    if value is None or type(value).__name__ == "NAType":  # it has no truth value, and pandas is slow to import
        return True
    return value == "" or bool(value != value)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def significant(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits and no exponent between 0.001 and a million.

    Digits in front of the point are never rounded away: 1234.5 is "1234" with three digits, not "1230".
    """
    if isinstance(value, str) or not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size != 0 and (size < 1e-3 or size >= 1e6):
        return f"{value:.{digits - 1}e}"
    places = digits - 1 - (math.floor(math.log10(size)) if size else 0)
    return f"{value:.{max(places, 0)}f}"


def _count(value: Any) -> str:
    return str(int(value))


def _two(value: Any) -> str:
    return f"{float(value):.2f}"


def _whole(value: Any) -> str:
    return f"{float(value):.0f}"


def _one(value: Any) -> str:
    return f"{float(value):.1f}"


def _text(name: str, doc: str) -> Column:
    return Column(name, "text", "", "none", str, doc)


def _ratio(name: str, doc: str) -> Column:
    return Column(name, "number", "x", "higher", _two, doc)


def _ratio_of(name: str, doc: str) -> Column:
    return Column(name, "number", "x", "none", significant, doc)


def _any(name: str, doc: str) -> Column:
    """A value of any kind: a figure with significant digits, a count and a word as they are."""
    return Column(
        name, "text", "", "none", lambda value: significant(value, 4) if isinstance(value, float) else str(value), doc
    )


def _time(name: str, doc: str) -> Column:
    return Column(name, "number", name.rpartition("_")[2], "lower", significant, doc)


def _memory(name: str, doc: str) -> Column:
    return Column(name, "number", "MiB", "lower", _whole, doc)


def _bytes(name: str, doc: str) -> Column:
    """An amount of memory that may be far less than a MiB."""
    return Column(name, "number", "MiB", "none", significant, doc)


def _percent(name: str, doc: str, better: str) -> Column:
    return Column(name, "number", "%", better, _one, doc)


def _plain(name: str, doc: str, better: str) -> Column:
    return Column(name, "number", "1", better, significant, doc)


def _speed(name: str, doc: str) -> Column:
    return Column(name, "number", "GFLOP/s", "higher", significant, doc)


def _counted(name: str, doc: str, better: str = "none") -> Column:
    return Column(name, "count", "1", better, _count, doc)


_COLUMNS = (
    # what was run
    _text("suite", "set of models"),
    _text("model", "model"),
    _text("mode", "inference, training, ..."),
    _text("dtype", "precision asked for"),
    _text("device", "cpu or cuda:<index>"),
    _counted("batch_size", "batch size"),
    _counted("sequence_length", "tokens per sample; none for models without a sequence"),
    _counted("seed", "random seed of weights and inputs"),
    _counted("threads", "intra-op threads (torch.set_num_threads)"),
    _text("launcher", "how the worker process starts; absolute memory is not comparable between launchers"),
    _text("compiler", "compiler; what differs (options, launcher, ...) is added where one name stands for several"),
    _text("measure", "what the job measures; options are added where one name stands for several"),
    _text("variant", "environment variables added to the worker's"),
    # what became of it
    _text("status", "status of the worst round"),
    _text("reason", "why the status is not pass"),
    _text("phase", "the worker's phase when it failed"),
    _text("job", "id of the job (of the first round with that status)"),
    _counted("round", "repetition in another fresh process; 0 is the cold start"),
    _counted("attempt", "how often the job was started; more than 1 after infrastructure failures"),
    Column("started_s", "number", "s", "none", _whole, "start of the process, seconds since the epoch"),
    _time("duration_s", "wall time of the whole process"),
    _text(
        "measured",
        "what was timed, where it is not what the row says: eager, partly eager, results not finite, other threads; "
        "inputs set back before each call, and a model that calls torch.compile itself, are no faults",
    ),
    _text("disturbed", "evidence that something else used the machine; empty when it was quiet"),
    _text("notes", "what must be known to read the figures: another way of starting, fallbacks, no CUDA graph, ..."),
    _text("log", "log file, relative to the sweep folder"),
    _text("accuracy_log", "log file of the accuracy job"),
    _text("accuracy_job", "id of the accuracy job"),
    _text("command", "the command that runs this again"),
    _text(
        "flags", "HUD's marks: speed-up < 0.95, cold compile > 120 s, compression < 0.90, accuracy not passed; measured"
    ),
    _text("performance", "status of the performance job, worst round"),
    _text("performance_reason", "why performance is not pass"),
    # self-test
    _text("check", "what is known beforehand; the last row is the verdict on this machine"),
    _text("result", "pass or fail"),
    _text("expected", "what must be found"),
    _text("found", "what was found"),
    _text("advice", "what to do where it was not found"),
    # comparisons of sweeps
    _text("metric", "what is compared; its unit is in its name"),
    _any("before", "the earlier value"),
    _any("after", "the later value"),
    _ratio_of("ratio", "after / before, geometric means of the rounds"),
    _ratio_of("ratio_low", "lower end of the 95 % interval of the ratio"),
    _ratio_of("ratio_high", "upper end of the 95 % interval of the ratio"),
    _plain("p", "p-value, corrected for all that was compared (Holm)", "none"),
    _text("change", "better, worse, changed (no direction) or within noise; missing, new"),
    _text("key", "key of the configuration or of the environment"),
    _text("side", "which of the sweeps that are compared: A, B, ..."),
    _text("group", "a group of the configuration: compiler, mode, measure, ..."),
    _text("option", "an option of a group (that a key belongs to; empty: it belongs to the whole sweep)"),
    _text("what", "what the option's file says of itself: what it is, where it runs, what it needs"),
    _text("paste_before", "overrides that give the earlier values, appended to the later command"),
    _text("paste_after", "overrides that give the later values, appended to the earlier command"),
    _text("keys", "keys of the configuration in which the rows differ, with their values"),
    _counted("rows_compared", "rows that were compared"),
    _counted("rows_differing", "matched rows that differ in the key"),
    _counted("rows_better", "rows that became better"),
    _counted("rows_worse", "rows that became worse"),
    _counted("rows_changed", "rows that changed in what has no direction"),
    _counted("rows_within_noise", "rows that are as they were, within noise"),
    _counted("rows_missing", "rows that only the earlier sweep has"),
    _counted("rows_with_it", "rows that have the value"),
    # reruns
    _text("reproduced", "reproduced (status and figures, within noise) or not; failed before, or not run; not run now"),
    _text("status_before", "the status in the sweep that was rerun"),
    _text("difference", "what changed: status, and figures with the ratio now / then"),
    # gates
    _text("case", "what the gate looked at: a row, an entry of the rules, the environment"),
    _text("level", "fail, flaky, warning, known (an accepted failure), new or notice"),
    _text("finding", "what the finding is about: a metric, status, missing, configuration, expired, ..."),
    _plain("allowed", "relative change up to which a figure counts as unchanged", "none"),
    _counted("rows_expected", "rows of the baseline"),
    _counted("rows_passed", "expected rows that are as they were, or better"),
    _counted("rows_failed", "expected rows that are missing, not measured or worse"),
    _counted("rows_flaky", "expected rows whose failure the rules excuse"),
    _counted("rows_known", "expected rows that fail as they did in the baseline"),
    _counted("rows_new", "rows that the baseline does not have"),
    _counted("others_failed", "failures of other things than expected rows: new rows, expired entries, environment"),
    _counted("warnings", "warnings"),
    # sweeps and jobs as such, and their history
    _text("sweep", "date and time of the sweep, or the path of what cannot be read"),
    _text("folder", "the sweep folder"),
    _text("state", "running (its lock is held), finished, incomplete (jobs have no result) or damaged"),
    _text("holder", "the process that runs the sweep"),
    Column("created_s", "number", "s", "none", _whole, "when the sweep was planned, seconds since the epoch"),
    _counted("jobs_planned", "jobs in the plan"),
    _counted("jobs_passed", "jobs that ended well, or that cannot be done here (unsupported)"),
    _counted("jobs_failed", "jobs that failed"),
    _counted("jobs_not_run", "jobs without a result that can be read"),
    _text("suites", "suites of the sweep"),
    _text("compilers", "compilers of the sweep"),
    _text("origin", "the sweep that this one repeats"),
    _any("value", "the value of the key, or of the metric"),
    _plain("value_low", "lower end of the 95 % interval of the value", "none"),
    _plain("value_high", "upper end of the 95 % interval of the value", "none"),
    _text("unit", "unit of the samples"),
    _counted("count", "how many there are"),
    _plain("median", "of the samples", "none"),
    _plain("quartile_low", "a quarter of the samples is below", "none"),
    _plain("quartile_high", "a quarter of the samples is above", "none"),
    _plain("minimum", "of the samples", "none"),
    _plain("maximum", "of the samples", "none"),
    _text("relation", "needs or needed by, and why"),
    _text("file", "file, relative to the job's folder"),
    _counted("bytes", "size"),
    _text("machine", "host, CPU, cores and GPUs"),
    _text("series", "workload and compiler; what differs is added where several would have the same name"),
    _text("causes", "what differs in environment, git and settings from the point that this one is compared with"),
    # speed
    _ratio(
        "speedup",
        "exp(median of log(eager / compiled) over the calmest quarter of a round's pairs), median of the rounds",
    ),
    _ratio("speedup_low", "lower end of the 95 % interval"),
    _ratio("speedup_high", "upper end of the 95 % interval"),
    _text(
        "verdict",
        "faster or slower if the interval excludes 1 and the effect is over 1 %, else within noise; "
        "measured: eager where no compiled code ran while it was timed (then there is no speed-up)",
    ),
    _text("interval", "rounds: Student's t over fresh processes; in-process: order statistics of one's pairs"),
    _counted("rounds", "rounds that passed", "higher"),
    _counted("rounds_planned", "rounds that were planned"),
    _counted("pairs", "eager and compiled samples timed next to each other, all rounds", "higher"),
    _time("eager_latency_ms", "median over rounds of the medians of the baseline jobs"),
    _time("latency_ms", "median over rounds of the medians of one step, steady state"),
    _percent(
        "latency_spread_percent",
        "sd of the rounds' medians in % of their mean; with one round IQR in % of the median; none of one sample",
        "lower",
    ),
    _counted("outliers", "latency samples over 1.5 IQR outside the quartiles; counted, not removed", "lower"),
    _counted("samples", "latency samples, all rounds"),
    _time("clock_overhead_ms", "what the clock finds for a step that does nothing: it is in every latency"),
    # generation: definitions and sources in docs/modes.md
    _time("time_to_first_token_ms", "start of a generation to its first token; median over rounds of their medians"),
    _time("inter_token_latency_ms", "(last token - first token) / (tokens - 1) of a generation; median, the same"),
    Column(
        "tokens_per_second",
        "number",
        "1/s",
        "higher",
        significant,
        "tokens of one step, whole batch, / latency: input tokens of prefill, output tokens of decode and generate",
    ),
    # what the device had to do with it: docs/gpu.md
    _time("enqueue_ms", "time until a step returned, before the device was waited for; median over rounds of medians"),
    _text(
        "launch_bound", "yes: the enqueue time is over 80 % of the latency, so Python and launches are what is timed"
    ),
    _time("back_to_back_ms", "time of a step among up to 100 that are enqueued together and waited for once"),
    _ratio(
        "back_to_back_speedup",
        "eager's back_to_back_ms / the compiler's, of separate processes: without the clock's own time in short steps",
    ),
    Column(
        "samples_per_second",
        "number",
        "1/s",
        "higher",
        significant,
        "batch size / time of a step: back to back where there is that, else the latency",
    ),
    Column(
        "energy_per_step_j",
        "number",
        "J",
        "lower",
        significant,
        "energy of the steady state / its steps: of the GPU's board (NVML), or of the CPU's packages (RAPL)",
    ),
    Column("mean_power_w", "number", "W", "none", significant, "energy of the steady state / its duration"),
    _percent("mfu_percent", "achieved_gflop_per_s in % of what the device's data sheet gives in this dtype", "higher"),
    _bytes(
        "step_mib",
        "parameters, buffers, inputs that the eager step works on, and results, once a call: the least that is moved",
    ),
    Column(
        "achieved_gb_per_s",
        "number",
        "GB/s",
        "higher",
        significant,
        "step_mib / latency: a lower bound, for what is between is not counted; of a cache, above the memory's",
    ),
    _percent("of_bandwidth_percent", "achieved_gb_per_s in % of the memory bandwidth in the data sheet", "higher"),
    _time("first_call_s", "first call, compilation included"),
    _time("compile_latency_s", "first call minus median latency of this process"),
    _text("cache", "state of the private compile cache at the start: cold, warm, none (eager)"),
    _time(
        "compile_latency_cold_s",
        "what the first calls cost over the median (on CUDA less eager's), empty compile cache; median of such rounds",
    ),
    _counted("compile_latency_cold_count", "rounds with an empty compile cache"),
    _time("compile_latency_warm_s", "the same with the cache of the round before"),
    _counted("compile_latency_warm_count", "rounds with a filled compile cache"),
    _counted("later_compilations", "compilations after the first call, until the end of the pairs; median", "lower"),
    _time("later_compile_s", "time in them, by dynamo's own records; not in the compile latency"),
    _counted("break_even_iterations", "cold compile latency / (eager - compiled latency), where faster", "lower"),
    # memory
    _memory("eager_peak_memory_mib", "steady-state peak of the baseline's process, median over rounds"),
    _memory(
        "peak_memory_mib",
        "steady-state peak of the process (on CUDA: of torch's tensors, CUDA graphs' included), median over rounds",
    ),
    _ratio("compression_ratio", "eager own memory / compiled own memory; above 1 is smaller"),
    _memory("own_memory_mib", "steady-state peak minus the level before the model existed"),
    _memory("eager_own_memory_mib", "the same of the baseline"),
    _memory("compile_peak_memory_mib", "peak during the first call, of the process (on CUDA: of torch's tensors)"),
    _memory("compile_peak_host_memory_mib", "on CUDA: peak of the process in the computer's memory in the first call"),
    _memory("children_peak_memory_mib", "peak of the compiler's child processes during the first call"),
    _text("memory_source", "how the peak was read"),
    _memory("eager_device_memory_mib", "device_memory_mib of the baseline"),
    _memory(
        "device_memory_mib",
        "on CUDA: what the device holds more after the steady phase than before the model, whoever allocated it",
    ),
    _text(
        "device_memory_source", "who says so: NVML (of this process), or mem_get_info (of all that is on the device)"
    ),
    _memory("graph_pool_memory_mib", "on CUDA: what CUDA graphs' pools keep for their tensors"),
    # dynamo
    _counted("graphs", "graphs captured"),
    _counted("graph_breaks", "graph breaks", "lower"),
    _counted("unique_graph_breaks", "different reasons for graph breaks", "lower"),
    _counted("captured_calls", "calls captured in graphs", "higher"),
    _counted("fallbacks", "frames that fell back to eager", "lower"),
    _counted("recompiles", "recompilations", "lower"),
    _counted("cudagraph_skips", "graphs that could not become CUDA graphs", "lower"),
    _counted("cudagraphs", "CUDA graphs that were recorded and are kept", "none"),
    # accuracy
    _text("accuracy", "status of the accuracy job; of a shape: pass, fail_accuracy, or not compared, and why"),
    _text("accuracy_reason", "why accuracy is not pass"),
    _counted("accuracy_batch_size", "batch size of the accuracy job"),
    _text("worst_tensor", "the tensor that failed, or is nearest to it"),
    _plain("max_abs_error", "largest absolute difference to the reference, worst tensor", "lower"),
    _plain("rmse", "root mean square error to fp64, worst tensor", "lower"),
    _plain("reference_rmse", "the same of eager in the dtype asked for", "none"),
    Column(
        "cosine",
        "number",
        "1",
        "higher",
        lambda value: significant(value, 6),
        "cosine similarity to the reference, worst tensor",
    ),
    _text("rule", "the rule that judged the worst tensor"),
    _plain("limit", "what the rule allowed", "none"),
    _plain("tolerance", "tolerance, relative to the tensor's scale (rules=dynamo: absolute and relative)", "none"),
    _plain("multiplier", "how many times the eager error is allowed", "none"),
    _counted("tensors", "tensors compared"),
    _counted("tensors_failed", "tensors that failed", "lower"),
    _text("fp64", "ok, or why there is no fp64 reference"),
    _text("weaker", "what was judged by weaker rules, without fp64, or not at all, and why; empty: all by all rules"),
    _text("judged_call", "the call of the series in which the worst tensor is worst, and its inputs"),
    _text("rules", "scaled (docs/measuring.md), or dynamo: those of torch._dynamo.utils.same"),
    # largest batch
    _counted("largest_batch_size", "the largest batch size that fits into the memory budget", "higher"),
    _counted("too_large_batch_size", "the smallest that was tried and does not fit; none where the upper bound fits"),
    _text("bounded_by", "memory; or the option that ended the search, and more may fit"),
    _counted("tries", "batch sizes that were tried, each in a fresh process"),
    _bytes("memory_at_largest_mib", "peak of the process at the largest batch size (on CUDA: of the allocator)"),
    _bytes("memory_budget_mib", "what a try could have (on the CPU RLIMIT_DATA, on CUDA the allocator)"),
    _text("memory_budget_source", "where the budget is from"),
    _text("too_large_because", "what the allocator said at the smallest batch size that does not fit"),
    # operators and profiles
    _text("operator", "operator with its overload, or what the profiler calls it"),
    _counted("models", "models that have it"),
    _text("inputs", "its positional and named inputs: T(shape, dtype, stride) is a tensor"),
    _counted("distinct_operators", "different operators"),
    _counted("distinct_inputs", "different operators and inputs"),
    _time("self_cpu_ms", "time on the CPU without that of the operators that it calls, all profiled steps"),
    _time("self_cuda_ms", "time of its kernels, all profiled steps"),
    _percent("share_percent", "share of all", "none"),
    _counted("steps", "profiled steps"),
    # memory by line
    _text("source_file", "file, relative to where it was imported from"),
    _counted("source_line", "line number"),
    _text("source", "the line"),
    _counted("executions", "how often it ran in one step"),
    _bytes("increase_mib", "sum of what it allocated and kept, over the executions that left more than there was"),
    _bytes("cumulative_mib", "sum of what it allocated less what it freed, over all executions"),
    _bytes("current_mib", "highest level after it"),
    _counted("lines", "lines that ran"),
    _bytes("outside_mib", "what changed outside the traced modules: backward, optimizer, results"),
    _text("level_source", "what the level is: bytes that the C library has given out, resident set, CUDA allocator"),
    _counted("resolution_bytes", "smallest change that the level shows"),
    _text("snapshot", "file with the CUDA allocator's history, for pytorch.org/memory_viz"),
    # FLOPs
    Column("step_gflop", "number", "GFLOP", "none", significant, "floating-point operations of one eager step / 10^9"),
    Column("forward_gflop", "number", "GFLOP", "none", significant, "those of a module's forward pass alone"),
    _counted("parameters", "parameters of the model"),
    _time("step_ms", "median of one step"),
    _percent("step_iqr_percent", "interquartile range of the step in % of its median", "lower"),
    _speed("achieved_gflop_per_s", "floating-point operations of the eager step / step (performance: / latency)"),
    _time("eager_step_ms", "median of one eager step"),
    _percent("eager_step_iqr_percent", "interquartile range of the eager step in % of its median", "lower"),
    _speed("eager_achieved_gflop_per_s", "floating-point operations of the eager step / eager step"),
    _counted("step_samples", "timed steps of each kind"),
    _speed("peak_gflop_per_s", "what the device's data sheet gives for dense matrices in this dtype"),
    _percent("of_peak_percent", "achieved / peak", "higher"),
    _text("peak_source", "where the peak is from"),
    Column(
        "intensity_flop_per_byte",
        "number",
        "FLOP/byte",
        "none",
        significant,
        "floating-point operations / bytes that eager operators read and write, each tensor once for each operator",
    ),
    _text("module", "path of the module in the model"),
    _text("operator_names", "operators with counted floating-point operations"),
    # tolerance
    _counted("elements", "numbers compared"),
    _plain("relative_max", "largest |reference - result| / (1 + |reference|)", "lower"),
    _plain("relative_mean", "mean of it over all elements", "lower"),
    _plain("relative_std", "standard deviation of it over all elements", "lower"),
    _ratio_of("rmse_ratio", "RMSE to fp64 / that of eager: 1 is as far from it as eager is"),
    _text("tensor", "name of the tensor"),
    _text("tensor_dtype", "dtype of the compiled tensor, and of eager's where it is another"),
    # sensitivity of the judge
    _text("plant", "what was planted: a fault, or an honest variation"),
    _text("plant_kind", "fault (must be found) or honest (must pass)"),
    _counted("plant_place", "which tensor, element or layer: the number that they are drawn from"),
    _text("scaled_says", "status of the plant by our rules"),
    _text("dynamo_says", "status of the plant by the rules of torch._dynamo.utils.same"),
    _text("scaled_why", "what our rules say of it"),
    _counted("plants", "faults that were planted"),
    _percent("found_scaled_percent", "faults that our rules find", "higher"),
    _percent("found_dynamo_percent", "faults that dynamo's rules find", "higher"),
    _counted("misjudged", "faults that our rules let pass, or honest variations that they do not", "lower"),
    _text("where", "model, dtype and mode of those"),
    _counted("honest", "honest variations that were planted"),
    _percent("accused_scaled_percent", "honest variations that our rules do not let pass", "lower"),
    _percent("accused_dynamo_percent", "honest variations that dynamo's rules do not let pass", "lower"),
    # what dynamo did: coverage, explain, recompilations
    _counted("graph_calls", "calls of captured graphs in one step, forward and backward", "lower"),
    _counted("captured_operators", "top-level aten operators of one step that ran in captured graphs", "higher"),
    _counted("operators", "top-level aten operators of one step"),
    _percent("captured_operators_percent", "captured operators / all", "higher"),
    _time("captured_time_ms", "time of the captured operators, on the host, under the profiler"),
    _time("operator_time_ms", "time of all operators, on the host, under the profiler"),
    _percent("captured_time_percent", "time of captured operators / of all", "higher"),
    _counted("guards", "guards of all compilations", "lower"),
    _time("dynamo_time_s", "time in all compilations, what the back-end takes included"),
    _text("break_reason", "why dynamo ended a graph, without addresses and advice"),
    _text("effect", "graph break, or left to eager: the frame is not compiled at all"),
    _text("user_stack", "lines of the model's code, innermost first"),
    _text("recompile_reason", "the guard that failed, of the newest of the earlier compilations"),
    _text("user_frame", "the function that was compiled, and where it begins"),
    _counted("compilations", "compilations in all, backward graphs included"),
    _counted("calls", "steps that were run"),
    # shapes
    _counted("shape_batch_size", "batch size of this shape"),
    _counted("shape_sequence_length", "tokens per sample of this shape"),
    _text("compilation", "new; reused from an earlier shape; or none: dynamo's recompile limit was reached"),
    _percent("eager_latency_spread_percent", "IQR of the eager calls in % of their median", "lower"),
    _counted("slice_batch_size", "the first so many samples of the batch, on their own"),
    _plain("eager_max_abs_error", "the same difference of that tensor in eager", "none"),
    _text(
        "left_out", "outputs that are not checked, with their shapes for all samples and for half: none has one batch"
    ),
    # cache look-up
    _time("cache_lookup_us", "dynamo's search for compiled code in one step, all frames; median of the steps"),
    _time("cache_lookup_low_us", "a quarter of the steps took less"),
    _time("cache_lookup_high_us", "a quarter of the steps took more"),
    _plain("lookups", "look-ups in one step", "lower"),
    # minifier
    _counted("operators_before", "operators of the graph that is wrong"),
    _counted("operators_after", "operators of the script's graph", "lower"),
    _text("reproduces", "yes or no: the script was run, and shows the failure"),
    _time("minify_s", "time of the minifier"),
    # overview
    _ratio("geomean_speedup", "over the workloads that all compared compilers ran, none with wrong results"),
    _ratio("geomean_speedup_clipped", "the same with every speed-up below 1 counted as 1, as PyTorch's dashboard does"),
    _counted("geomean_count", "workloads in it", "higher"),
    _text("geomean_models", "models in it"),
    _percent("pass_rate_percent", "passed / planned; what has no result counts as not passed", "higher"),
    _counted("passed", "workloads of which every planned measure passed", "higher"),
    _counted("planned", "workloads planned"),
    _counted("performance_passed", "workloads whose performance passed", "higher"),
    _counted("performance_planned", "workloads whose performance was planned"),
    _counted("accuracy_passed", "workloads whose accuracy passed", "higher"),
    _counted("accuracy_planned", "workloads whose accuracy was planned"),
    _time("mean_compile_latency_cold_s", "arithmetic mean of the cold compile latencies"),
    _counted("mean_compile_latency_cold_count", "workloads in it"),
    _ratio("geomean_compression_ratio", "geometric mean of the compression ratios"),
    _counted("geomean_compression_count", "workloads in it"),
)

COLUMNS = {column.name: column for column in _COLUMNS}

IN_A_SENTENCE = {
    "speedup": "speed-up",
    "compile_latency_cold_s": "compile, cold",
    "compile_latency_warm_s": "compile, warm",
    "compile_latency_s": "compile",
    "own_memory_mib": "memory",
}
"""Metric -> its name in a sentence, where that is not its heading."""


def named(metric: str) -> str:
    """Return a metric's name in a sentence."""
    return IN_A_SENTENCE.get(metric) or (COLUMNS[metric].words if metric in COLUMNS else metric.replace("_", " "))
