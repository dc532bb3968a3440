"""Does it fit? Where each device's memory goes once a serving program has started, and what is left for the cache.

    cuda       = what the driver reports - what CUDA keeps
    vLLM       cache = utilization * cuda - weights - activations - graphs - context - link buffers
    SGLang     cache = static_share * (cuda - context - link buffers) - weights
    TRT-LLM    cache = free_share * (cuda - context - link buffers - weights - activations - graphs)

    weights      = each matrix over the devices; vectors, routers and latents' down-projections whole on each, and no
                   device holds less than one KV head; with data-parallel attention all but the experts is whole
    activations  = routed + max(layer, last)                                                        [bytes a device]
        layer    = 2 T (4 D + max(3 F / n, 2 * attention widths / n))      residual, norms, gate, up and their product
        routed   = 2 T k (max(F_e / n, D) + max(2 F_e / n, D))             the two workspaces of Triton's expert kernel
        last     = 2 T D + 4 S V copies                                    logits of S sequences as the sampler has them

T `step_tokens` of the largest step, S the most sequences at once, D `d_model`, F `d_ff`, F_e and k of the experts, V
`vocab_size`, n devices. That is what vLLM's profile run allocates: its published peaks (`data/published_startups.csv`)
follow the vocabulary, not the layers, for a server's defaults sample 1,024 sequences at once. SGLang profiles nothing:
it keeps 1 - static_share back or, if that is not given, so many bytes a token of the largest step.

Where windows or states make users of different lengths cost differently, `cache_tokens` is users times their context,
as vLLM prints it. A window keeps the tokens of the running step besides its own. Ranges: every uncertain quantity at
its cheap end and at its dear end at once. Yes or no is answered at the dear end, so that nothing is said to fit that
did not start. Ignores vision towers, block padding, adapters and other processes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, floor

from bytebill import hardware, models, programs
from bytebill.deployment import Deployment, tensor_parallel_sizes
from bytebill.errors import require, require_known
from bytebill.hardware import Accelerator
from bytebill.models import PRECISIONS, VECTORS, Matrix, ModelSpec, Precision, TokenCache, matrices
from bytebill.programs import Program
from bytebill.roofline import cache_copies
from bytebill.units import GiB

CUDA_KEEPS = {"value": 0.55 * GiB, "low": 0.4 * GiB, "high": 0.8 * GiB}  # of what the driver reports, on NVIDIA's
LARGEST_GROUP, MOST = 64, 10**9  # devices of an answer; tokens or sequences of a step
WHOLE = ("router", *VECTORS)  # groups of matrices that every device of a group holds
LATENT_DOWN = ("q_down", "kv_down")
WIDTHS = ("bf16", "fp8", "int8", "nvfp4", "int4", "mxfp4")  # of weights, the widest first


@dataclass(frozen=True, kw_only=True)
class DeviceMemory:
    """Where the memory of one device goes. The parts add up to what the driver reports."""

    outside_bytes: float  # what CUDA keeps, and what the program leaves alone
    context_bytes: float  # CUDA's context and kernels, buffers of the links
    weight_bytes: float
    draft_bytes: float  # weights of a draft model
    activation_bytes: float  # of the largest step
    graph_bytes: float
    cache_bytes: float  # below zero: the program does not start

    @property
    def driver_bytes(self) -> float:
        return sum(self.parts.values())

    @property
    def weights_share(self) -> float:
        """Share of the weights in what the program leaves for weights and cache."""
        return self.weight_bytes / (self.weight_bytes + max(0.0, self.cache_bytes))

    @property
    def cache_share(self) -> float:
        """Share of the cache in what users add until memory is full, the activations of the largest step counted.

        A program sets activations aside when it starts, so this is the least that the cache can be.
        """
        room = max(0.0, self.cache_bytes)
        return room / (room + self.activation_bytes) if room else 0.0

    @property
    def parts(self) -> dict[str, float]:
        """The parts by name, the cache last."""
        return {
            "outside": self.outside_bytes,
            "context and links": self.context_bytes,
            "weights": self.weight_bytes,
            "draft": self.draft_bytes,
            "activations": self.activation_bytes,
            "graphs": self.graph_bytes,
            "cache": self.cache_bytes,
        }


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """A deployment under a serving program, with the settings that its memory depends on.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> from bytebill.programs import program
    >>> one = Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"))
    >>> served = Footprint(deployment=one, program=program("vllm"))
    >>> round(served.at("value").activation_bytes / 2**30, 2)    # 8192 * 4096 * 2 + 1024 * 128256 * 4 * 3.7, in GiB
    1.87
    >>> served.cache_tokens() // 10_000, served.fits()
    (43, True)
    """

    deployment: Deployment
    program: Program
    utilization: float | None = None  # whatever the program takes a share of; None: its default
    step_tokens: int | None = None
    max_users: int | None = None  # sequences that the program is set up for; None: its default
    draft: ModelSpec | None = None
    draft_precision: Precision | None = None  # of its weights; None: as the model's

    def __post_init__(self) -> None:
        share = self.utilization
        require(
            share is None or 0 < share <= 1,
            f"A utilization is a share of the memory, above 0 and at most 1, not {share}.",
        )
        for what, n in (("a step", self.step_tokens), ("a server", self.max_users)):
            require(n is None or 1 <= n <= MOST, f"{what.capitalize()} takes from one to {MOST:,}, not {str(n)[:40]}.")

    @property
    def context_len(self) -> int:
        """The longest context that the model, and its draft, was made for."""
        return min(spec.context_len for spec in (self.deployment.model, self.draft) if spec)

    @cached_property
    def _size(self) -> str:
        """What the program takes this device for; vLLM takes every A100 for a small one."""
        card = self.deployment.accelerator
        if self.program.id == "vllm" and card.id.startswith("a100"):
            return "small"
        return self.program.size(card.driver_bytes)

    def _quantity(self, name: str, corner: str = "value") -> float:
        return self.program.quantity(name, corner=corner, size=self._size)

    @property
    def largest_step(self) -> int:
        """Tokens of the largest step."""
        return self.step_tokens or int(self._quantity("step_tokens"))

    @property
    def weight_bytes(self) -> float:
        """Weights on each device, as the program loads them."""
        return self._held(self.deployment.model, self.deployment.precision)

    def _held(self, spec: ModelSpec, precision: Precision) -> float:
        group = self.deployment
        multiple = int(self.program.quantity("mxfp4_multiple", default=1))
        return device_weight_bytes(
            spec, precision=precision, n_devices=group.n_devices, n_sharing=group.n_sharing, mxfp4_multiple=multiple
        )

    def at(self, corner: str) -> DeviceMemory:
        """Where each device's memory goes, by the values or by either end: at `high` the program takes most."""
        group, card = self.deployment, self.deployment.accelerator
        draft = self._held(self.draft, self.draft_precision or group.precision) if self.draft else 0.0
        context = self._quantity("context_bytes", corner)
        if group.n_devices > 1:
            context += self._quantity("link_bytes", corner)
        cuda = card.driver_bytes - (CUDA_KEEPS[corner] if card.vendor == "NVIDIA" else 0.0)
        outside, fixed = card.driver_bytes - cuda, self.weight_bytes + draft
        activations, graphs = self._activations(corner), self._quantity("graph_bytes", corner)
        share, meaning = self.utilization, self.program.share_of
        if meaning == "utilization":
            share = self._quantity(meaning) if share is None else share
            outside += (1 - share) * cuda
        elif meaning == "static_share":
            if share is not None:  # what is not static is there for activations and graphs
                activations = (1 - share) * (cuda - context)
        else:
            share = self._quantity(meaning) if share is None else share
            outside += max(0.0, (1 - share) * (cuda - context - fixed - activations - graphs))
        return DeviceMemory(
            outside_bytes=outside,
            context_bytes=context,
            weight_bytes=fixed - draft,
            draft_bytes=draft,
            activation_bytes=activations,
            graph_bytes=graphs,
            cache_bytes=card.driver_bytes - outside - context - fixed - activations - graphs,
        )

    def _activations(self, corner: str) -> float:
        """Activations of the largest step on a device."""
        group, n_tokens = self.deployment, self.largest_step
        if per_token := self._quantity("step_token_bytes", corner):
            return n_tokens * per_token
        copies = self._quantity("logit_copies", corner)
        n_logits = min(self.max_users or int(self._quantity("max_users")), n_tokens)
        return max(
            step_peak_bytes(spec, group, n_tokens=n_tokens, logit_bytes=4 * n_logits * spec.vocab_size * copies)
            for spec in (group.model, self.draft)
            if spec
        )

    def user_bytes(self, context_len: float) -> float:
        """Bytes that the group keeps of one user of this context: caches, their copies, states; the draft's too."""
        return sum(
            replace(self.deployment, model=spec).user_bytes(context_len) + self._beyond_windows(spec, context_len)
            for spec in (self.deployment.model, self.draft)
            if spec
        )

    def _beyond_windows(self, spec: ModelSpec, context_len: float) -> float:
        """Bytes of the running step's tokens, which windows keep besides their own."""
        width, n_sharing = self.deployment.precision.kv_bytes_per_value, self.deployment.n_sharing
        return sum(
            kind.n_layers
            * _step_entries(kept, context_len, self.largest_step)
            * kept.entry_bytes(width)
            * cache_copies(kept, n_sharing)
            for kind in spec.kinds
            for kept in kind.caches
        )

    def cache_tokens(self, context_len: int | None = None, *, corner: str = "value") -> int:
        """Tokens that users of this context keep in the cache together; zero where the program does not start."""
        context = self._checked(context_len)
        left = max(0.0, self.at(corner).cache_bytes) * self.deployment.n_devices
        return floor(left / self.user_bytes(context) * context)

    def users(self, context_len: int | None = None, *, corner: str = "value") -> int:
        """Users of this context that fit at once; with data-parallel attention each on its own device."""
        context, group = self._checked(context_len), self.deployment
        left = max(0.0, self.at(corner).cache_bytes) * group.n_sharing
        return group.n_devices // group.n_sharing * floor(left / self.user_bytes(context))

    def fits(self, context_len: int | None = None, *, n_users: int = 1, corner: str = "high") -> bool:
        """Whether so many users of this context fit; if not told otherwise, even if everything uncertain takes most."""
        return self.users(context_len, corner=corner) >= n_users

    def longest_context(self, n_users: int = 1) -> int:
        """Longest context that `fits` for so many users, at most the model's own; zero if none does."""
        low, high = 0, self.context_len
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(middle, n_users=n_users) else (low, middle - 1)
        return low

    def fewest_devices(self, context_len: int | None = None, *, n_users: int = 1, corner: str = "high") -> int | None:
        """Smallest even group on which that `fits`; None if no group does."""

        def fits(size: int) -> bool:
            there = replace(self, deployment=replace(self.deployment, n_devices=size))
            return there.fits(context_len, n_users=n_users, corner=corner)

        return next((size for size in self._even_sizes if fits(size)), None)

    @property
    def _even_sizes(self) -> Iterable[int]:
        """Sizes of groups that can hold the model; where each device has its own users, any."""
        by_users, most = self.deployment.attention == "data", max(LARGEST_GROUP, self.deployment.n_devices)
        return range(1, most + 1) if by_users else tensor_parallel_sizes(self.deployment.model, largest=most)

    def widest_weights(self, context_len: int | None = None, *, n_users: int = 1) -> str | None:
        """The format of most bits in which that `fits`, the cache's width kept; None if no format does."""
        width = self.deployment.precision.kv_bytes_per_value
        formats = (replace(PRECISIONS[name], kv_bytes_per_value=width) for name in WIDTHS)
        return next(
            (
                each.name
                for each in formats
                if replace(self, deployment=replace(self.deployment, precision=each)).fits(context_len, n_users=n_users)
            ),
            None,
        )

    def _checked(self, context_len: int | None) -> int:
        context = self.context_len if context_len is None else context_len
        require(context >= 1, f"A user has at least one token of context, not {context}.")
        return context


