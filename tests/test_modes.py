"""Modes on small real models: what a step does, what is counted, and that a wrong compiler is found."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import transformers
from fakes.sweeps import make_job
from omegaconf import OmegaConf
from support import synthetic
from support.command import run, table

from orchestrator.compilers.dynamo import TorchCompile
from orchestrator.compilers.eager import Eager
from orchestrator.exchange import dynamobench_export
from orchestrator.exchange.rows import joined
from orchestrator.measures.accuracy import Accuracy
from orchestrator.measures.context import Context
from orchestrator.measures.performance import Performance
from orchestrator.measures.reference import Reference
from orchestrator.modes.generate import Decode, Generate, Prefill
from orchestrator.modes.inference import Inference
from orchestrator.modes.token_by_token import TokenClock, TokenLoop
from orchestrator.modes.training import Training
from orchestrator.plugins import Outcome, Program, Unsupported, check_inputs
from orchestrator.probes.memory import MemoryProbe
from orchestrator.records import FAIL_ACCURACY, PASS, UNSUPPORTED, JobResult, JobSpec, PluginSpec, Samples, Workload
from orchestrator.results import load, tables
from orchestrator.results.load import SweepResults
from orchestrator.results.performance import GENERATION
from orchestrator.store import SweepFolder
from orchestrator.suites.caches import argument_of
from orchestrator.suites.huggingface import HuggingFaceModel
from orchestrator.views import summary
from orchestrator.views.document import show
from orchestrator.worker.run import run_job

CONF = Path(__file__).parents[1] / "conf"
MODELS = ("llama_tiny", "qwen3_tiny", "gpt2_tiny", "t5_tiny")
BATCH, PROMPT, NEW = 2, 16, 6
QUICK = Performance(
    iterations=5, seconds=0.0, pairs=4, pair_seconds=0.0, block_seconds=0.0, warmup_seconds=0.0, extra_seconds=0.0,
    quiet_seconds=0.0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread_and_little_garbage() -> Iterator[None]:
    """Each phase collects garbage first; what pytest and torch hold need not be looked at every time."""
    torch.set_num_threads(1)
    gc.freeze()
    yield
    torch._dynamo.reset()


def spec(name: str, **options: Any) -> PluginSpec:
    return PluginSpec(name=name, target=f"tests.{name}", options=options)


def workload(model: str, mode: str = "generate", **changes: Any) -> Workload:
    made = Workload(
        suite="tests", builder=spec(model), mode=spec(mode), dtype="float32", device="cpu", batch_size=BATCH,
        sequence_length=PROMPT, seed=1, threads=1,
    )  # fmt: skip
    return replace(made, **changes)


@cache
def catalog(suite: str) -> dict[str, Any]:
    data = OmegaConf.to_container(OmegaConf.load(CONF / "suite" / f"{suite}.yaml"))
    assert isinstance(data, dict)
    return data["catalog"]


def builder(model: str, suite: str = "generation_tiny") -> HuggingFaceModel:
    return HuggingFaceModel(**catalog(suite)[model]["build"])


def program(model: str, suite: str = "generation_tiny", **changes: Any) -> Program:
    return builder(model, suite).build(workload(model, **changes), dropout=False)


def context(tmp_path: Path, build: Any, mode: Any, compiler: Any = None, **changes: Any) -> Context:
    compiler = compiler or Eager()
    name = "eager" if isinstance(compiler, Eager) else "other"
    job = JobSpec(
        id="job", workload=workload("model", **changes), compiler=spec(name), measure=spec("measure"), round=0,
        launcher="fork", env={}, needs=(), timeout_s=60, cost_s=1,
    )  # fmt: skip
    device = torch.device("cpu")
    return Context(
        job=job, device=device, builder=build, mode=mode, compiler=compiler, folder=tmp_path,
        reference=tmp_path / "reference", references=[tmp_path / "reference"], memory=MemoryProbe(device),
        entered=lambda phase: None,
    )  # fmt: skip


def judged(
    tmp_path: Path, build: Any, mode: Any, compiler: Any, **changes: Any
) -> tuple[Outcome, list[dict[str, Any]]]:
    """Run the reference and the accuracy job; return the verdict and the record of every tensor."""
    reference = context(tmp_path, build, mode, **changes)
    assert Reference().run(reference).status == PASS
    assert reference.facts["fp64"] == "ok"
    seen = context(tmp_path, build, mode, compiler, **changes)
    outcome = Accuracy(tolerance=1e-2 if mode.training else 1e-3).run(seen)
    return outcome, seen.facts["accuracy"]["tensors"]


# generation


@pytest.mark.parametrize("cache", ["static", "dynamic"])
@pytest.mark.parametrize("model", MODELS)
def test_tokens_are_those_of_hugging_faces_generate(model: str, cache: str) -> None:
    made = program(model)
    own: Any = made.model.model
    torch.manual_seed(0)
    own.lm_head.weight = torch.nn.Parameter(torch.randn_like(own.lm_head.weight))  # tied, T5 repeats its input
    tokens = Generate(new_tokens=NEW, cache=cache).step(made, made.model, workload(model))()
    prompt = made.inputs["input_ids"]
    start = {"decoder_start_token_id": own.config.pad_token_id} if own.config.is_encoder_decoder else {}
    theirs = own.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False,
        use_cache=True, cache_implementation=cache, **start,
    )  # fmt: skip
    assert tokens.shape == (BATCH, NEW)
    assert tokens.dtype == torch.int64
    assert len(set(tokens.flatten().tolist())) > NEW
    assert torch.equal(tokens, theirs[:, -NEW:])


@pytest.mark.parametrize("cache", ["static", "dynamic"])
@pytest.mark.parametrize("model", MODELS)
def test_logits_are_those_of_one_forward_pass_over_all_tokens(model: str, cache: str) -> None:
    made = program(model)
    options = {"new_tokens": NEW, "cache": cache}
    load = workload(model)
    generated = Generate(**options).observe(made, made.model, load)["output.logits"]
    decoded = Decode(**options).observe(made, made.model, load)["output.logits"]
    prefilled = Prefill(**options).observe(made, made.model, load)["output.logits"]
    own: Any = made.model.model
    drawn = TokenLoop(made, made.model, load, cache, NEW).drawn_tokens()
    prompt = made.inputs["input_ids"]
    with torch.no_grad():
        if own.config.is_encoder_decoder:
            start = torch.full_like(prompt[:, :1], own.config.pad_token_id)
            whole = own(input_ids=prompt, decoder_input_ids=torch.cat([start, drawn], dim=1)).logits
        else:
            whole = own(input_ids=torch.cat([prompt, drawn], dim=1)).logits[:, PROMPT - 1 :]
    assert generated.shape == decoded.shape == (BATCH, NEW, whole.shape[-1])
    torch.testing.assert_close(prefilled, whole[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(generated, whole[:, :NEW], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(decoded, whole[:, 1:], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", [Prefill(NEW), Decode(NEW), Generate(NEW)], ids=lambda mode: type(mode).__name__)
@pytest.mark.parametrize(
    ("model", "dtype"),
    [("llama_tiny", "float32"), ("llama_tiny", "bfloat16"), ("t5_tiny", "float16"), ("t5_tiny", "amp_bfloat16")],
)
def test_eager_is_accurate_and_has_a_float64_reference(tmp_path: Path, model: str, dtype: str, mode: Any) -> None:
    outcome, tensors = judged(tmp_path, builder(model), mode, Eager(), dtype=dtype)
    assert outcome.status == PASS, outcome.reason
    shapes = {record["name"]: record["shape"] for record in tensors}
    if isinstance(mode, Prefill):
        assert shapes.pop("output.logits_after") == [BATCH, 1, 1000]
        assert shapes == {"output.logits": [BATCH, 1000], "output.tokens": [BATCH]}
    else:
        assert shapes == {"output.logits": [BATCH, NEW, 1000], "output.tokens": [BATCH, NEW]}


def test_a_static_cache_that_autocast_makes_impossible_is_unsupported(tmp_path: Path) -> None:
    """Whether keys and values have two dtypes depends on the version of transformers: here they have."""
    made, load = program("llama_tiny"), workload("llama_tiny", dtype="amp_bfloat16")

    def two_dtypes(*_: Any) -> None:
        raise RuntimeError("index_copy_(): self and source expected to have the same dtype, but got Float and BFloat16")

    made.model.register_forward_pre_hook(two_dtypes)
    with pytest.raises(Unsupported, match=r"different dtypes.* take dtype=bfloat16, or mode.options.cache=dynamic"):
        Decode(NEW).step(made, made.model, load)
    outcome, _ = judged(tmp_path, builder("llama_tiny"), Decode(NEW, "dynamic"), Eager(), dtype="amp_bfloat16")
    assert outcome.status == PASS, outcome.reason


def test_tokens_are_compared_where_that_is_asked_for(tmp_path: Path) -> None:
    outcome, tensors = judged(tmp_path, builder("llama_tiny"), Generate(NEW, compare_tokens=True), Eager())
    assert outcome.status == PASS
    assert {(r["name"], r["dtype"], r["rule"]) for r in tensors} >= {("output.generated", "int64", "equal")}


@dataclass(frozen=True)
class Replaced:
    """A compiler whose code is what `change` makes of the model's forward."""

    change: Callable[[Callable[..., Any]], Callable[..., Any]]
    changes_model: ClassVar[bool] = False

    def check(self, workload: Workload) -> None: ...

    def compile(self, program: Program, workload: Workload) -> Callable[..., Any]:
        return self.change(program.model)


