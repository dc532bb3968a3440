"""Does the room for caches match what a server held? Little's law on published points, beside the memory it has.

tokens cached at least = output tokens a second * TPOT * prompt          at saturation
"""

from bytebill import data
from bytebill.memory import footprint_of


def glm_tokens(least_tpot_s: float = 0.2) -> tuple[float, ...]:
    """Cached tokens that the saturated GLM-5 points of InferenceX hold at least, by Little's law: rate x TPOT x prompt.

    A lower bound of the room: prompts computed at full steps give the same number whatever the cache holds.

    >>> held = glm_tokens()
    >>> len(held), round(min(held) / 1e3, 1), round(max(held) / 1e3, 1)
    (16, 199.9, 213.1)
    """
    rows = [row for row in data.rows("published_interference_grid") if row["model_name"].startswith("GLM-5")]
    return tuple(
        row["output_tokens_per_s"] * row["tpot_median_ms"] / 1e3 * row["n_input_tokens"]
        for row in rows
        if row["tpot_median_ms"] and row["tpot_median_ms"] >= 1e3 * least_tpot_s
    )


def glm_room(device_id: str, *, kv: str = "bf16") -> tuple[int, int, int]:
    """Tokens that GLM-5 in FP8 has room for on eight devices under vLLM: fewest, expected, most.

    >>> glm_room("h100-sxm")
    (0, 0, 0)
    """
    group = footprint_of("glm-5", accelerator=device_id, n_devices=8, weights="fp8", kv=kv)
    fewest, usual, most = (group.cache_tokens(8192, corner=corner) for corner in ("high", "value", "low"))
    return fewest, usual, most