def footprint_of(
    model_id: str,
    *,
    accelerator: str | Accelerator,
    n_devices: int = 1,
    program: str = "vllm",
    weights: str = "auto",
    kv: str = "bf16",
    attention: str = "tensor",
    draft: str | None = None,
    utilization: float | None = None,
    step_tokens: int | None = None,
) -> Footprint:
    """The footprint of a model by the names of everything; `auto`: weights as wide as their makers publish them.

    >>> footprint_of("llama-3-70b", accelerator="h100-sxm", n_devices=2).fits(8192)
    False
    """
    spec, stored = models.find(model_id)
    require_known("width of weights", weights, ("auto", *WIDTHS))
    require_known("width of the cache", kv, ("bf16", "fp8"))
    width = stored if weights == "auto" else models.checkpoint_precision(weights, spec)
    sizes = tensor_parallel_sizes(spec)
    require(
        attention != "tensor" or n_devices in sizes or n_devices < 1,
        f"The heads of {spec.name} split evenly over {', '.join(map(str, sizes))} devices, not over {n_devices}.",
    )
    guess, guess_stored = models.find(draft) if draft else (None, None)
    return Footprint(
        deployment=Deployment(
            model=spec,
            accelerator=hardware.accelerator(accelerator) if isinstance(accelerator, str) else accelerator,
            precision=replace(width, kv_bytes_per_value=1) if kv == "fp8" else width,
            n_devices=n_devices,
            attention=attention,
        ),
        program=programs.program(program),
        utilization=utilization,
        step_tokens=step_tokens,
        draft=guess,
        draft_precision=guess_stored,
    )