CACHE = argument_of(transformers.LlamaForCausalLM)


def forgetful(model: Callable[..., Any]) -> Callable[..., Any]:
    """A static cache is not written: keys and values are put where nobody looks."""

    def forward(**inputs: Any) -> Any:
        layers = inputs[CACHE].layers
        before = [(layer.keys.clone(), layer.values.clone()) for layer in layers]
        outputs = model(**inputs)
        for layer, (keys, values) in zip(layers, before, strict=True):
            layer.keys.copy_(keys)
            layer.values.copy_(values)
        return outputs

    return forward


@pytest.mark.parametrize("mode", [Decode(NEW), Generate(NEW)], ids=lambda mode: type(mode).__name__)
def test_code_that_does_not_write_the_cache_is_found(tmp_path: Path, mode: Any) -> None:
    outcome, _ = judged(tmp_path, builder("llama_tiny"), mode, Replaced(forgetful))
    assert outcome.status == FAIL_ACCURACY
    assert "output.logits" in outcome.reason


def test_every_step_of_a_static_cache_is_in_the_same_memory_and_does_the_same() -> None:
    made = program("llama_tiny")
    seen: list[tuple[int, int, torch.Tensor]] = []

    def forward(**inputs: Any) -> Any:
        layer = inputs[CACHE].layers[0]
        length = int(layer.cumulative_length)
        outputs = made.model(**inputs)
        seen.append((layer.keys.data_ptr(), length, outputs["logits"].clone()))
        return outputs

    step = Decode(NEW).step(made, forward, workload("llama_tiny"))
    for _ in range(3):
        step.prepare()
        step()
    step()  # nobody made it ready: it does so itself
    assert len({pointer for pointer, _, _ in seen}) == 1
    assert [length for _, length, _ in seen] == [PROMPT] * 4
    assert all(torch.equal(logits, seen[0][2]) for _, _, logits in seen)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("cache", ["static", "dynamic"])
