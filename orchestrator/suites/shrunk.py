"""A config of transformers made small: the same architecture, thin and with few layers, for CPUs and for tests.

Every kind of layer stays, and every part that sees or hears. Widths are divided by one power of two throughout the
nested configs, so that what has to fit together still does. A key that no rule knows is left as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.records import Json

WIDTH, MOST_HEADS, FEWEST_LAYERS, VOCABULARY = 128, 4, 2, 1032
"""The widest hidden state, at most; heads of attention; layers of a stack; tokens (BERT's stops are 1012 and 1029)."""
PATCHES, IMAGE, SMALLEST_WINDOW = 4, 64, 2
"""Along an image's side: patches of 14 pixels and more, pixels where they are smaller. Patches of a window's side."""

HIDDEN = re.compile(r"(^|_)(hidden_size|d_model|n_embd|embed_dim)$|^dim$")
WIDTHS = re.compile(
    r"(^|_)(hidden_size|hidden_dim|d_model|n_embd|dim|d_ff|n_inner|ffn_dim|intermediate_size|embed_dim|embedding_size"
    r"|mlp_dim|d_ssm|projection_dim|proj_dim|output_dim|inner_dim|lora_rank|projection_size|bottleneck_size)$"
)
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
ONE_LAYER = re.compile(r"(^|_)layer_(id|idx|index)$")
"""The number of one layer."""
EVERY = {"period": 2, "offset": 1}
"""End of a key that says which layers are of a kind, every eighth from the fourth on -> its most: every second."""
JOINS = re.compile(r"(^|_)(projection_dim|out_hidden_size)$")
"""A width that a part of stages has in common with the rest; its other widths are those of its stages."""
TOKEN = re.compile(r"token_(id|index|ids)$")
LIMITS = {
    re.compile(pattern): limit
    for pattern, limit in {
        r"vocab_size": VOCABULARY,
        r"(^|_)(num_experts|local_experts|routed_experts)$": 4,
        r"(experts_per_tok|experts_per_token|top_?k|moe_k)$": 2,
        r"^(n_group|topk_group|first_k_dense_replace)$": 1,
        r"(sliding_window|attention_window|local_attention)$": 16,
        r"^max_source_positions$": 64,
        r"^mm_tokens_per_image$": 4,
        r"^num_queries$": 20,
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
    return _smaller(whole, config, divisor, {})


def _parts(part: Json) -> Iterator[Json]:
    yield part
    for value in part.values():
        if _is_config(value):
            yield from _parts(value)


def _is_config(value: Any) -> bool:
    return isinstance(value, Mapping) and "model_type" in value


def _counts(value: Any) -> bool:
    return type(value) is int and value > 0


def _smaller(part: Json, config: Any, divisor: int, tokens: dict[int, int]) -> dict[str, Any]:
    """Return a part of the config. tokens: id -> new id, of the whole config's tokens beyond the new vocabulary."""
    new = dict(part)
    for key, value in part.items():
        if _is_config(value):
            new[key] = _smaller(value, getattr(config, key, None), divisor, tokens)
        elif TOKEN.search(key):
            new[key] = _token(value, tokens)
        elif _counts(value):
            new[key] = _limited(key, value, 1 if _staged(part) and not JOINS.search(key) else divisor)
    _fewer_layers(part, new)
    for end, most in EVERY.items():
        new |= {key: min(value, most) for key, value in part.items() if key.endswith(f"_layer_{end}")}
    new |= {key: min(value, 1) for key, value in part.items() if ONE_LAYER.search(key) and _counts(value)}
    _fewer_heads(part, new, {own: role for role, own in (getattr(config, "attribute_map", None) or {}).items()})
    _smaller_images(part, new)
    _fewer_angles(new, config)
    return new


def _limited(key: str, value: int, divisor: int) -> int:
    for pattern, limit in LIMITS.items():
        if pattern.search(key):
            return min(value, limit)
    return _width(value, divisor) if WIDTHS.search(key) and not HEAD_DIM.search(key) else value


def _width(value: int, divisor: int) -> int:
    """Return a multiple of 4, or the width itself where all are small already."""
    return value if divisor == 1 else 4 * -(-value // (4 * divisor))


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
    single = {int(number): value for number, value in (part.get("per_layer_config") or {}).items()}
    rows = [
        (*(value[at] for value in each.values()), *(at in value for value in kinds.values()), at in single)
        for at in range(count)
    ]
    fewest = max(FEWEST_LAYERS, *(len(value) for value in taken.values()), 0)
    kept = sorted({rows.index(row) for row in rows} | set(range(min(fewest, count))))
    if len(kept) == count:
        return
    new[key] = len(kept)
    new |= {own: [value[at] for at in kept] for own, value in each.items()}
    new |= {own: [to for to, at in enumerate(kept) if at in value] for own, value in kinds.items()}
    if single:
        new["per_layer_config"] = {to: single[at] for to, at in enumerate(kept) if at in single}
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
    """Share a head's angles out among time, height and width, where a model's positions have all three: 2 to 3 to 3."""
    rope, key = new.get("rope_parameters"), "mrope_section"
    if not isinstance(rope, Mapping) or key not in (*rope, *getattr(config, "ignore_keys_at_rope_validation", ())):
        return
    width = new.get("head_dim") or new["hidden_size"] // new["num_attention_heads"]
    angles = int(width * (rope.get("partial_rotary_factor") or 1)) // 2
    share = angles * 3 // 8
    new["rope_parameters"] = {**rope, key: [angles - 2 * share, share, share]}


def _kind(key: str) -> str:
    """Return of which layers a key speaks, where it is not attention."""
    return next((kind for kind in OTHER_HEADS if key.startswith(kind)), "")


def _smaller_images(part: Json, new: dict[str, Any]) -> None:
    size, patch = part.get("image_size"), part.get("patch_size")
    widest = max(patch, default=0) if isinstance(patch, (list, tuple)) else patch
    if size is None or not (widest is None or _counts(widest)):
        return
    side = PATCHES * widest if widest and widest >= 14 else IMAGE
    new["image_size"] = [min(one, side) for one in size] if isinstance(size, (list, tuple)) else min(size, side)