def as_served(
    group: Deployment, by: Program, *, utilization: float | None = None, step_tokens: int | None = None
) -> Deployment:
    """The group with the room for caches that a program leaves, or, where that is none, leaves at best.

    `utilization` is whatever the program takes a share of, `step_tokens` the largest step, whose activations take room;
    None: the program's defaults.

    >>> from bytebill.hardware import accelerator
    >>> from bytebill.models import model, precision
    >>> four = Deployment(model=model("llama-3-70b"), accelerator=accelerator("h100-sxm"), precision=precision("bf16"),
    ...                   n_devices=4)
    >>> [as_served(four, programs.program(id)).kv_tokens // 1000 for id in ("vllm", "trtllm", "sglang")]
    [437, 501, 422]
    """
    served = Footprint(deployment=group, program=by, utilization=utilization, step_tokens=step_tokens)
    card = group.accelerator
    most = max(served.at(corner).cache_bytes for corner in ("value", "low"))
    usual = served.at("value").cache_bytes
    free = group.n_devices * max(0.0, usual if usual > 0 else most)
    reserve = 1 - (group.memory.weight_bytes + free) / (group.n_devices * card.driver_bytes)
    return replace(group, accelerator=replace(card, memory_bytes=card.driver_bytes), reserve=max(0.0, reserve))