def test_a_step_of_each_phase_can_be_repeated(model: str, cache: str) -> None:
    made = program(model)
    for mode in (Prefill(NEW, cache), Decode(NEW, cache), Generate(NEW, cache)):
        step = mode.step(made, made.model, workload(model))
        first, second = step(), step()
        one, two = (x if isinstance(x, torch.Tensor) else x["logits"] for x in (first, second))
        assert torch.equal(one, two)


def test_a_sliding_window_is_set_back_too() -> None:
    config = catalog("generation_tiny")["qwen3_tiny"]["build"]["config"] | {
        "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1,
    }  # fmt: skip
    build = HuggingFaceModel(class_name="Qwen3ForCausalLM", config=config)
    load = workload("qwen3_tiny")
    for kind in ("static", "dynamic"):
        made = build.build(load, dropout=False)
        step = Decode(NEW, kind).step(made, made.model, load)
        assert torch.equal(step()["logits"], step()["logits"])


def test_lengths_are_checked() -> None:
    made, load = program("llama_tiny"), workload("llama_tiny")
    with pytest.raises(RuntimeError, match=r"tokens in the prompts: \[2, 16\] instead of \[2, 17\]"):
        Prefill(NEW).step(made, made.model, replace(load, sequence_length=17))

    def shorter(**inputs: Any) -> Any:  # one sequence is lost
        return {"logits": made.model(**inputs)["logits"][:1]}

    with pytest.raises(RuntimeError, match=r"\[1, 6\] instead of \[2, 6\]"):
        Generate(NEW).observe(made, shorter, load)

    def without_cache(**inputs: Any) -> Any:
        return made.model(**{k: v for k, v in inputs.items() if k not in (CACHE, "use_cache")})

    step = Generate(NEW).step(made, without_cache, load)
    step()
    with pytest.raises(RuntimeError, match="the cache holds 0 tokens after the prompt and 5 calls, not 21"):
        step.prepare()


