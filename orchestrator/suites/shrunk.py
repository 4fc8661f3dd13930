"""A config of transformers made small: the same architecture, thin and with few layers, for CPUs and for tests.

Every kind of layer stays, and every part that sees or hears. Widths are divided by one power of two throughout the
nested configs, so that what has to fit together still does; where parts meet they are made to, for the default parts of
a config are not always of one model. What the class works out itself it works out anew. A key that no rule knows is
left as it is.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.typed_json import Json

WIDTH, MOST_HEADS, FEWEST_LAYERS, VOCABULARY = 128, 4, 2, 1032
"""The widest hidden state, at most; heads of attention; layers of a stack; tokens (BERT's stops are 1012 and 1029)."""
PATCHES, IMAGE, SMALLEST_WINDOW = 4, 64, 2
"""Along an image's side: patches of 14 pixels and more, pixels where they are smaller. Patches of a window's side."""

HIDDEN = re.compile(r"(^|_)((?<!attention_)hidden_size|d_model|n_embd|embed_dim)$|^dim$")
WIDTHS = re.compile(
    r"(^|_)(hidden_size|hidden_dim|d_model|n_embd|dim|d_ff|n_inner|ffn_dim|intermediate_size|embed_dim|embedding_size"
    r"|mlp_dim|d_ssm|projection_dim|proj_dim|output_dim|inner_dim|lora_rank|projection_size|bottleneck_size"
    r"|coordinate_size|shape_size|num_pos_feats)$"
)
SHARED = re.compile(
    r"(hidden|latent|adapter|input|output|in|out|conv|upsample)\w*_(size|dim|width|channels|groups|global)$"
)
"""Besides: a key like this is a width where it has the value of a hidden state, or only such values."""
MEETS = re.compile(r"^(out_hidden_size|adapter_out_dim)$")
"""A width that must be that of the text's hidden state."""
HEADS = re.compile(
    r"(^|_)(attention_heads|num_heads|n_heads?|key_value_heads|kv_heads|key_heads|value_heads|n_groups)$"
)
HEAD_DIM = re.compile(r"(^|_)(head_dim|d_kv|d_head|kv_channels|rotary_dim)$")
OTHER_HEADS = ("mamba_", "linear_", "index_", "swa_")
LAYERS = re.compile(r"(^|_)(layers|n_layer|depth|num_blocks|encoder_blocks|layers_block_type)$")
STAGES = re.compile(r"(depths|num_blocks|blocks_per_stage|block_repeats|stage_numb_of_layers)$")
"""A list with the number of layers of each stage."""
OF_A_KIND = re.compile(r"(att\w*_(index(es)?|indices|idxs|blocks)|att_block_indexes|_layers)$")
"""A list with the numbers of the layers of one kind."""
HANDED_ON = re.compile(r"(index(es)?|indices)$")
"""A list with the numbers of layers whose outputs another part takes: it takes as many of a small one."""
ONE_LAYER = re.compile(r"(^|_)(layer_(id|idx|index)|feature_layers?|merge_index|hook_ids)$")
"""The number of one layer, or of some, of this part or of another."""
EVERY = {"period": 2, "offset": 1}
"""End of a key that says which layers are of a kind, every eighth from the fourth on -> its most: every second."""
JOINS = re.compile(r"(^|_)(projection_dim|out_hidden_size)$")
"""A width that a part of stages has in common with the rest; its other widths are those of its stages."""
SINGLE = "per_layer_config"
"""Number of a layer -> what is said of it alone."""
USUAL_ROPE = {"rope_type": "default", "rope_theta": 10000.0}
PINPOINTS, MAPS = "image_grid_pinpoints", "backbone_feature_sizes"
TEXTS = ("text_config", "llm_config", "thinker_config")
KEPT = ("out_indices", "vocab_size", "num_classes")
TOKEN = re.compile(r"token_(id|index|ids)$")
LIMITS = {
    re.compile(pattern): limit
    for pattern, limit in {
        r"vocab_size|^num_embeddings$": VOCABULARY,
        r"(^|_)(num_experts|local_experts|routed_experts)$": 4,
        r"^index_topk$": 16,
        r"(experts_per_tok|experts_per_token|top_?k|moe_k)$": 2,
        r"^(n_group|num_group|num_expert_groups?|topk_group|first_k_dense_replace)$": 1,
        r"(sliding_window|attention_window|local_attention)$": 16,
        r"^max_source_positions$": 64,
        r"^mm_tokens_per_image$": 4,
        r"^num_queries$": 20,
        r"_num_groups$": 4,
    }.items()
}


def shrunk(config: Any) -> dict[str, Any]:
    """Return what `to_dict()` would be of a smaller config; `config` itself stays as it is."""
    whole: dict[str, Any] = config.to_dict()
    plain = [part for part in _parts(whole) if not _staged(part)]
    hidden = [value for part in plain for key, value in part.items() if HIDDEN.search(key) and _counts(value)]
    divisor = 1
    while max(hidden, default=1) > WIDTH * divisor:
        divisor *= 2
    return _joined(whole, _smaller(whole, config, _Widths(divisor, frozenset(hidden)), {}))


@dataclasses.dataclass(frozen=True)
class _Widths:
    """What widths are divided by, and those of hidden states."""

    divisor: int
    hidden: frozenset[int] = frozenset()


def _joined(before: Json, whole: dict[str, Any]) -> dict[str, Any]:
    """Make the parts meet: what sees or hears ends in the width of the text's hidden state, tiles are of an image."""
    sizes = [(one.get("vision_config") or {}).get("image_size") for one in (before, whole)]
    if whole.get(PINPOINTS) and all(_counts(size) for size in sizes):
        whole[PINPOINTS] = [[edge * sizes[1] // sizes[0] for edge in pair] for pair in before[PINPOINTS]]
    text = next((part for key, part in whole.items() if key in TEXTS and _is_config(part)), None)
    width = (text or {}).get("hidden_size")
    if not _counts(width):
        return whole
    joined: dict[str, Any] = {"hidden_size": width} if _counts(whole.get("hidden_size")) else {}
    for key, part in whole.items():
        if _is_config(part) and part is not text:
            own = {"hidden_size": width} if {"embed_dim", "hidden_size"} <= part.keys() else {}
            joined[key] = {**part, **own, **{name: width for name in part if MEETS.search(name)}}
    return {**whole, **joined}


def _parts(part: Json) -> Iterator[Json]:
    yield part
    for value in part.values():
        if _is_config(value):
            yield from _parts(value)


def _is_config(value: Any) -> bool:
    return isinstance(value, Mapping) and "model_type" in value


def _counts(value: Any) -> bool:
    return type(value) is int and value > 0


def _of_hidden(key: str, value: Any, widths: _Widths) -> bool:
    """Return whether these are widths of hidden states, or of parts of one, as axial positions have."""
    if not isinstance(value, (list, tuple)):
        return False
    if SHARED.search(key) and all(one in [*widths.hidden] for one in value):
        return True
    return bool(WIDTHS.search(key)) and all(map(_counts, value)) and sum(value) in widths.hidden


def _smaller(part: Json, config: Any, widths: _Widths, tokens: dict[int, int]) -> dict[str, Any]:
    """Return a part of the config. tokens: id -> new id, of the whole config's tokens beyond the new vocabulary."""
    new = dict(part)
    for key, value in part.items():
        if _is_config(value):
            new[key] = _smaller(value, getattr(config, key, None), widths, tokens)
        elif TOKEN.search(key):
            new[key] = _token(value, tokens)
        elif _counts(value):
            own = _Widths(1) if _staged(part) and not JOINS.search(key) else widths
            new[key] = _limited(key, value, own)
        elif _of_hidden(key, value, widths):
            new[key] = [_width(one, widths.divisor) for one in value]
    _fewer_layers(part, new)
    for end, most in EVERY.items():
        new |= {key: min(value, most) for key, value in part.items() if key.endswith(f"_layer_{end}")}
    for key, value in part.items():
        if ONE_LAYER.search(key):
            new[key] = [_first(one) for one in value] if isinstance(value, (list, tuple)) else _first(value)
    _fewer_heads(part, new, {own: role for role, own in (getattr(config, "attribute_map", None) or {}).items()})
    _smaller_images(part, new)
    _fewer_angles(new, config)
    if single := new.get(SINGLE):
        new[SINGLE] = {at: _different(own, part, new, config, widths) for at, own in single.items()}
    return {key: value for key, value in new.items() if not _worked_out(key, value, config)}


def _different(own: Json, part: Json, new: Json, config: Any, widths: _Widths) -> dict[str, Any]:
    """Return what a small layer says of itself, of which `own` is said: that, and the widths of its heads."""
    whole = _smaller({key: value for key, value in {**part, **own}.items() if key != SINGLE}, config, widths, {})
    return {
        key: value for key, value in whole.items() if key in own or (HEAD_DIM.search(key) and value != new.get(key))
    }


def _worked_out(key: str, value: Any, config: Any) -> bool:
    """Return whether this is a number, or numbers, that the config's class makes of others: none of its arguments."""
    if not dataclasses.is_dataclass(config) or key in KEPT or TOKEN.search(key):
        return False
    numbers = value if isinstance(value, (list, tuple)) else [value]
    return key not in {field.name for field in dataclasses.fields(config)} and all(_counts(one) for one in numbers)


def _first(value: Any) -> Any:
    return max(min(value, FEWEST_LAYERS - 1), -FEWEST_LAYERS) if type(value) is int else value


def _limited(key: str, value: int, widths: _Widths) -> int:
    for pattern, limit in LIMITS.items():
        if pattern.search(key):
            return min(value, limit)
    shared = value in widths.hidden and SHARED.search(key)
    return _width(value, widths.divisor) if (WIDTHS.search(key) or shared) and not HEAD_DIM.search(key) else value


def _width(value: int, divisor: int) -> int:
    """Return a multiple of 4; the width itself where all are small already, and a small one that is none: a count."""
    return value if divisor == 1 or (value % 4 and value < WIDTH) else 4 * -(-value // (4 * divisor))


def _token(value: Any, tokens: dict[int, int]) -> Any:
    """Return ids inside the new vocabulary: its last ones, the same for the same."""
    if isinstance(value, (list, tuple)):
        return [_token(one, tokens) for one in value]
    if not _counts(value) or value < VOCABULARY:
        return value
    return tokens.setdefault(value, VOCABULARY - 1 - len(tokens))


def _fewer_layers(part: Json, new: dict[str, Any]) -> None:
    """Keep one layer of each kind, and two at least; what is said layer by layer is kept of those that stay."""
    if _staged(part):
        stages = {key: value for key, value in part.items() if STAGES.search(key) and isinstance(value, (list, tuple))}
        new |= {key: [min(one, FEWEST_LAYERS) for one in value] for key, value in stages.items()}
        last = [sum(new[key]) - 1 for key in stages][:1]  # which begins no stage
        new |= {key: last for key in part if OF_A_KIND.search(key) and key not in stages and isinstance(new[key], list)}
        if _counts(part.get("window_size")):
            new["window_size"] = SMALLEST_WINDOW
        return
    for key, count in part.items():
        if LAYERS.search(key) and not key.startswith("num_feat_extract") and _counts(count):
            _keep_layers(key, count, part, new)


def _keep_layers(key: str, count: int, part: Json, new: dict[str, Any]) -> None:
    """Write which of `count` layers stay. The stem of a backbone is its stage 0."""
    lists = {own: value for own, value in part.items() if isinstance(value, (list, tuple)) and value}
    kinds = {own: value for own, value in lists.items() if OF_A_KIND.search(own) and _rises(value, count)}
    taken = {own: value for own, value in lists.items() if HANDED_ON.search(own) and own not in kinds and _rises(value)}
    each = {own: value for own, value in lists.items() if len(value) == count and own not in {**kinds, **taken}}
    single = {int(number): value for number, value in (part.get(SINGLE) or {}).items()}
    rows = [
        (*(value[at] for value in each.values()), *(at in value for value in kinds.values()), at in single)
        for at in range(count)
    ]
    fewest = max(FEWEST_LAYERS, *(len(value) for value in taken.values()), 0)
    shared = [at for at, row in enumerate(rows) if "hybrid" in row][:2]  # two have weights in common
    kept = sorted({rows.index(row) for row in rows} | set(range(min(fewest, count))) | {*shared})
    if len(kept) == count:
        return
    new[key] = len(kept)
    new |= {own: [value[at] for at in kept] for own, value in each.items()}
    new |= {own: [to for to, at in enumerate(kept) if at in value] for own, value in kinds.items()}
    if single:
        new[SINGLE] = {to: single[at] for to, at in enumerate(kept) if at in single}
    stem = 1 if part.get("stage_names") else 0
    new |= {own: list(range(len(kept) + stem - len(value), len(kept) + stem)) for own, value in taken.items()}
    for derived in ("stage_names", "out_features"):
        new.pop(derived, None)


def _staged(part: Json) -> bool:
    return any(STAGES.search(key) and isinstance(value, (list, tuple)) for key, value in part.items())


def _rises(value: Any, count: float = math.inf) -> bool:
    """Return whether these are numbers of some of `count` layers, in order."""
    return all(type(one) is int and 0 <= one < count for one in value) and list(value) == sorted(set(value))


def _fewer_heads(part: Json, new: dict[str, Any], roles: Mapping[str, str]) -> None:
    """Divide the numbers of heads, and the widths of heads so that heads x width is what it was of the hidden state."""
    named = {roles.get(key, key): key for key, value in part.items() if HIDDEN.search(key) and _counts(value)}
    hidden = next((named[role] for role in ("embed_dim", "hidden_size", *named) if role in named), None)
    if hidden is None:
        return
    before, width = part[hidden], new[hidden]
    count = next(count for count in (MOST_HEADS, 2, 1) if width % (8 * count) == 0 or count == 1)
    for kind in ("", *OTHER_HEADS):
        own = {roles.get(key, key): key for key, value in part.items() if _counts(value) and _kind(key) == kind}
        heads = {key: part[key] for role, key in own.items() if HEADS.search(role)}
        most = max(heads.values(), default=0)
        for key, value in heads.items():
            new[key] = max(count * value // most, 1)
        for key in [key for role, key in own.items() if heads and HEAD_DIM.search(role)]:
            whole = part[key] * most
            inner = [key for key, value in part.items() if value == whole and WIDTHS.search(key)]
            if "qk_rope_head_dim" in part or (whole % before and not inner):
                new[key] = max(part[key] // 8, 8)
            elif whole % before:  # a width of its own, which all heads share
                new[key] = max(new[inner[0]] // count, 1)
            else:
                new[key] = whole // before * width // count


def _fewer_angles(new: dict[str, Any], config: Any) -> None:
    """Share a head's angles out among time, height and width, where a model's positions have all three: 3 to 3 to 2."""
    rope, key = new.get("rope_parameters") or USUAL_ROPE, "mrope_section"
    known = getattr(config, "ignore_keys_at_rope_validation", ())
    if "rope_type" not in rope or (key not in rope and key not in known):
        return
    width = new.get("head_dim") or new["hidden_size"] // new["num_attention_heads"]
    angles = int(width * (rope.get("partial_rotary_factor") or 1)) // 2
    share = angles * 3 // 8
    new["rope_parameters"] = {**rope, key: [share, share, angles - 2 * share]}


def _kind(key: str) -> str:
    """Return of which layers a key speaks, where it is not attention."""
    return next((kind for kind in OTHER_HEADS if key.startswith(kind)), "")


def _smaller_images(part: Json, new: dict[str, Any]) -> None:
    size, patch = part.get("image_size"), part.get("patch_size")
    widest = max(patch, default=0) if isinstance(patch, (list, tuple)) else patch
    if size is not None and (widest is None or _counts(widest)):
        side = PATCHES * widest if widest and widest >= 14 else IMAGE
        new["image_size"] = [min(one, side) for one in size] if isinstance(size, (list, tuple)) else min(size, side)
    inner = next((key for key, value in part.items() if _is_config(value) and value.get("image_size")), None)
    if inner is not None and part.get(MAPS):  # what a backbone makes of an image
        before, now = _edge(part[inner]), _edge(new[inner])
        new[MAPS] = [[max(edge * now // before, 1) for edge in pair] for pair in part[MAPS]]


def _edge(part: Json) -> int:
    size = part["image_size"]
    return int(size[0] if isinstance(size, (list, tuple)) else size)