def device_weight_bytes(
    spec: ModelSpec, *, precision: Precision, n_devices: int, n_sharing: int, mxfp4_multiple: int = 1
) -> float:
    """Bytes of weights that each device of a group holds.

    `n_sharing` devices share each layer's attention; fewer than there are: attention is data-parallel. The width of
    an MXFP4 expert is padded to a multiple on each device.

    >>> from bytebill.models import model, precision
    >>> shared = {"precision": precision("bf16"), "n_sharing": 8}
    >>> round(device_weight_bytes(model("llama-3-70b"), n_devices=8, **shared) / 2**30, 2)    # 131.42 / 8, and vectors
    16.43
    """
    spread = n_sharing < n_devices

    def share(matrix: Matrix, n_heads: int) -> float:
        if (spread and matrix.group != "expert") or matrix.group in WHOLE or matrix.name in LATENT_DOWN:
            return 1.0
        if matrix.group == "attention" and matrix.name in ("k", "v"):
            return max(1 / n_devices, 1 / n_heads)
        return _padded(spec, matrix, precision, n_devices, mxfp4_multiple) / n_devices

    layers = [
        (matrix, max((kept.n_heads for kept in kind.caches), default=n_devices))
        for kind in spec.kinds
        for matrix in kind.matrices
    ]
    inside = {matrix for matrix, _ in layers}
    others = [(matrix, n_devices) for matrix in matrices(spec) if matrix not in inside]
    return sum(precision.weight_bytes(matrix) * share(matrix, n_heads) for matrix, n_heads in (*layers, *others))


def _padded(spec: ModelSpec, matrix: Matrix, precision: Precision, n_devices: int, multiple: int) -> float:
    """Padded over true width of an expert's share, 1 where nothing is padded."""
    if spec.moe is None or matrix.group != "expert" or not any(f.name == "mxfp4" for _, f in precision.formats(matrix)):
        return 1.0
    width = spec.moe.d_ff_expert / n_devices
    return ceil(width / multiple) * multiple / width


def step_peak_bytes(spec: ModelSpec, group: Deployment, *, n_tokens: int, logit_bytes: float) -> float:
    """Activations that are live at once in a step of so many tokens, on each device: see the module's text."""
    width = group.precision.activation_bytes_per_value
    layer = 4 * spec.d_model + max(_layer_widths(spec, group), default=0.0)
    routed = 0.0
    if (moe := spec.moe) and group.precision.name != "mxfp4":  # its kernels keep nothing aside
        expert = moe.d_ff_expert / group.n_devices
        routed = moe.n_experts_per_token * (max(expert, spec.d_model) + max(2 * expert, spec.d_model))
    return n_tokens * width * routed + max(n_tokens * width * layer, n_tokens * width * spec.d_model + logit_bytes)


def _layer_widths(spec: ModelSpec, group: Deployment) -> Iterator[float]:
    """Values of a token between the residuals: of each kind's attention twice over, of its MLP gate, up and product."""
    for kind in spec.kinds:
        mixing = sum(m.n_out * m.copies for m in kind.matrices if m.group in ("attention", "recurrent"))
        yield 2 * mixing / kind.n_layers / group.n_sharing
        for m in kind.matrices:
            if m.group in ("mlp", "shared_expert") and m.name == "up":
                yield 3 * m.n_out * max(1.0, m.copies / kind.n_layers) / group.n_sharing


def _step_entries(kept: TokenCache, context_len: float, step_tokens: int) -> float:
    """Entries beyond a window that a running step keeps, as far as the context has them."""
    if kept.reach is None:
        return 0.0
    return (min(context_len, kept.reach + step_tokens) - min(context_len, kept.reach)) / kept.stride