def test_a_prompt_that_leaves_no_positions_is_named_before_it_runs() -> None:
    long = program("gpt2_tiny", sequence_length=1020)
    with pytest.raises(ValueError, match=r"6 new tokens after a prompt of 1020: .* 1024 positions of GPT2LMHeadModel"):
        Generate(NEW).step(long, long.model, workload("gpt2_tiny", sequence_length=1020))


def test_what_does_not_generate_is_unsupported_and_says_what_does() -> None:
    made = program("bert_tiny", suite="tiny")
    for mode in (Prefill(), Decode(), Generate()):
        with pytest.raises(Unsupported, match=r"bert_tiny does not generate tokens: mode=generate .*suite=generation"):
            mode.step(made, made.model, workload("bert_tiny"))


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(ValueError, match="new_tokens=0"):
        Generate(new_tokens=0)


def test_times_of_tokens() -> None:
    now = iter([10.0, 10.5, 10.6, 10.8, 20.0, 20.25, 20.5, 21.0, 30.0, 30.5])
    waited: list[int] = []
    clock = TokenClock(lambda: waited.append(1), lambda: next(now))
    for tokens in (3, 3, 1):
        clock.start()
        for _ in range(tokens):
            clock.token()
    first, between, steps = clock.samples()
    assert first.metric, first.unit == ("time_to_first_token", "s")
    assert first.values == pytest.approx((0.5, 0.25, 0.5))
    assert between.metric == "inter_token_latency"
    assert between.values == pytest.approx((0.15, 0.375))  # of one token there is none
    assert steps.metric == "inter_token_interval"
    assert steps.values == pytest.approx((0.1, 0.2, 0.25, 0.5))
    assert len(waited) == 7


def test_performance_has_the_figures_of_generation(tmp_path: Path) -> None:
    seen = context(tmp_path, builder("llama_tiny"), Generate(NEW), Replaced(lambda model: lambda **i: model(**i)))
    assert QUICK.run(seen).status == PASS
    found = {sample.metric: sample.values for sample in seen.samples}
    times = [found[name] for name in ("latency", "time_to_first_token", "inter_token_latency")]
    for whole, first, between in zip(*times, strict=True):  # of the steady phase only
        assert 0 < between < first + (NEW - 1) * between < whole
    assert seen.facts["tokens"] == {"kind": "output", "per_step": BATCH * NEW}
    assert len(found["pair_latency"]) == 4


