"""Flags of PyTorch's benchmarks/dynamo and of transformers' benchmark_v2, and what they are here.

For whoever types them out of habit. Those that mean a key by their own words are told by `orchestrator.planning.meant`.
"""

from __future__ import annotations

from collections.abc import Mapping

PAGE = "docs/coming_from.md"
ALWAYS, LEFT_OUT = "always on", "left out"


def _flags(table: Mapping[str, str]) -> dict[str, str]:
    return {flag: ours for ours, flags in table.items() for flag in flags.split()}


FLAGS = _flags(
    {
        "shard=2/5": "total-partitions partition-id",
        "suite.models=[sizes.txt]": "batch-size-file",
        "measure=performance measure.options.pairs=50": "repeat n",
        "measure=accuracy measure.options.calls=2": "iterations",
        "measure=performance measure.options.warmup_calls=3": "warmup",
        "measure=operators compiler=eager": "log-operator-inputs",
        "measure=largest_batch": "find-batch-sizes",
        "measure=batch_invariance": "batch-invariant",
        "measure=recompilations": "recompile-profiler",
        "measure=cache_lookup": "profile-dynamo-cache-lookup",
        "measure=memory_by_line": "snapshot-memory",
        "measure=explain": "stats print-graph-breaks log-graph-breaks generate-aot-autograd-stats",
        "measure=explain measure.options.graphs=true": "print-fx print-aten-ops",
        "measure=profile measure.options.record_shapes=true": (
            "export-profiler-trace profiler-trace-name profile-details"
        ),
        "measure=profile": "num-tokens-to-profile",
        "measure=tolerance": "tolerance",
        "measure=accuracy measure.options.tolerance=0.01": "xla-tolerance",
        "mode=training parallel=ddp ranks=2": "multiprocess ddp",
        "mode=training parallel=fsdp2 ranks=2": "fsdp",
        "+compiler.options.dynamo={optimize_ddp:python_reducer}": "optimize-ddp-mode no-optimize-ddp",
        "mode=inference": "use-eval-mode",
        "mode=inference_channels_last": "channels-last",
        "mode=training_checkpointing": "enable-activation-checkpointing",
        "mode=generate": "hf-inference-mode",
        "sequence_length=1000": "prompt-length",
        "mode=generate mode.options.new_tokens=64": "decode-length num-tokens-to-generate",
        "dtype=amp_bfloat16": "amp amp-dtype",
        "compiler=inductor_fullgraph": "nopython",
        "compiler=inductor_dynamic": "dynamic-shapes",
        "compiler=inductor_dynamic_batch": "dynamic-batch-only",
        "compiler=inductor_dynamic_unbacked": "unbacked-batch-only",
        "compiler=inductor_dynamic_batch,inductor_dynamic_unbacked": "compare-backed-unbacked",
        "compiler=inductor_no_cudagraphs": "disable-cudagraphs",
        "compiler=inductor_compiled_autograd": "compiled-autograd",
        "compiler=inductor compiler.options.mode=max-autotune": "inductor-compile-mode",
        "compiler.options.options={epilogue_fusion:false}": "inductor-config c",
        "compiler.options.options={split_reductions:false}": (
            "disable-split-reductions disable-persistent-reductions disable-divisible-by-16"
        ),
        "compiler.options.options={pre_grad_fusion_options:{}}": "optimus",
        "compiler.options.dynamo={specialize_int:true}": "specialize-int propagate-real-tensors suppress-errors",
        "compiler=dynamo_ts": "speedup-dynamo-ts",
        "compiler=onnx_dynamo": "dynamo-onnx dynamo-onnx-aot-inline",
        "compiler=onnx_dynamo_no_optimize": "dynamo-onnx-aot-optimize",
        "compiler=export": "export",
        "compiler=xla": "trace-on-xla",
        "execution.memory_fraction=0.5": "per_process_memory_fraction",
        "execution.cpu_sets=[0-7,8-15]": "enable-cpu-launcher cpu-launcher-args",
        "keep_outputs=true": "save-model-outputs-to",
        "compare_outputs=latest": "compare-model-outputs-with",
        "hydra.sweep.dir=DIR": "output output-directory output-dir disable-output retain-output",
        "dry_run=true": "print-run-commands",
        "suite=quick": "quick",
        "suite=generation": "model-id",
        "experiment=quick": "level",
        "tag=nightly": "branch-name commit-id commit-message",
        "diff A B": "baseline",
        "diff latest~1 latest": "diff-branch",
        "show latest --log": "verbose quiet",
        'execution.env={TORCH_LOGS:"+dynamo"}': "log-level",
        "report": "visualize-logs",
        "report latest --md": (
            "update-dashboard update-dashboard-test no-update-archive no-gh-comment dashboard-image-uploader "
            "dashboard-gh-cli-path"
        ),
        "report latest --md --against latest~1": "no-detect-regressions",
        "export plots --over-time 20": "no-graphs",
        "ls": "keep-output-dir archive-name dashboard-archive-path",
        ALWAYS: (
            "dump-raw-metrics use-warm-peak-memory cold-start-latency warm-start-latency print-memory progress timing "
            "print-compilation-time print-dataframe-summary include-slowdowns base-sha flag-compilers _print-latency-ms"
        ),
        LEFT_OUT: (
            "no-skip fast part ci dashboard deterministic skip-accuracy-check skip-fp64-check collect-outputs "
            "distributed-master-port iterations-per-run no-translation-validation inductor-settings log-conv-args "
            "export-perfdoctor nvfuser nnc prims-nvfuser torch-onnx-patch speedup-ts speedup-trt speedup-fx2trt "
            "speedup-fx2trt-fp16 aot-precompile export-nativert caching-precompile extra-args no-cold-start-latency "
            "enable-tp no-gpu-monitoring push-result-to-dataset"
        ),
    }
)
"""Flag without its dashes -> what is written here, `ALWAYS`, or `LEFT_OUT`."""


def meaning(name: str) -> str | None:
    """Return what to say of a flag (without dashes, "-" or "_" between words) of another benchmark; None for others."""
    ours = FLAGS.get(name) or FLAGS.get(name.replace("_", "-"))
    if ours is None:
        return None
    if ours == ALWAYS:
        return f"what it asks for in another benchmark is {ALWAYS} here ({PAGE})"
    if ours == LEFT_OUT:
        return f"another benchmark has it, and here it is {LEFT_OUT}: {PAGE} says why"
    return f"another benchmark's; here it is {ours} ({PAGE} has them all)"
