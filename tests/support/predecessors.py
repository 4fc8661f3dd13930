"""The options that the predecessors have, by the sections of docs/coming_from.md, as their source has them.

PyTorch: benchmarks/dynamo's common.py (commit 00391a7e1220, and what 55be6cf92fca, its README and the copy of 2024 have
besides) and runner.py. transformers: benchmark/benchmark_args_utils.py (00c1ec83bc90), with PyTorch's arguments and
TensorFlow's; benchmark_v2/run_benchmarks.py (020a37d2264e) and its BenchmarkConfig. optimum-benchmark: the config.py of
benchmark, scenarios, launchers and the back-ends pytorch, onnxruntime and openvino, of several versions.
Spellings with "_" for "-" are the same option.
"""

from __future__ import annotations

from collections.abc import Mapping

OPTIONS: Mapping[str, str] = {
    "PyTorch: options": """
        --filter -k --exclude -x --exclude-exact --total-partitions --partition-id --devices --device -d --device-index
        --repeat -n --iterations-per-run --randomize-input --threads -t --nopython --no-skip --prims-nvfuser
        --dump-raw-metrics --log-operator-inputs --channels-last --batch-size --iterations --batch-size-file --cosine
        --freezing --deterministic --batch-invariant --inductor-config -c --ci --dashboard --skip-fp64-check --fast -f
        --only --multiprocess --ddp --fsdp --optimize-ddp-mode --no-optimize-ddp --distributed-master-port
        --dynamic-shapes --propagate-real-tensors --dynamic-batch-only --unbacked-batch-only --compare-backed-unbacked
        --_print-latency-ms --specialize-int --use-eval-mode --skip-accuracy-check --generate-aot-autograd-stats
        --inductor-settings --suppress-errors --output --output-directory --disable-output --baseline --part
        --export-profiler-trace --profiler-trace-name --profile-details --export-perfdoctor --diff-branch --tag
        --explain --stats --use-warm-peak-memory --print-memory --print-compilation-time --print-dataframe-summary
        --disable-cudagraphs --disable-split-reductions --disable-persistent-reductions --disable-divisible-by-16
        --inductor-compile-mode --print-graph-breaks --log-graph-breaks --trace-on-xla --xla-tolerance
        --collect-outputs --enable-activation-checkpointing --timing --progress --timeout
        --per_process_memory_fraction --no-translation-validation --minify --compiled-autograd
        --profile-dynamo-cache-lookup --snapshot-memory --retain-output --caching-precompile --save-model-outputs-to
        --compare-model-outputs-with --cold-start-latency --warm-start-latency --nvfuser --nnc --float16 --bfloat16
        --float32 --amp --amp-dtype --verbose -v --quiet -q --coverage --overhead --speedup-dynamo-ts
        --speedup-fx2trt --speedup-fx2trt-fp16 --print-fx --print-aten-ops --inductor --optimus --quantization
        --export --export-aot-inductor --aot-precompile --export-nativert --torchscript-jit-trace --xla --backend
        --nothing --log-conv-args --recompile-profiler --find-batch-sizes --accuracy --performance --tolerance
        --training --inference
        --cpp-wrapper --hf-inference-mode --prompt-length --decode-length --torchscript-onnx --torch-onnx-patch
        --dynamo-onnx --dynamo-onnx-aot-inline --dynamo-onnx-aot-optimize --speedup-ts --speedup-trt""",
    "runner.py": """
        --devices --dtypes --suites --compilers --flag-compilers --quick --output-dir --keep-output-dir
        --print-run-commands --visualize-logs --run --extra-args --inference --training --update-dashboard
        --update-dashboard-test --dashboard-image-uploader --dashboard-archive-path --archive-name
        --dashboard-gh-cli-path --batch-size --threads --total-partitions --partition-id --inductor-compile-mode
        --log-operator-inputs --no-cold-start-latency --no-graphs --no-update-archive --no-gh-comment
        --no-detect-regressions --include-slowdowns --base-sha --enable-cpu-launcher --cpu-launcher-args""",
    "The old transformers.benchmark": """
        models batch_sizes sequence_lengths inference cuda tpu fp16 training verbose speed memory
        trace_memory_line_by_line save_to_csv log_print env_print multi_process inference_time_csv_file
        inference_memory_csv_file train_time_csv_file train_memory_csv_file env_info_csv_file log_filename repeat
        only_pretrain_model torchscript torch_xla_tpu_print_metrics tpu_print_metrics fp16_opt_level eager_mode use_xla
        device_idx tpu_name configs no_inference no_cuda no_tpu no_speed no_memory no_env_print no_multi_process""",
    "transformers' benchmark_v2": """
        --output-dir --log-level --model-id --warmup -w --iterations -i --batch-size -b --sequence-length -s
        --num-tokens-to-generate -n --level --config-file --num-tokens-to-profile -p --enable-tp --branch-name
        --commit-id --commit-message --no-gpu-monitoring --push-result-to-dataset
        warmup_iterations measurement_iterations gpu_monitoring batch_size sequence_length num_tokens_to_generate
        attn_implementation sdpa_backend compile_mode compile_options kernelize continuous_batching tp_plan name
        skip_validity_check""",
    "optimum-benchmark": """
        --config-dir --config-name --multirun name backend scenario launcher environment print_report log_report
        iterations duration warmup_runs input_shapes batch_size sequence_length new_tokens memory latency energy
        forward_kwargs generate_kwargs call_kwargs max_steps warmup_steps dataset_shapes training_arguments
        seed inter_op_num_threads intra_op_num_threads continuous_isolation isolation_check_interval delete_cache
        model processor task library model_type device device_ids model_kwargs processor_kwargs hub_kwargs
        no_weights device_map torch_dtype disable_grad eval_mode amp_autocast amp_dtype torch_compile
        torch_compile_config bettertransformer to_bettertransformer quantization_strategy quantization_scheme
        quantization_config use_ddp ddp_config peft_strategy peft_type peft_config
        attn_implementation cache_implementation allow_tf32 deepspeed_inference
        deepspeed_inference_config tp_plan low_cpu_mem_usage autocast_enabled autocast_dtype torch_compile_target
        export use_cache use_merged provider device_id provider_options use_io_binding enable_profiling
        session_options optimization optimization_config quantization calibration calibration_config
        auto_optimization auto_optimization_config auto_quantization auto_quantization_config use_inference_session
        load_in_8bit load_in_4bit ov_config half compile reshape reshape_kwargs
        device_isolation device_isolation_action start_method numactl numactl_kwargs
        min_nodes max_nodes nproc_per_node role monitor_interval rdzv_id rdzv_backend rdzv_endpoint rdzv_configs
        rdzv_timeout max_restarts local_addr socket_ifname push_to_hub""",
}
"""Heading of docs/coming_from.md -> options, in the words of a command line."""