def test_a_generation_reads_the_model_for_every_token_and_decode_for_one(tmp_path: Path) -> None:
    def moved(mode: Any) -> int:
        seen = context(tmp_path, builder("llama_tiny"), mode)
        assert QUICK.run(seen).status == PASS
        return int(seen.facts["work"]["bytes"])

    two, three, four = (moved(Generate(tokens)) for tokens in (2, 3, 4))
    assert four - three == pytest.approx(three - two, rel=0.01)
    assert four - three == pytest.approx(moved(Decode(4)), rel=0.1)


@pytest.mark.parametrize(
    ("mode", "tokens"),
    [
        (Prefill(NEW), {"kind": "input", "per_step": BATCH * PROMPT}),
        (Decode(NEW), {"kind": "output", "per_step": BATCH}),
    ],
    ids=["prefill", "decode"],
)
def test_phases_count_their_tokens(tmp_path: Path, mode: Any, tokens: dict[str, Any]) -> None:
    seen = context(tmp_path, builder("t5_tiny"), mode)
    assert QUICK.run(seen).status == PASS
    assert seen.facts["tokens"] == tokens
    assert {sample.metric for sample in seen.samples} == {"first_call", "warmup_latency", "latency"}


@dataclass(frozen=True)
class Waits:
    """A mode whose step says when it was made ready and when it ran."""

    log: list[str]
    training: ClassVar[bool] = False

    def step(self, program: Program, forward: Any, workload: Workload) -> Any:
        class Step:
            def prepare(inner) -> None:
                self.log.append("ready")

            def __call__(inner) -> None:
                self.log.append("step")

        return Step()


