"""Wrong inputs of every kind, and what is said of them. What is written here stands for a kind: other words, keys
further down, flags, spaces, other groups, options of plug-ins, files.
"""

from __future__ import annotations

from pathlib import Path

import pytest

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()

    def forward(self, x):
        return x

    def get_example_inputs(self, batch_size=1):
        return torch.randn(batch_size, 4)

class Wide(Net):
    def __init__(self, width):
        super().__init__()

class Bare(torch.nn.Module):
    pass

model = Net()
"""
FILES = {
    "net.py": NET,
    "broken.py": "def Net(:\n",
    "unknown.yaml": "rounds: 1\ncompilers: [eager]\n",
    "option.yaml": "compiler:\n  - eager\n  - indcutor\n",
    "type.yaml": "suite: tiny\nbatch_size: [1, many]\n",
    "nested.yaml": "execution:\n  timeout: 60\n",
    "syntax.yaml": "compiler: [eager\n",
}
USER = "suite=user suite.models=[{}]"

WRONG = [
    # other words for options
    ("dtype=fp16", "unknown dtype 'fp16': did you mean 'float16'?"),
    ("dtype=half", "did you mean 'float16'?"),
    ("dtype=bf16", "did you mean 'bfloat16'?"),
    ("dtype=fp32,float16", "unknown dtype 'fp32': did you mean 'float32'?"),
    ("dtype=[bf16,float16]", "unknown dtype 'bf16': did you mean 'bfloat16'?"),
    ("dtype=torch.float16", "did you mean 'float16'?"),
    ("dtype=FLOAT16", "did you mean 'float16'?"),
    ("dtype=amp", "did you mean 'amp_bfloat16'?"),
    ("dtype=double", "float64 is what references are computed in"),
    ("suite=hf", "did you mean 'huggingface'?"),
    ("device=gpu", "unknown device 'gpu': did you mean 'cuda'?"),
    ("device=cuda:1", "write device=cuda device.index=1"),
    ("device=mps", "Apple's GPUs are not measured"),
    ("device=hpu", "Intel's Gaudi is not measured"),
    # words of benchmarks/dynamo and of optimum-benchmark
    ("suite=timm_models", "did you mean 'timm'?"),
    ("compiler=torchscript_jit_trace", "did you mean 'jit_trace'?"),
    ("compiler=export_aot_inductor", "did you mean 'aot_inductor'?"),
    ("compiler=dynamo_onnx", "did you mean 'onnx_dynamo'?"),
    ("compiler=torchscript_onnx", "did you mean 'onnx_torchscript'?"),
    ("compiler=overhead", "did you mean 'dynamo_eager'?"),
    ("compiler=nothing", "did you mean 'identity'?"),
    ("compiler=nvprims_nvfuser", "torch has removed it"),
    ("compiler=torchao", "quantization=int8_dynamic"),
    ("compiler=export_nativert", "compiler=aot_inductor is the nearest"),
    ("quantization=noquant", "did you mean 'none'?"),
    ("measure=compile_phases", "tables/compile_phases.csv"),
    ("scenario=inference", "did you mean 'mode'?"),
    ("compiler=torch.compile", "did you mean 'inductor'?"),
    ("compiler=onnxruntime", "did you mean 'onnx_dynamo'?"),
    ("compiler=trt", "did you mean 'tensorrt'?"),
    ("compiler=max-autotune", "did you mean 'inductor_max_autotune'"),
    ("compiler=reduce-overhead", "did you mean 'inductor_reduce_overhead'?"),
    ("mode=train", "did you mean 'training'?"),
    ("mode=eval", "did you mean 'inference'?"),
    ("measure=latency", "did you mean 'performance'?"),
    ("measure=speed,accuracy", "unknown measure 'speed': did you mean 'performance'?"),
    ("precision=highest", "did you mean 'ieee'?"),
    # slips
    ("compiler=inducter", "did you mean 'inductor'?"),
    ("dtype=flaot16", "did you mean 'float16'?"),
    ("dtype=float15", "unknown dtype 'float15': did you mean 'float16'? Available: amp_bfloat16,"),
    ("dtype=bfloat17,float16", "unknown dtype 'bfloat17': did you mean 'bfloat16'?"),
    ("roundz=2", "unknown key 'roundz': did you mean 'rounds'?"),
    # options of other groups
    ("mode=max-autotune", "that is no mode: write compiler=inductor_max_autotune"),
    ("mode=reduce-overhead", "write compiler=inductor_reduce_overhead"),
    ("mode=float16", "write dtype=float16"),
    ("precision=fp16", "that is no precision: write dtype=float16"),
    ("precision=bfloat16", "write dtype=bfloat16"),
    ("dtype=tf32", "write precision=tf32"),
    ("dtype=int8", "write quantization=int8_dynamic or quantization=int8_weight_only"),
    ("compiler=int8_dynamic", "write quantization=int8_dynamic"),
    ("compiler=training", "write mode=training"),
    ("suite=bert_small", "write suite=quick suite.models=[bert_small]"),
    ("suite=BertForMaskedLM", "suite.models=[BertForMaskedLM]"),
    ("suite=net.py:Net", "write suite=user suite.models=[net.py:Net]"),
    # other words for keys, and keys further down
    ("backend=inductor", "unknown key 'backend': did you mean 'compiler'?"),
    ("backends=eager,inductor", "did you mean 'compiler'?"),
    ("model=bert_small", "unknown key 'model': write suite.models=[A,B]"),
    ("models=[bert_small]", "write suite.models=[A,B]"),
    ("timeout=60", "did you mean 'execution.timeout_s'?"),
    ("batch=4", "did you mean 'batch_size'?"),
    ("seq_len=128", "did you mean 'sequence_length'?"),
    ("repeats=3", "did you mean 'rounds'?"),
    ("memory_limit=4", "did you mean 'execution.memory_limit_gib'?"),
    ("retries=2", "did you mean 'execution.retries'?"),
    ("pairs=5", "did you mean 'measure.options.pairs'? Only measure=performance has it."),
    ("dynamic=true", "did you mean 'compiler.options.dynamic'?"),
    ("compiler.dynamic=true", "did you mean 'compiler.options.dynamic'?"),
    ("execution.timeout=60", "unknown key 'execution.timeout': did you mean 'timeout_s'?"),
    ("num_threads=2", "did you mean 'threads'?"),
    ("dtypes=float16", "did you mean 'dtype'?"),
    ("Compiler=eager", "did you mean 'compiler'?"),
    ("suite.model=[bert_small]", "did you mean 'models'?"),
    # verbs and flags
    ("dry_run", "write dry_run=true"),
    ("run", "a sweep has no verb"),
    ("sweep compiler=eager", "a sweep has no verb"),
    ("list", "did you mean 'ls'?"),
    ("compare", "did you mean 'diff'?"),
    ("reprot latest", "unknown verb 'reprot': did you mean 'report'?"),
    ("eager", "write compiler=eager"),
    ("--dry-run", "write dry_run=true"),
    ("--compiler inductor", "write compiler=inductor"),
    ("--compiler=inductor", "write compiler=inductor"),
    ("--batch-size 4 compiler=eager", "write batch_size=4"),
    ("-compiler eager", "write compiler=eager"),
    ("--model bert_small", "write suite.models=[bert_small]"),
    ("--fp16", "write dtype=float16"),
    ("--nonsense", "there is no such flag (--help), and no such key"),
    ("--cfg jobb", "invalid choice: 'jobb'"),
    # spaces and signs
    ("compiler=eager, inductor", "a space has split compiler=eager, inductor: write it without spaces"),
    ("compiler=[eager, inductor]", "a space has split compiler=[eager, inductor]"),
    ("compiler = eager", "write compiler=eager, without spaces around '='"),
    ("dtype=float16 compiler = eager", "write compiler=eager, without spaces around '='"),
    ("compiler:eager", "write compiler=eager"),
    ("compiler==eager", "write compiler=eager, with one '='"),
    ("=eager", "'=eager' has no key"),
    ("compiler=eager report", "a verb stands first"),
    ("builds={a:{foo:1}}", "unknown key 'builds.a.foo'"),  # though build=base
    # values
    ("rounds=abc", "rounds=abc: Value 'abc'"),
    ("batch_size=0", "batch_size=0: it must be at least 1"),
    ("batch_size=[]", "batch_size=[]: the list is empty"),
    ("suite.models=bert_small", "write suite.models=[bert_small]"),
    ("suite.models=[bert_smal]", "has no model 'bert_smal': did you mean 'bert_small'?"),
    ("dry_run=[true,false]", "'dry_run' belongs to the whole sweep"),
    ("budget=20", "budget=20: write a time as 20min"),
    ("gate=acuracy", "gate=acuracy: did you mean 'accuracy'?"),
    # options of plug-ins
    ("compiler.options.mode=max-autotunee", "inductor has no mode 'max-autotunee': did you mean 'max-autotune'?"),
    ("compiler.options.dynamicc=true", "unknown option 'dynamicc'"),
    ("compiler.options.dynamic=maybe", "dynamic=maybe: write true, false"),
    ("compiler.options.options.max_autotune_gem=true", "did you mean 'max_autotune_gemm'?"),
    ("compiler.options.options.triton.cudagraph=true", "did you mean 'triton.cudagraphs'?"),
    ("compiler.options.dynamo.cache_size=3", "torch._dynamo.config has no key cache_size"),
    ("measure=performance measure.options.pair=5", "unknown option 'pair'"),
    # experiment files
    ("nowhere.yaml", "experiment=nowhere.yaml: there is no such file"),
    ("unknown.yaml", "unknown.yaml, line 2: unknown key 'compilers': did you mean 'compiler'?"),
    ("option.yaml", "option.yaml, line 1: unknown compiler 'indcutor': did you mean 'inductor'?"),
    ("experiment=type.yaml", "type.yaml, line 2: batch_size: 'many': it must be a whole number"),
    ("nested.yaml", "nested.yaml, line 2: unknown key 'execution.timeout': did you mean 'timeout_s'?"),
    ("syntax.yaml", "syntax.yaml, line 2, column 1: not YAML"),
    # models of their own
    (USER.format("nett.py:Net"), "nett.py cannot be read: No such file or directory: did you mean 'net.py'?"),
    (USER.format("net.py:Nat"), "has no class or function 'Nat': did you mean 'Net'?"),
    (USER.format("broken.py:Net"), "broken.py, line 1 is not Python"),
    (USER.format("net.py:Wide"), "needs width: give a default, or suite.common.build.arguments.width"),
    (USER.format("net.py:Bare"), "Bare has no get_example_inputs()"),
    (USER.format("net.py:model"), "'model' of"),
    (USER.format("nowhere_of_mine:Net"), "there is no module 'nowhere_of_mine'"),
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path
