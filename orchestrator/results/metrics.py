"""The columns of the built-in tables, of verbs, and those that several measures share (`orchestrator.columns.Column`).

A measure's own columns stand in its class. Records hold seconds and bytes; tables hold milliseconds where a latency is
meant, and MiB (2**20 bytes).
"""

from __future__ import annotations

from typing import Any

from orchestrator.columns import MISSING as MISSING
from orchestrator.columns import Column, anything, count, duration, number, percent, text
from orchestrator.columns import is_missing as is_missing
from orchestrator.columns import significant as significant

MS = 1e3
US = 1e6
MIB = 2.0**-20

PERCENTS = (50, 90, 95, 99)

SLOW_SPEEDUP = 0.95
LONG_COMPILE_S = 120.0
LOW_COMPRESSION = 0.90
"""Thresholds of the marks of PyTorch's performance dashboard (HUD): below, above, below."""


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ratio(name: str, doc: str) -> Column:
    return Column(name, doc, "x", "higher", "two")


def _memory(name: str, doc: str) -> Column:
    return Column(name, doc, "MiB", "lower", "whole")


_COLUMNS = (
    # what was run
    text("suite", "set of models"),
    text("model", "model"),
    text("mode", "inference, training, ..."),
    text("dtype", "precision asked for"),
    text("device", "cpu or cuda:<index>"),
    count("batch_size", "batch size"),
    count("sequence_length", "tokens per sample; none for models without a sequence"),
    count("seed", "random seed of weights and inputs"),
    count("threads", "intra-op threads (torch.set_num_threads)"),
    text("build", "environment that it ran in, where the sweep has several (docs/builds.md)"),
    text("launcher", "how the worker process starts; absolute memory is not comparable between launchers"),
    text("compiler", "compiler; what differs (options, launcher, ...) is added where one name stands for several"),
    text("measure", "what the job measures; options are added where one name stands for several"),
    text("variant", "environment variables added to the worker's"),
    # what became of it
    text("status", "status of the worst round"),
    text("reason", "why the status is not pass"),
    text("phase", "the worker's phase when it failed"),
    text("job", "id of the job (of the first round with that status)"),
    count("round", "repetition in another fresh process; 0 is the cold start"),
    count("attempt", "how often the job was started; more than 1 after infrastructure failures"),
    Column("started_s", "start of the process, seconds since the epoch", "s", format="whole"),
    duration("duration_s", "wall time of the whole process"),
    text(
        "measured",
        "what was timed, where it is not what the row says: eager, partly eager, results not finite, other threads; "
        "inputs set back before each call, and a model that calls torch.compile itself, are no faults",
    ),
    text("disturbed", "evidence that something else used the machine; empty when it was quiet"),
    number("other_cores", "cores' worth of CPU that other processes used meanwhile, the most of the rounds"),
    text("notes", "what must be known to read the figures: another way of starting, fallbacks, no CUDA graph, ..."),
    text("log", "log file, relative to the sweep folder"),
    text("accuracy_log", "log file of the accuracy job"),
    text("accuracy_job", "id of the accuracy job"),
    text("command", "the command that runs this again"),
    text(
        "flags", "HUD's marks: speed-up < 0.95, cold compile > 120 s, compression < 0.90, accuracy not passed; measured"
    ),
    text("performance", "status of the performance job, worst round"),
    text("performance_reason", "why performance is not pass"),
    # self-test
    text("check", "what is known beforehand; the last row is the verdict on this machine"),
    text("result", "pass or fail"),
    text("expected", "what must be found"),
    text("found", "what was found"),
    text("advice", "what to do where it was not found"),
    # comparisons of sweeps
    text("metric", "what is compared; its unit is in its name"),
    text("build_before", "the build that it is compared with: the first of the sweep"),
    anything("before", "the earlier value"),
    anything("after", "the later value"),
    number("ratio", "after / before, geometric means of the rounds", "x"),
    number("ratio_low", "lower end of the 95 % interval of the ratio", "x"),
    number("ratio_high", "upper end of the 95 % interval of the ratio", "x"),
    number("p", "p-value, corrected for all that was compared (Holm)"),
    text("change", "better, worse, changed (no direction) or within noise; missing, new"),
    text("key", "key of the configuration or of the environment"),
    text("side", "which of the sweeps that are compared: A, B, ..."),
    text("group", "a group of the configuration: compiler, mode, measure, ..."),
    text("option", "an option of a group (that a key belongs to; empty: it belongs to the whole sweep)"),
    text("what", "what the option's file says of itself: what it is, where it runs, what it needs"),
    text("paste_before", "overrides that give the earlier values, appended to the later command"),
    text("paste_after", "overrides that give the later values, appended to the earlier command"),
    text("keys", "keys of the configuration in which the rows differ, with their values"),
    count("rows_compared", "rows that were compared"),
    count("rows_differing", "matched rows that differ in the key"),
    count("rows_better", "rows that became better"),
    count("rows_worse", "rows that became worse"),
    count("rows_changed", "rows that changed in what has no direction"),
    count("rows_within_noise", "rows that are as they were, within noise"),
    count("rows_failing", "rows that failed in both sweeps, with the same status"),
    count("rows_run_in_neither", "rows that ran in neither sweep: not yet, or not possible there"),
    count("rows_missing", "rows that only the earlier sweep has"),
    count("rows_with_it", "rows that have the value"),
    # reruns
    text(
        "reproduced",
        "reproduced (status and figures, within noise), not, or cannot tell; failed or not run then or now",
    ),
    text("evidence", "what else may have made the difference: load, disturbance, another environment, too few figures"),
    text("status_before", "the status in the sweep that was rerun"),
    text("difference", "what changed: status, and figures with the ratio now / then"),
    text(
        "paste", "overrides that give this side's jobs, appended to the other's command; a whole command where none do"
    ),
    text(
        "paste_note", "what else is to be known of that line: that it is a whole command, why it was not planned, ..."
    ),
    text("paste_planned", "yes: what is shown was planned before it was shown; no: it could not be"),
    text("ahead", "a row of a configuration that was not run: the same jobs, other jobs (changed), new, or gone"),
    count("jobs_new", "jobs that the sweep does not have"),
    count("jobs_gone", "jobs of the sweep that the configuration does not have"),
    text("circumstance", "what else is known of changed rows: load (cores that others used) or disturbed (rows)"),
    # gates
    text("case", "what the gate looked at: a row, an entry of the rules, the environment"),
    text("level", "fail, flaky, warning, known (an accepted failure), new or notice"),
    text("finding", "what the finding is about: a metric, status, missing, configuration, expired, ..."),
    number("allowed", "relative change up to which a figure counts as unchanged"),
    count("rows_expected", "rows of the baseline"),
    count("rows_passed", "expected rows that are as they were, or better"),
    count("rows_failed", "expected rows that are missing, not measured or worse"),
    count("rows_flaky", "expected rows whose failure the rules excuse"),
    count("rows_known", "expected rows that fail as they did in the baseline"),
    count("rows_new", "rows that the baseline does not have"),
    count("others_failed", "failures of other things than expected rows: new rows, expired entries, environment"),
    count("warnings", "warnings"),
    # sweeps and jobs as such, and their history
    text("sweep", "date and time of the sweep, or the path of what cannot be read"),
    text("tag", "the label that the sweep was given (tag=)"),
    text("folder", "the sweep folder"),
    text("state", "running (its lock is held), finished, incomplete (jobs have no result) or damaged"),
    text("holder", "the process that runs the sweep"),
    Column("created_s", "when the sweep was planned, seconds since the epoch", "s", format="whole"),
    count("jobs_planned", "jobs in the plan"),
    count("jobs_passed", "jobs that ended well, or that cannot be done here (unsupported)"),
    count("jobs_failed", "jobs that failed"),
    count("jobs_not_run", "jobs without a result that can be read"),
    text("suites", "suites of the sweep"),
    text("compilers", "compilers of the sweep"),
    text("origin", "the sweep that this one repeats, or what it was imported from"),
    anything("value", "the value of the key, or of the metric"),
    number("value_low", "lower end of the 95 % interval of the value"),
    number("value_high", "upper end of the 95 % interval of the value"),
    text("unit", "unit of the samples"),
    count("count", "how many there are"),
    number("median", "of the samples"),
    number("quartile_low", "a quarter of the samples is below"),
    number("quartile_high", "a quarter of the samples is above"),
    number("minimum", "of the samples"),
    number("maximum", "of the samples"),
    text("relation", "needs or needed by, and why"),
    text("file", "file, relative to the job's folder"),
    count("bytes", "size"),
    text("machine", "host, CPU, cores and GPUs"),
    text("series", "workload and compiler; what differs is added where several would have the same name"),
    text("causes", "what differs in environment, git and settings from the point that this one is compared with"),
    # speed
    _ratio(
        "speedup",
        "exp(median of log(eager / compiled) over the calmest quarter of a round's pairs), median of the rounds",
    ),
    _ratio("speedup_low", "lower end of the 95 % interval"),
    _ratio("speedup_high", "upper end of the 95 % interval"),
    number("speedup_freedom", "degrees of freedom behind it: of the rounds, and what the sweep's other rows add"),
    text(
        "verdict",
        "faster or slower if the interval excludes 1 and the effect is over 1 %, else within noise; "
        "measured: eager where no compiled code ran while it was timed (then there is no speed-up)",
    ),
    text("interval", "rounds: Student's t over fresh processes; in-process: order statistics of one's pairs"),
    count("rounds", "rounds that passed", "higher"),
    count("rounds_planned", "rounds that were planned"),
    count("pairs", "eager and compiled samples timed next to each other, all rounds", "higher"),
    duration("paired_eager_latency_ms", "speedup * paired_latency_ms: eager's step in the pairs"),
    duration(
        "paired_latency_ms",
        "median of the pairs that the speed-up is of, median over rounds; where there are no pairs, latency_ms",
    ),
    duration("eager_latency_ms", "median over rounds of the medians of the baseline jobs"),
    duration("latency_ms", "median over rounds of the medians of one step, steady state"),
    percent(
        "latency_spread_percent",
        "sd of the rounds' medians in % of their mean; with one round IQR in % of the median; none of one sample",
        "lower",
    ),
    count("outliers", "latency samples over 1.5 IQR outside the quartiles; counted, not removed", "lower"),
    count("samples", "latency samples, all rounds"),
    duration("clock_overhead_ms", "what the clock finds for a step that does nothing: it is in every latency"),
    *(duration(f"latency_p{p}_ms", f"{p} % of the samples of all rounds are below; none of too few") for p in PERCENTS),
    *(duration(f"inter_token_p{p}_ms", f"the same of the times from a token to the next, {p} %") for p in PERCENTS),
    count("inter_token_count", "times from a token to the next in the steady generations, all rounds"),
    # generation: definitions and sources in docs/modes.md
    duration("time_to_first_token_ms", "start of a generation to its first token; median over rounds of their medians"),
    duration("inter_token_latency_ms", "(last token - first token) / (tokens - 1) of a generation; median, the same"),
    number(
        "tokens_per_second",
        "tokens of one step, whole batch, / latency: input tokens of prefill, output tokens of decode and generate",
        "1/s",
        "higher",
    ),
    # what the device had to do with it: docs/gpu.md
    duration(
        "enqueue_ms", "time until a step returned, before the device was waited for; median over rounds of medians"
    ),
    text("launch_bound", "yes: the enqueue time is over 80 % of the latency, so Python and launches are what is timed"),
    duration("back_to_back_ms", "time of a step among up to 100 that are enqueued together and waited for once"),
    _ratio(
        "back_to_back_speedup",
        "eager's back_to_back_ms / the compiler's, of separate processes: without the clock's own time in short steps",
    ),
    number(
        "samples_per_second",
        "batch size / time of a step: back to back where there is that, else the latency",
        "1/s",
        "higher",
    ),
    number(
        "energy_per_step_j",
        "energy of the steady state / its steps: of the GPU's board (NVML), or of the CPU's packages (RAPL)",
        "J",
        "lower",
    ),
    number("mean_power_w", "energy of the steady state / its duration", "W"),
    number("step_gflop", "floating-point operations of one eager step / 10^9", "GFLOP"),
    number(
        "achieved_gflop_per_s",
        "floating-point operations of the eager step / step (performance: / latency)",
        "GFLOP/s",
        "higher",
    ),
    percent("mfu_percent", "achieved_gflop_per_s in % of what the device does at best in this dtype", "higher"),
    text("peak_source", "what says so: a GPU's data sheet; of a CPU, a measurement beside the job"),
    number(
        "step_mib",
        "parameters, buffers, inputs that the eager step works on, and results, once a call: the least that is moved",
        "MiB",
    ),
    number(
        "achieved_gb_per_s",
        "step_mib / latency: a lower bound, for what is between is not counted; of a cache, above the memory's",
        "GB/s",
        "higher",
    ),
    percent("of_bandwidth_percent", "achieved_gb_per_s in % of the device's memory bandwidth (peak_source)", "higher"),
    duration("first_call_s", "first call, compilation included"),
    duration("compile_latency_s", "first call minus median latency of this process"),
    text("cache", "state of the private compile cache at the start: cold, warm, none (eager)"),
    duration(
        "compile_latency_cold_s",
        "what the first calls cost over the median (on CUDA less eager's), empty compile cache; median of such rounds",
    ),
    count("compile_latency_cold_count", "rounds with an empty compile cache"),
    duration("compile_latency_warm_s", "the same with the cache of the round before"),
    count("compile_latency_warm_count", "rounds with a filled compile cache"),
    count("later_compilations", "compilations after the first call, until the end of the pairs; median", "lower"),
    duration("later_compile_s", "time in them, by dynamo's own records; not in the compile latency"),
    count("break_even_iterations", "cold compile latency / (eager - compiled paired latency), where faster", "lower"),
    duration("break_even_s", "break_even_iterations * paired_eager_latency_ms: after so much running it pays"),
    # phases of the first call, disjoint: records.COMPILE_PHASES
    duration("dynamo_s", "dynamo: it reads the Python code, and makes graphs and guards"),
    duration("backend_s", "the back-end, outside of the phases that follow"),
    duration("aot_autograd_s", "AOTAutograd: traces the graph, makes the backward one, parts the two"),
    duration("joint_graph_s", "inductor's passes before AOTAutograd, and over the joint graph"),
    duration("post_grad_s", "inductor's passes over the graph of one direction"),
    duration("lowering_s", "inductor: from operators to its own loops"),
    duration("scheduling_s", "inductor's scheduler: dependencies, and which loops become one kernel"),
    duration("code_generation_s", "writing the source of kernels and wrapper"),
    duration("autotuning_s", "compiling and timing choices, of which the fastest is taken"),
    duration("kernel_compilation_s", "waiting for the C++ compiler or Triton, and loading what they made"),
    duration("compile_cache_s", "keys of the compile cache, and loading from it"),
    duration("first_run_s", "the rest of the first call: it runs what was compiled, and what torch has no event for"),
    text("compile_phase", "part of the first call; docs/measuring.md"),
    duration("compile_phase_s", "time in it: sum over the workloads of the means over rounds"),
    number("compile_phase_change_s", "after - before, sum over the rows that both sweeps have", "s", "lower"),
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
    text("memory_source", "how the peak was read"),
    _memory("eager_device_memory_mib", "device_memory_mib of the baseline"),
    _memory(
        "device_memory_mib",
        "on CUDA: what the device holds more after the steady phase than before the model, whoever allocated it",
    ),
    text("device_memory_source", "who says so: NVML (of this process), or mem_get_info (of all that is on the device)"),
    _memory("graph_pool_memory_mib", "on CUDA: what CUDA graphs' pools keep for their tensors"),
    # dynamo
    count("graphs", "graphs captured"),
    count("graph_breaks", "graph breaks", "lower"),
    count("unique_graph_breaks", "different reasons for graph breaks", "lower"),
    count("captured_calls", "calls captured in graphs", "higher"),
    count("fallbacks", "frames that fell back to eager", "lower"),
    count("recompiles", "recompilations", "lower"),
    count("cudagraph_skips", "graphs that could not become CUDA graphs", "lower"),
    count("cudagraphs", "CUDA graphs that were recorded and are kept", "none"),
    # accuracy
    text("accuracy", "status of the accuracy job; of a shape: pass, fail_accuracy, or not compared, and why"),
    text("accuracy_reason", "why accuracy is not pass"),
    count("accuracy_batch_size", "batch size of the accuracy job"),
    text("worst_tensor", "the tensor that failed, or is nearest to it"),
    number("max_abs_error", "largest absolute difference to the reference, worst tensor", better="lower"),
    number("rmse", "root mean square error to fp64, worst tensor", better="lower"),
    number("reference_rmse", "the same of eager in the dtype asked for"),
    Column("cosine", "cosine similarity to the reference, worst tensor", "1", "higher", "six"),
    text("rule", "the rule that judged the worst tensor"),
    number("limit", "what the rule allowed"),
    number("tolerance", "tolerance, relative to the tensor's scale (rules=dynamo: absolute and relative)"),
    number("multiplier", "how many times the eager error is allowed"),
    count("tensors", "tensors compared"),
    count("tensors_failed", "tensors that failed", "lower"),
    text("fp64", "ok, or why there is no fp64 reference"),
    text("weaker", "what was judged by weaker rules, without fp64, or not at all, and why; empty: all by all rules"),
    text("judged", "the timed code: the callable that was timed was called; a twin: the model was compiled once more"),
    text("judged_call", "the call of the series in which the worst tensor is worst, and its inputs"),
    text("outputs", "bitwise equal to those of the sweep that compare_outputs names, or not, or why it cannot be said"),
    text("rules", "scaled (docs/measuring.md), or dynamo: those of torch._dynamo.utils.same"),
    # of several measures
    text("operator", "operator with its overload, or what the profiler calls it"),
    count("models", "models that have it"),
    count("distinct_operators", "different operators"),
    percent("share_percent", "share of all", "none"),
    text("tensor", "name of the tensor"),
    count("calls", "steps that were run"),
    # overview
    _ratio("geomean_speedup", "over workloads that all compilers ran with right results; interval: for exactly these"),
    _ratio("geomean_speedup_low", "lower end of its 95 % interval, for exactly these workloads"),
    _ratio("geomean_speedup_high", "upper end of the same; none where a workload has no interval"),
    text("geomean_interval", "what that interval is of, the weakest of the workloads': rounds, in-process, unpaired"),
    _ratio("geomean_over_models_low", "lower end of the 95 % interval of the mean of models like these: t over models"),
    _ratio("geomean_over_models_high", "upper end of the same; none of one model"),
    _ratio("geomean_speedup_clipped", "the same with every speed-up below 1 counted as 1, as PyTorch's dashboard does"),
    count("geomean_count", "workloads in it", "higher"),
    count("geomean_disturbed", "workloads in it that something else on the machine disturbed", "lower"),
    text("geomean_models", "models in it"),
    percent(
        "pass_rate_percent",
        "passed / planned; no result at all: not passed; interval: for models like these",
        "higher",
    ),
    percent("pass_rate_low_percent", "lower end of its 95 % interval, for models like these (Wilson)", "higher"),
    percent("pass_rate_high_percent", "upper end of the same", "higher"),
    count("passed", "workloads of which every planned measure passed", "higher"),
    count("planned", "workloads planned"),
    count("performance_passed", "workloads whose performance passed", "higher"),
    count("performance_planned", "workloads whose performance was planned"),
    count("accuracy_passed", "workloads whose accuracy passed", "higher"),
    count("accuracy_planned", "workloads whose accuracy was planned"),
    duration("mean_compile_latency_cold_s", "arithmetic mean of the cold compile latencies"),
    count("mean_compile_latency_cold_count", "workloads in it"),
    _ratio("geomean_compression_ratio", "geometric mean of the compression ratios"),
    count("geomean_compression_count", "workloads in it"),
    # answer: speed-up, memory and compile latency as above, of rows without a model the overview's means
    text(
        "choice",
        "fastest, like the fastest (not told apart from it), smallest, front (none beats it in latency, memory and "
        "compile time), left out (wrong, failed, or not judged where others were)",
    ),
    text("beaten_by", "what keeps it from the front: better in nothing that is shown, and worse in something"),
    percent("memory_change_percent", "compiled / eager memory - 1: above 0 is larger", "lower"),
    count("break_even_low", "break_even_iterations at the upper end of the speed-up's interval", "lower"),
    count("break_even_high", "the same at its lower end; none where that gains nothing", "lower"),
    count("rows_timed", "rows that have a speed-up"),
    count("rows_slower", "rows that are slower than eager, for certain"),
    count("rows_faster", "rows that are faster than eager, for certain"),
    count("rows_undecided", "rows that are within noise of eager, or have no interval"),
    count("rows_judged", "rows whose results were judged"),
    count("rows_right", "rows with right results"),
    count("rows_wrong", "rows with wrong results"),
    count("rows_broken", "rows in which the compiler crashed, raised, hung or ran out of memory"),
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


def named(metric: str, column: Column | None = None) -> str:
    """Return a metric's name in a sentence. column: of a figure that is not built in."""
    known = COLUMNS.get(metric, column)
    return IN_A_SENTENCE.get(metric) or (metric.replace("_", " ") if known is None else known.words)