def test_a_step_is_made_ready_before_every_timed_call(tmp_path: Path) -> None:
    log: list[str] = []
    assert QUICK.run(context(tmp_path, builder("llama_tiny"), Waits(log))).status == PASS
    assert log == ["ready", "step"] * (len(log) // 2)
    assert len(log) >= 2 * (1 + 3 + 5)


def test_a_compiler_of_fixed_inputs_is_not_asked_to_generate() -> None:
    @dataclass(frozen=True)
    class Traced(Eager):
        fixed_inputs: ClassVar[bool] = True

    for mode in (Prefill(), Decode(), Generate()):
        with pytest.raises(Unsupported, match="mode generate calls the model with other inputs"):
            check_inputs(mode, Traced(), workload("llama_tiny"))
        check_inputs(mode, TorchCompile(), workload("llama_tiny"))
    check_inputs(Inference(), Traced(), workload("llama_tiny"))


def test_that_is_an_unsupported_row_before_anything_is_built(
    store: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_PLUGIN_PACKAGES", "fakes")
    job = make_job("perceptron", compiler=PluginSpec(name="traced", target="fakes.plugins.TracedOnly"))
    mode = PluginSpec(name="decode", target="orchestrator.modes.generate.Decode")
    job = replace(job, workload=replace(job.workload, mode=mode))
    store.write_job(job)
    run_job(str(store.root), job.id)
    result = store.read_result(job.id)
    assert isinstance(result, JobResult)
    assert result.status == UNSUPPORTED
    assert result.failure is not None
    assert (result.failure.phase, result.failure.message[:11]) == ("import", "mode decode")


@pytest.mark.parametrize(("model", "cache"), [("llama_tiny", "dynamic"), ("t5_tiny", "static")])
def test_dynamo_captures_generation_without_a_break(tmp_path: Path, model: str, cache: str) -> None:
    compiler = TorchCompile(backend="aot_eager", fullgraph=True)
    outcome, _ = judged(tmp_path, builder(model), Generate(3, cache, compare_tokens=True), compiler)
    assert outcome.status == PASS, outcome.reason


# training


class Images(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3)
        self.last = torch.nn.Linear(8, 4)

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.last(self.first(pixels).relu().mean((2, 3)))
        return {"loss": torch.nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


@dataclass(frozen=True)
class ImagesBuilder:
    def build(self, workload: Workload, *, dropout: bool) -> Program:
        torch.manual_seed(workload.seed)
        inputs = {"pixels": torch.randn(workload.batch_size, 3, 8, 8), "labels": torch.arange(workload.batch_size) % 4}
        return Program(model=Images(), inputs=inputs, loss=lambda outputs: outputs["loss"])


@pytest.mark.parametrize("mode", [Inference(channels_last=True), Training(channels_last=True)])
def test_channels_last_is_what_model_and_inputs_have(tmp_path: Path, mode: Any) -> None:
    made = context(tmp_path, ImagesBuilder(), mode, dtype="bfloat16").build(dropout=False)
    for tensor in (made.inputs["pixels"], made.model.first.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert not tensor.is_contiguous()
        assert tensor.dtype == torch.bfloat16
    plain = context(tmp_path, ImagesBuilder(), type(mode)()).build(dropout=False)
    assert plain.inputs["pixels"].is_contiguous()
    outcome, _ = judged(tmp_path, ImagesBuilder(), mode, TorchCompile(backend="aot_eager"))
    assert outcome.status == PASS, outcome.reason


def test_channels_last_without_images_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"no input has four dimensions \(input_ids \[2, 16\]"):
        context(tmp_path, builder("llama_tiny"), Inference(channels_last=True)).build(dropout=False)


@pytest.mark.parametrize(("suite", "model"), [("tiny", "bert_tiny"), ("generation_tiny", "llama_tiny")])
def test_checkpointing_computes_every_layer_twice(tmp_path: Path, suite: str, model: str) -> None:
    def calls_of_a_layer(mode: Training) -> int:
        seen = context(tmp_path, builder(model, suite), mode)
        made = seen.build(dropout=True)
        attention = next(m for name, m in made.model.named_modules() if name.endswith(("attention.self", "self_attn")))
        calls: list[int] = []
        inner = attention.forward
        attention.forward = lambda *a, **k: calls.append(1) or inner(*a, **k)
        mode.step(made, made.model, seen.workload)()
        return len(calls)

    assert calls_of_a_layer(Training()) == 1
    assert calls_of_a_layer(Training(activation_checkpointing=True)) == 2


def test_checkpointing_changes_no_gradient(tmp_path: Path) -> None:
    plain, checkpointed = (
        (made := (seen := context(tmp_path, builder("llama_tiny"), mode)).build(dropout=False))
        and mode.observe(made, made.model, seen.workload)
        for mode in (Training(), Training(activation_checkpointing=True))
    )
    assert plain.keys() == checkpointed.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(checkpointed[name], tensor)


def test_a_model_that_cannot_checkpoint_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="gradient_checkpointing_enable"):
        context(tmp_path, ImagesBuilder(), Training(activation_checkpointing=True)).build(dropout=False)


OPTIMIZERS = [("sgd", 1e-2), ("adam", 1e-3), ("adamw", 1e-3)]


@pytest.mark.parametrize(("name", "rate"), OPTIMIZERS)
def test_a_compiled_optimizer_is_judged_by_what_it_changes(tmp_path: Path, name: str, rate: float) -> None:
    mode = Training(optimizer=name, learning_rate=rate, optimizer_backend="aot_eager")
    outcome, tensors = judged(tmp_path, ImagesBuilder(), mode, TorchCompile(backend="aot_eager"))
    assert outcome.status == PASS, outcome.reason
    updated = [record for record in tensors if record["name"].startswith("updated.")]
    assert {record["name"] for record in updated} == {f"updated.{p}" for p, _ in Images().named_parameters()}


def _idle(module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
    """A back-end whose code does nothing where the graph is an optimizer's: it writes in place, and returns nothing."""
    (output,) = (node for node in module.graph.nodes if node.op == "output")
    return (lambda *_: ()) if output.args[0] == () else module.forward


def _forgetting(module: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
    """A back-end that lets Adam's second moment decay faster. At its first step there is none: that one is right."""
    for node in module.graph.nodes:
        if node.target == "mul_" and 0.999 in node.args:
            node.args = (node.args[0], 0.9)
    module.recompile()
    return module.forward


def planted(backend: Callable[..., Any]) -> str:
    """Register a back-end with dynamo, once; return its name."""
    if (name := f"planted{backend.__name__}") not in torch._dynamo.list_backends(exclude_tags=()):
        torch._dynamo.register_backend(backend, name=name)
    return name


@pytest.mark.parametrize(
    ("name", "rate", "backend"),
    [*((name, rate, _idle) for name, rate in OPTIMIZERS), ("adam", 1e-3, _forgetting), ("adamw", 1e-3, _forgetting)],
)
def test_a_wrong_compiled_optimizer_is_found(tmp_path: Path, name: str, rate: float, backend: Any) -> None:
    mode = Training(optimizer=name, learning_rate=rate, optimizer_backend=planted(backend))
    same = Replaced(lambda model: lambda **inputs: model(**inputs))
    outcome, tensors = judged(tmp_path, ImagesBuilder(), mode, same)
    assert outcome.status == FAIL_ACCURACY
    assert {r["name"].partition(".")[0] for r in tensors if not r["passed"]} == {"updated"}


def test_eagers_optimizer_is_not_compiled(tmp_path: Path) -> None:
    mode = Training(optimizer_backend="aot_eager")
    seen = context(tmp_path, ImagesBuilder(), mode)
    made = seen.build(dropout=False)
    torch._dynamo.utils.counters.clear()
    mode.step(made, made.model, seen.workload)()
    assert not torch._dynamo.utils.counters["stats"]
    mode.step(made, lambda **inputs: made.model(**inputs), seen.workload)()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("dtype", ["amp_float16", "bfloat16"])
def test_a_compiled_optimizer_trains(tmp_path: Path, dtype: str) -> None:
    mode = Training(optimizer="adamw", learning_rate=0.01, optimizer_backend="aot_eager")
    seen = context(tmp_path, ImagesBuilder(), mode, dtype=dtype)
    made = seen.build(dropout=False)
    step = mode.step(made, lambda **inputs: made.model(**inputs), seen.workload)
    losses = [float(step()) for _ in range(12)]
    assert losses[-1] < losses[0]


def test_an_unknown_back_end_is_unsupported_and_names_those_there_are(tmp_path: Path) -> None:
    mode = Training(optimizer_backend="inducter")
    seen = context(tmp_path, ImagesBuilder(), mode)
    made = seen.build(dropout=False)
    with pytest.raises(Unsupported, match=r"optimizer_backend=inducter: .*inductor"):
        mode.step(made, lambda **inputs: made.model(**inputs), seen.workload)


# tables


def generated(spec_: JobSpec, latency: float, first: float, between: float, tokens: dict[str, Any]) -> JobResult:
    result = synthetic.performance_result(spec_, latency=latency, pairs=[(0.2, 0.1)] * 20)
    times = {"time_to_first_token": first, "inter_token_latency": between}
    more = tuple(Samples(metric=m, unit="s", better="lower", values=(v, v, 9 * v)) for m, v in times.items())
    return replace(result, samples=(*result.samples, *more), facts={**result.facts, "tokens": tokens})


@pytest.fixture
def sweep(tmp_path: Path) -> SweepResults:
    """Three rounds of a compiler that generates 2 x 16 tokens in 0.1, 0.2 and 0.4 s, and one of another mode."""
    made = synthetic.SyntheticSweep(tmp_path / "sweep")
    for round, latency in enumerate((0.1, 0.2, 0.4)):
        job = synthetic.job(synthetic.workload("Llama", mode="generate"), "inductor", round=round)
        made.add(job, generated(job, latency, latency / 4, latency / 20, {"kind": "output", "per_step": 32}))
    made.performance("Bert", "inductor", pairs=[(0.2, 0.1)] * 20)
    return load.load(made.write())


def test_tables_have_the_figures_of_generation_and_none_of_other_modes(sweep: SweepResults) -> None:
    rows = {row["model"]: row for row in tables.build(sweep).performance.rows}
    assert rows["Llama"]["time_to_first_token_ms"] == pytest.approx(50.0)
    assert rows["Llama"]["inter_token_latency_ms"] == pytest.approx(10.0)
    assert rows["Llama"]["tokens_per_second"] == pytest.approx(32 / 0.2)
    assert all(rows["Bert"][name] is None for name in GENERATION)


def test_the_terminal_says_them_under_the_row_in_80_columns(
    sweep: SweepResults, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show(summary.document(tables.build(sweep), "outputs/x"))
    lines = capsys.readouterr().out.splitlines()
    assert "   first token after 50.0 ms · then 10.0 ms a token · 160 tokens/s" in lines
    assert sum("tokens/s" in line for line in lines) == 1
    assert max(map(len, lines)) <= 80


def test_the_dashboards_files_have_their_columns_of_generation(sweep: SweepResults) -> None:
    files, _ = dynamobench_export.export(joined(sweep, tables.build(sweep)))
    by_model = {file.rows[0]["name"]: file for file in files}
    assert by_model["Llama"].columns[-2:] == ("eager_latency", "output_tokens_per_second")
    assert by_model["Llama"].rows[0]["output_tokens_per_second"] == pytest.approx(160.0)
    assert "tokens" not in "".join(by_model["Bert"].columns)


# the whole way


@pytest.mark.long
def test_a_sweep_of_the_phases_with_a_real_compiler(tmp_path: Path) -> None:
    """Their figures; that they are right with every compiler is in docs/support.md, and above without a command."""
    output = run(tmp_path, "suite=generation_tiny", "suite.models=[llama_tiny]", "compiler=eager,inductor",
                 "mode=decode,generate", "mode.options.new_tokens=4", "mode.options.judged_tokens=2",
                 "rounds=1")  # fmt: skip
    summary = table(tmp_path, "summary")
    assert len(summary) == 2 * 2
    assert (summary["performance"] == "pass").all(), output
    compiled = summary[summary["compiler"] == "inductor"]
    assert (compiled["accuracy"] == "pass").all(), output
    assert compiled["weaker"].str.contains("not judged: the tokens after the first 2 of 4", regex=False).all()
    assert summary["tokens_per_second"].notna().all()
    generations = summary[summary["mode"] == "generate"]
    assert (generations["inter_token_latency_ms"] > 0).all()
    assert (generations["time_to_first_token_ms"] < generations["latency_ms"]).all()
    assert summary[summary["mode"] != "generate"]["time_to_first_token_ms"].isna().all()
    assert "tokens/s" in output


@pytest.mark.long
def test_a_sweep_of_training_options_with_a_real_compiler(tmp_path: Path) -> None:
    """The optimizer is compiled by inductor whatever compiles the model; more of them: docs/support.md."""
    run(tmp_path, "suite=tiny", "suite.models=[gpt2_tiny]", "compiler=aot_eager", "rounds=1",
        "mode=training_checkpointing,training_compiled_optimizer,training_channels_last")  # fmt: skip
    summary = table(tmp_path, "summary").set_index(["mode", "compiler"])
    for mode in ("training_checkpointing", "training_compiled_optimizer"):
        assert tuple(summary.loc[(mode, "aot_eager"), ["performance", "accuracy"]]) == ("pass", "pass")
    row = summary.loc[("training_channels_last", "aot_eager")]
    assert row["performance"] == row["accuracy"] == "unsupported"
    assert "no input has four dimensions" in row["performance_reason"]
