"""A config of transformers made small: the same architecture, thin and with few layers, for CPUs and for tests.

Every kind of layer stays, and every part that sees or hears. Widths are divided by one power of two throughout the
nested configs, so that what has to fit together still does. A key that no rule knows is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.records import Json

WIDTH, MOST_HEADS, FEWEST_LAYERS, VOCABULARY, PATCHES = 128, 4, 2, 1000, 4
"""The widest hidden state, at most; heads of attention; layers of a stack; tokens; patches along an image's side."""

HIDDEN = re.compile(r"(^|_)(hidden_size|d_model|n_embd|embed_dim)$|^dim$")
WIDTHS = re.compile(
    r"(^|_)(hidden_size|hidden_dim|d_model|n_embd|dim|d_ff|n_inner|ffn_dim|intermediate_size|embed_dim|embedding_size"
    r"|mlp_dim|projection_dim|proj_dim|output_dim|inner_dim|lora_rank|projection_size|bottleneck_size)$"
)
HEADS = re.compile(
    r"(^|_)(attention_heads|num_heads|n_heads?|key_value_heads|kv_heads|key_heads|value_heads|n_groups)$"
)
HEAD_DIM = re.compile(r"(^|_)(head_dim|d_kv|d_head|kv_channels|rotary_dim)$")
LAYERS = re.compile(r"(^|_)(layers|n_layer|depth|num_blocks|encoder_blocks|layers_block_type)$")
STAGES = re.compile(r"(depths|num_blocks|blocks_per_stage|block_repeats|stage_numb_of_layers)$")
"""A list with the number of layers of each stage."""
NUMBERS_OF_LAYERS = re.compile(r"(index(es)?|indices|_layers)$")
"""A list that names layers."""
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
        r"^window_size$": 2,
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
            new[key] = _limited(key, value, 1 if _staged(part) else divisor)
    _fewer_layers(part, new)
    _fewer_heads(part, new, {own: role for role, own in (getattr(config, "attribute_map", None) or {}).items()})
    _smaller_images(part, new)
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
        return
    before = dict(new)
    named = {key: value for key, value in part.items() if NUMBERS_OF_LAYERS.search(key) and _numbers(value)}
    for key, count in part.items():
        if not (LAYERS.search(key) and not key.startswith("num_feat_extract") and _counts(count)):
            continue
        each = {own: value for own, value in part.items() if _is_list(value, count) and own not in named}
        other = {int(number): value for number, value in (part.get("per_layer_config") or {}).items()}
        rows = [(*(value[number] for value in each.values()), number in other) for number in range(count)]
        kept = {rows.index(row) for row in rows} | set(range(min(FEWEST_LAYERS, count)))
        room = max((len(value) for value in named.values()), default=0)
        kept |= set([number for number in range(count) if number not in kept][: max(room - len(kept), 0)])
        new[key] = len(kept)
        new |= {own: [value[number] for number in sorted(kept)] for own, value in each.items()}
        if other:
            new["per_layer_config"] = {at: other[number] for at, number in enumerate(sorted(kept)) if number in other}
        if len(kept) < count:
            new |= {own: list(range(len(kept) - len(value), len(kept))) for own, value in named.items()}
    if new != before and part.get("stage_names") and part.get("out_indices"):  # a backbone: its stem is stage 0
        new["out_indices"] = [number + 1 for number in new["out_indices"]]
        del new["stage_names"], new["out_features"]


def _staged(part: Json) -> bool:
    return any(STAGES.search(key) and isinstance(value, (list, tuple)) for key, value in part.items())


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == length


def _numbers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) > 0 and all(type(one) is int and one >= 0 for one in value)


def _fewer_heads(part: Json, new: dict[str, Any], roles: Mapping[str, str]) -> None:
    """Divide the numbers of heads, and the widths of heads so that heads x width is what it was of the hidden state."""
    hidden = {roles.get(key, key): key for key, value in part.items() if HIDDEN.search(key) and _counts(value)}
    of_hidden = next(
        (hidden[key] for key in ("embed_dim", "hidden_size") if key in hidden), next(iter(hidden.values()), None)
    )
    heads = {key: value for key, value in part.items() if HEADS.search(roles.get(key, key)) and _counts(value)}
    if of_hidden is None or not heads:
        return
    before, width = part[of_hidden], new[of_hidden]
    most = max(heads.values())
    count = next(count for count in (MOST_HEADS, 2, 1) if width % (8 * count) == 0 or count == 1)
    for key, value in heads.items():
        new[key] = max(count * value // most, 1)
    latent = "qk_rope_head_dim" in part
    for key, value in part.items():
        if not (HEAD_DIM.search(roles.get(key, key)) and _counts(value)):
            continue
        whole = value * most
        new[key] = max(value // 8, 8) if latent or whole % before else whole // before * width // count


def _smaller_images(part: Json, new: dict[str, Any]) -> None:
    size, patch = part.get("image_size"), part.get("patch_size")
    if size is None or not (patch is None or _counts(patch)):
        return
    side = PATCHES * patch if patch and patch >= 14 else 64
    small = [min(one, side) for one in size] if isinstance(size, (list, tuple)) else min(size, side)
    new["image_size"] = small
