"""Which code runs on a GPU alone, and when did one last run it? A list, since no machine that tests this book has one.

A path counts as exercised by what is on record: in `data/measured/` the record that came out of it, with its date. What
changed after that day is said beside it. Everything was checked without a GPU as far as that goes: devices and shapes
by torch's fake tensors, Triton's kernel by its interpreter and its compiler, graphs by stand-ins, and what is refused
(`tests/test_gpu_paths.py`). Ignores what runs on every device in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

from bytebill import data


@dataclass(frozen=True, kw_only=True)
class GpuPath:
    """Code by its name, what it does on a GPU, the records it made there, and what changed since."""

    code: str  # dotted, under `bytebill`
    what: str
    records: tuple[str, ...] = ()  # in data/measured, without ending; none: never
    since: str = ""

    @property
    def last(self) -> str:
        """The day of its last record, or "never"."""
        return max((day_of(record) for record in self.records), default="never")


def day_of(record: str) -> str:
    """The day on which a record was made.

    >>> day_of("h200-engine")
    '2026-11-26'
    """
    found = data.measured(record)
    return str(found.get("provenance", found)["date"])


PATHS = (
    GpuPath(
        code="engine.transformer.Transformer.forward",
        what="prompts, chunks and ragged decodes: the CPU's logits to 1e-6, for grouped, own, normed and biased heads, "
        "latents and experts",
        records=("h200-engine",),
        since="keys lie as values do; prompts without cuDNN's plans, chunks by `later_queries`",
    ),
    GpuPath(
        code="engine.graphs.GraphedDecode",
        what="a decode step as one CUDA graph",
        records=("h200-engine", "h200-llama-3-8b", "h200-smollm2"),
        since="lengths from a table, filled in on the device",
    ),
    GpuPath(code="engine.graphs.captured", what="any call as one CUDA graph", records=("h200-bench-stack",)),
    GpuPath(code="engine.graphs.GraphedRows", what="a served step of decodes as one graph for each number of them"),
    GpuPath(
        code="engine.kernels.decode_gpu.GpuDecodeAttention",
        what="decode attention that finds its blocks by table, in Triton; `h200-paging` is of a kernel like it",
    ),
    GpuPath(
        code="engine.cache.paged.PagedCache.attend",
        what="blocks gathered by torch, where that kernel does not serve",
        records=("h200-engine", "h200-bench-engine"),
        since="chunks by `later_queries`",
    ),
    GpuPath(code="engine.cache.paged.PagedCache.swap", what="blocks to pinned memory of the host and back"),
    GpuPath(
        code="engine.runner.Runner",
        what="serving with one and eight users",
        records=("h200-bench-engine",),
        since="decodes by graph; every shape met before the clock starts",
    ),
    GpuPath(
        code="engine.kernels.linear_gpu.FourBits.product",
        what="four-bit weights by torch's kernel; `h200-quantized` is of that kernel alone",
    ),
    GpuPath(
        code="engine.kernels.linear_gpu.EightBitFloats.product",
        what="fp8 weights and inputs, a scale for each token and output; `h200-quantized` is of one scale for all",
    ),
    GpuPath(code="engine.attention.later_queries", what="a chunk behind its context by flash attention"),
    GpuPath(code="engine.kernels.sdpa.without_plans", what="prompts by flash or memory-efficient attention"),
    GpuPath(code="engine.experts.DrawnRouter", what="routes of many steps drawn ahead, kept on the device"),
    GpuPath(code="engine.tensor_parallel.launch", what="ranks on several GPUs, over NCCL"),
    GpuPath(code="engine.weights.random_weights", what="random weights drawn on the device"),
    GpuPath(
        code="device.free_bytes",
        what="free memory",
        records=("h200-llama-3-8b", "h200-smollm2"),
        since="with what torch keeps unused",
    ),
    GpuPath(code="measure.timing.in_turns", what="samples of many calls, so that waiting is a hundredth of them"),
    GpuPath(
        code="measure.ceilings.machine",
        what="reading and multiplying",
        records=("h200-bench-stack", "h200-bench-smollm2", "h200-smollm2"),
        since="fp8's products, where a card has them",
    ),
    GpuPath(
        code="measure.decoders.build_stack",
        what="decode of a stack of matrices",
        records=("h200-bench-stack",),
        since="matrices larger than a level-2 cache",
    ),
    GpuPath(
        code="measure.decode.sweep_model",
        what="decode of a model by batch, beside its hollow twin",
        records=("h200-bench-smollm2", "h200-llama-3-8b", "h200-engine"),
    ),
    GpuPath(code="measure.attention.sweep_attention", what="attention alone, as a graph, beyond the level-2 cache"),
    GpuPath(code="measure.experts.for_gpu", what="a mixture as wide as Mixtral, beside its dense twins"),
    GpuPath(code="measure.paging.attention_by_block_size", what="what blocks of every size cost"),
    GpuPath(code="measure.peers.tokens_per_s", what="`transformers` on the same GPU"),
    GpuPath(
        code="trials.machine.TimedSteps",
        what="the constants of the engine's clock",
        records=("h200-engine",),
        since="decodes by graph",
    ),
)


def table_of_paths() -> str:
    """The list as a table for a page."""
    lines = ["| Code | What | On record | Changed since |", "|---|---|---|---|"]
    for path in PATHS:
        where = ", ".join(f"`{record}`" for record in path.records)
        last = f"{path.last}: {where}" if where else "never"
        lines.append(f"| `{path.code}` | {path.what} | {last} | {path.since} |")
    return "\n".join(lines)
