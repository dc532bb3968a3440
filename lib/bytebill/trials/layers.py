"""What do measured layers reach? One layer's attention, or its experts, on a GPU, beside its bytes and its FLOPs.

    attention  bytes = 2 K H S B b            flops = 4 N H S B              keys and values of K heads
               bytes = (c + r) S B b          flops = 2 N (2 c + r) S B      latents, for all N heads together
    experts    bytes = E(B) 3 D F b_w         flops = 2 B k 3 D F            E(B) distinct experts of B tokens

N query heads of H numbers, S tokens of context, B sequences of one token, b bytes a cached value; latents of c numbers
and a rotated key of r; experts of three matrices D by F, of which a token takes k. Bytes of attention are those of the
cache, of experts those of their weights, uniform routing. Names follow the papers: GQA-G has G KV heads. Ignores
queries, outputs and activations. Tables: `data/kernel_attention.csv`, `data/kernel_moe.csv`.
Used by chapters 16 and 17.
"""

from dataclasses import dataclass
from functools import cache

from bytebill import data
from bytebill.hardware import Accelerator, accelerator
from bytebill.models import PRECISIONS
from bytebill.roofline import distinct_experts
from bytebill.trials.kernels import PRECISION_OF


@dataclass(frozen=True, kw_only=True)
class MeasuredLayer:
    """A layer's time on a device, and what it had to move and to multiply."""

    device: Accelerator
    kind: str
    n_heads: int  # query heads; of experts: how many a token takes
    n_tokens: int  # of the step, one of each sequence
    context_len: int
    seconds: float
    n_bytes: float
    flops: float
    dtype: str = "bf16"

    @property
    def intensity(self) -> float:
        """FLOPs for each byte."""
        return self.flops / self.n_bytes

    @property
    def flops_per_s(self) -> float:
        """Arithmetic reached [FLOP/s]."""
        return self.flops / self.seconds

    @property
    def bandwidth_share(self) -> float:
        """Share of the device's published bandwidth that moving the bytes in this time takes."""
        return self.n_bytes / self.seconds / self.device.bandwidth_bytes_per_s

    @property
    def peak_share(self) -> float:
        """Share of the device's published FLOP/s in the layer's format."""
        return self.flops_per_s / self.device.peak(self.device.units(self.dtype))

    @property
    def head_s(self) -> float:
        """Time for each query head [s]."""
        return self.seconds / self.n_heads


@cache
def attention_layers(device_id: str) -> tuple[MeasuredLayer, ...]:
    """Decode attention of one layer with a 16-bit cache, every shape that was measured on a device.

    >>> one = next(x for x in attention_layers("h100-sxm") if x.kind == "GQA-8" and x.n_heads == 32)
    >>> one.intensity, one.n_bytes == 2 * 8 * 128 * 2 * one.context_len * one.n_tokens    # 32 / 8; 2 K H b S B
    (4.0, True)
    """
    return tuple(_attention(row) for row in data.rows("kernel_attention") if row["device_id"] == device_id)


@cache
def expert_layers(device_id: str, *, n_experts: int, d_model: int, dtype: str = "bf16") -> tuple[MeasuredLayer, ...]:
    """Routed experts of one layer of a model, by vLLM and TensorRT-LLM; `kind` says who and how tokens were spread.

    >>> layers = expert_layers("h100-sxm", n_experts=8, d_model=4096)
    >>> one = next(x for x in layers if x.n_tokens == 1)
    >>> one.n_bytes == 2 * 3 * 4096 * 14336 * 2    # a token's two experts, three matrices of 16 bits
    True
    """
    wanted = {"device_id": device_id, "n_experts": n_experts, "d_model": d_model, "dtype": dtype}
    rows = (row for row in data.rows("kernel_moe") if all(row[key] == value for key, value in wanted.items()))
    return tuple(_experts(row) for row in rows)


@cache
def recorded_experts(*records: str) -> dict[tuple[str, str, int], float]:
    """Seconds of one layer's experts by (model, program or dense layer, tokens), as this book measured them on a GPU:
    parts `experts` and `experts_grouped` of `data/measured/`.

    >>> on_h200 = recorded_experts("h200-experts", "h200-experts-grouped")
    >>> round(1e6 * on_h200["mixtral-8x7b", "loop", 1]), round(1e6 * on_h200["mixtral-8x7b", "dense total", 1])
    (204, 668)
    """
    points = [point for name in records for point in data.measured(name)["points"] if "median_s" in point]
    return {(point["model"], point["what"], point["batch_size"]): point["median_s"] for point in points}


def _attention(row: data.Row) -> MeasuredLayer:
    n_heads, met = row["n_heads"], row["context_len"] * row["batch_size"]
    if latent := row["kv_lora_rank"]:
        kind, n_values, flops = "MLA", latent + row["d_rope"], 2 * n_heads * (2 * latent + row["d_rope"])
    else:
        n_kv, head = row["n_kv_heads"], row["d_head"]
        kind = "MHA" if n_kv == n_heads else "MQA" if n_kv == 1 else f"GQA-{n_kv}"
        n_values, flops = 2 * n_kv * head, 4 * n_heads * head
    return MeasuredLayer(
        device=accelerator(row["device_id"]),
        kind=kind,
        n_heads=n_heads,
        n_tokens=row["batch_size"],
        context_len=row["context_len"],
        seconds=row["time_us"] / 1e6,
        n_bytes=met * n_values * PRECISIONS["bf16"].kv_bytes_per_value,
        flops=met * flops,
    )


def _experts(row: data.Row) -> MeasuredLayer:
    dtype: str = row["dtype"]
    width, k = PRECISIONS[PRECISION_OF.get(dtype, dtype)], row["n_experts_per_token"]
    values = 3 * row["d_model"] * row["d_ff_expert"]
    touched = distinct_experts(row["n_experts"], n_experts_per_token=k, n_tokens=row["n_tokens"])
    return MeasuredLayer(
        device=accelerator(row["device_id"]),
        kind=f"{row['program']}, {row['routing']}",
        n_heads=k,
        n_tokens=row["n_tokens"],
        context_len=0,
        seconds=row["time_us"] / 1e6,
        n_bytes=touched * values * width.bytes_per_weight,
        flops=2 * row["n_tokens"] * k * values,
        dtype=width.compute_dtype,
    )
