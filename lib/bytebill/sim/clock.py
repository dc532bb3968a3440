"""How long does a step take on hardware that the reader does not own? Eight constants and a roofline.

    step time = step_s + layer_s * layers + sequence_s * sequences            whatever their lengths
              + hypot(linear bytes / W, sum of linear flops / peak of dtype)  weights, once for all
              + routed_layer_s * layers with experts                          sorting tokens by expert, and back
              + sum over caches of max(KV bytes / W, attention flops / peak)  decodes, then prefills
              + state bytes / W                                               of recurrent layers
              + sums * (all_reduce_s + 2 (n - 1) / n * T * D * bytes / link)  sums of a layer's output over n devices
              + sums * (the same over m nodes, each device carrying its share)
              + swapped bytes / host link                                     before the first repeat

W and peak are the device's published rates times its achieved shares (`bytebill.sim.constants`), n devices have n
times both. `sums` are two a layer, one where attention and MLP are parallel; a layer that does one of both alone is
half of one. The root of the sum of squares is the soft knee that matrix products have (`bytebill.measure.decode`);
attention lies far to one side of its own. So a step lies between the roofline's two bounds of what the device
reaches, plus its overheads. Where attention is data-parallel each device reads all of its weights, and tokens are
gathered for the MLP and scattered again, which moves what one sum moves. Repeating a load adds a token to every
decoding sequence and so the same time to every step, until a window is full: n steps take a sum in closed form. A
clock sees counts alone, so under a window sequences that decode together count as equally long, which is never too
fast. Ignores overlap of kernels with communication, skew among experts, copies of norms and biases.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from math import ceil, floor, hypot, inf, sqrt

from bytebill.deployment import Deployment
from bytebill.errors import BytebillError, require
from bytebill.hardware import Accelerator
from bytebill.models import PRECISIONS, ModelSpec, Precision, weight_bytes
from bytebill.roofline import CacheTerm, Load, cost_terms
from bytebill.sim.constants import BETWEEN_NODES, IDEAL, UNPACKED, Constants
from bytebill.sim.guards import counted_once, no_faster
from bytebill.units import BLOCK_SIZE_TOKENS


@dataclass(slots=True)  # not frozen: one is made for every plan, and freezing triples what that takes
class Segment:
    """A run of equal loads: `first_s` for the first, `growth_s` more for each one after, `once_s` before all.

    After `n_growing` of them a window is full, and `then` tells how it goes on.
    """

    first_s: float
    growth_s: float
    once_s: float = 0.0
    n_growing: float = inf
    then: "Segment | None" = None

    def seconds(self, n: int) -> float:
        """Time of the first n repeats, from the run's start: n * first + growth * n (n - 1) / 2.

        >>> Segment(10.0, 1.0).seconds(3)    # 10 + 11 + 12
        33.0
        >>> Segment(10.0, 1.0, n_growing=2, then=Segment(11.5, 0.0)).seconds(4)    # 10 + 11 + 11.5 + 11.5
        44.0
        """
        if n > self.n_growing and self.then is not None:
            n_grown = int(self.n_growing)
            return self.seconds(n_grown) + self.then.seconds(n - n_grown)
        return self.once_s + n * (self.first_s + 0.5 * (n - 1) * self.growth_s) if n else 0.0

    def n_until(self, seconds: float) -> int:
        """The smallest n whose `seconds(n)` is at least this.

        >>> Segment(10.0, 1.0).n_until(33.0), Segment(10.0, 1.0).n_until(33.1)
        (3, 4)
        """
        left = seconds - self.once_s
        if left <= 0:
            return 0 if seconds <= 0 else 1
        half = 0.5 * self.growth_s
        linear = self.first_s - half
        # the root of half n^2 + linear n = left, in the form that keeps its digits where half is next to nothing
        n = ceil(2 * left / (linear + sqrt(linear * linear + 4 * half * left)))
        if n > self.n_growing and self.then is not None:
            n_grown = int(self.n_growing)
            n = n_grown + self.then.n_until(seconds - self.seconds(n_grown))
        while self.seconds(n) < seconds:
            n += 1
        while n > 1 and self.seconds(n - 1) >= seconds:
            n -= 1
        return n


class Clock:
    """The time of loads, and of a scheduler's plans, on a deployment."""

    def __init__(
        self,
        deployment: Deployment,
        constants: Constants = IDEAL,
        *,
        host_bytes_per_s: float | None = None,
        block_size_tokens: int = BLOCK_SIZE_TOKENS,
    ) -> None:
        """`host_bytes_per_s` is one device's link to its host; blocks of `block_size_tokens` are swapped over it."""
        self.deployment, self.constants = deployment, constants
        self.host_bytes_per_s, self.block_size_tokens = host_bytes_per_s, block_size_tokens
        model, precision, n_devices = deployment.model, deployment.precision, deployment.n_devices
        self._terms = cost_terms(model, precision=precision, n_sharing=deployment.n_sharing)
        counted_once(
            cost_terms(model, precision=precision),
            precision=precision,
            resident_bytes=weight_bytes(model, precision=precision),
        )
        self._check_memory()
        known = constants.values()
        card = deployment.accelerator
        self._peak_bytes_per_s = n_devices * card.bandwidth_bytes_per_s
        self._bytes_per_s = self._peak_bytes_per_s * known["bandwidth_share"]
        multiplied = (*self._terms.token_flops, *self._terms.expert_flops, *self._terms.logit_flops)
        dtypes = {attention_dtype(precision), *(dtype for dtype, _ in multiplied)}
        self._peaks = {dtype: n_devices * card.peak(card.units(dtype)) for dtype in dtypes}
        self._flops_per_s = {
            (dtype, routed): peak * share_of(card.units(dtype))
            for dtype, peak in self._peaks.items()
            for routed, share_of in ((False, partial(constants.of, "flops_share")), (True, constants.routed_share_of))
        }
        terms, none = self._terms, self._terms.linear_flops(0, 0)  # the kinds of products, in order
        self._products = [  # FLOPs of a token and of a logit, and the rates of both
            (
                terms.linear_flops(1, 0)[kind],
                terms.linear_flops(0, 1)[kind],
                self._flops_per_s[kind],
                self._peaks[kind[0]],
            )
            for kind in none
        ]
        self._attention_dtype = attention_dtype(precision)
        self._sequence_s = known["sequence_s"]
        self._stop_s = known["step_s"] + known["layer_s"] * model.n_sublayers / 2
        if model.moe is not None:
            routed_layer_s = constants.of("routed_layer_s", kernel_dtype(precision, card))
            self._stop_s += routed_layer_s * model.n_routed_layers
        # a gather and a scatter around the MLP move what one sum moves, and attention needs none
        sums, whole = _sums(model), deployment.n_sharing == n_devices
        crossing = sums * (1 if whole else 0.5) * model.d_model * float(precision.activation_bytes_per_value)
        self._all_reduce_s = crossing * _ring(n_devices) / known["link_bytes_per_s"]
        self._sums_s = known["all_reduce_s"] * sums if n_devices > 1 else 0.0
        if (n_nodes := deployment.n_nodes) > 1:  # each device carries its share of a sum to the other nodes
            link_bytes_per_s = constants.of("link_bytes_per_s", BETWEEN_NODES)
            self._all_reduce_s += crossing * _ring(n_nodes) / card.node_devices / link_bytes_per_s
            self._sums_s += constants.of("all_reduce_s", BETWEEN_NODES) * sums
        self._stop_s += self._sums_s
        # with data-parallel attention every device reads all of its weights, and the group n times as many
        self._extra_bytes = deployment.memory.weight_bytes - weight_bytes(model, precision=precision)
        self._kv_bytes = deployment.memory.kv_bytes_per_token
        # a decoding token reads, and attends to, its whole context: both times grow alike, so one of them wins
        self._contexts_s = [(term, self._attention_s(term, 1, term.pair_flops)) for term in self._terms.caches]
        self._context_s = sum(each_s for _, each_s in self._contexts_s)
        self._windowed = any(term.read_reach is not None for term in self._terms.caches)
        self._rests_s: dict[int, float] = {}  # of a decode step, all but attention, by number of sequences

    @cached_property
    def fastest(self) -> "Clock":
        """This clock with every constant at its fast end."""
        return self._with(self.constants.fastest)

    @cached_property
    def slowest(self) -> "Clock":
        """This clock with every constant at its slow end."""
        return self._with(self.constants.slowest)

    def segment(self, load: Load) -> Segment:
        """The time of a load, repeated with one more cached token in each decoding sequence every time."""
        if not load.n_context_tokens >= 0 or load.n_swapped_blocks < 0 or load.n_new_each < 1 or load.n_decodes < 0:
            load.checked()  # raises
        if load.chunks or load.n_new_each > 1:
            return self._mixed(load)
        n, n_context = load.n_decodes, load.n_context_tokens
        rest_s = self._rests_s.get(n)
        if rest_s is None:
            load.checked()
            rest_s = self._rests_s[n] = self._rest_s(n_new_tokens=n, n_logits=n, n_sequences=n)
        once_s = self._swap_s(load) if load.n_swapped_blocks else 0.0
        if self._windowed and n:
            return self._pieces(rest_s, once_s, n, n_context)
        return Segment(rest_s + (n_context + n) * self._context_s, n * self._context_s, once_s)

    def _pieces(self, rest_s: float, once_s: float, n: int, n_context: float) -> Segment:
        """Repeated decodes until the next window is full, and so on; what is read once it is full stays."""
        mean = n_context / n
        full = [term.read_reach for term, _ in self._contexts_s if term.read_reach is not None]
        growing = [reach for reach in full if mean < reach]
        n_growing = min((floor(reach - mean) + 1 for reach in growing), default=inf)
        growth_s = sum(n * each_s for term, each_s in self._contexts_s if (term.read_reach or inf) > mean)
        segment = Segment(rest_s + self._decode_s(n, n_context), growth_s, once_s, n_growing)
        if growing:
            segment.then = self._pieces(rest_s, 0.0, n, n_context + n * n_growing)
        return segment

    def step_s(self, load: Load) -> float:
        """Time of one step of a load [s]."""
        return self.segment(load).seconds(1)

    def terms_s(self, load: Load) -> dict[str, float]:
        """What each part of a step would take alone [s]: weights and arithmetic overlap, so all together is more.

        >>> from bytebill.hardware import accelerator
        >>> from bytebill.models import model, precision
        >>> clock = Clock(Deployment(model=model("llama-3-8b"), accelerator=accelerator("h100-sxm"),
        ...                          precision=precision("bf16")))
        >>> terms_s = clock.terms_s(Load.decode(batch_size=64, context_len=2048))
        >>> {name: round(1e3 * seconds, 2) for name, seconds in terms_s.items()}    # 15.4 and 17.2 GB over 3.35 TB/s
        {'weights': 4.59, 'cache': 5.13, 'arithmetic': 0.97, 'links': 0.0, 'program': 0.0}
        """
        n_new, n_logits, n = load.n_new_tokens, load.n_logits, load.n_sequences
        n_bytes = self._terms.linear_bytes(n_new, n_logits) + self._extra_bytes
        products = (
            (token_flops * n_new + logit_flops * n_logits) / flops_per_s
            for token_flops, logit_flops, flops_per_s, _ in self._products
        )
        states_s = self._terms.state_bytes * n / self._bytes_per_s
        return {
            "weights": n_bytes / self._bytes_per_s,
            "cache": self.step_s(load) - self._rest_s(n_new, n_logits, n) + states_s,
            "arithmetic": sum(products),
            "links": self._sums_s + self._all_reduce_s * n_new,
            "program": self._stop_s - self._sums_s + self._sequence_s * n,
        }

    def range_s(self, load: Load) -> tuple[float, float, float]:
        """Time of one step: with every constant at its fast end, as calibrated, at its slow end [s]."""
        return self.fastest.step_s(load), self.step_s(load), self.slowest.step_s(load)

    def _mixed(self, load: Load) -> Segment:
        """A step with chunks or drafts in it: one step, since what it holds changes with the next."""
        n, new = load.n_decodes, load.n_new_each
        if new > 1:
            attention_s = self._spread_s(Load(n_decodes=n, n_context_tokens=load.n_context_tokens, n_new_each=new))
        else:
            attention_s = self._decode_s(n, load.n_context_tokens)
        n_new_tokens = n_logits = n * new
        n_read = n_pairs = 0
        for chunk in load.chunks:
            n_cached, n_new = chunk.context_len, chunk.n_new_tokens
            n_new_tokens += n_new
            n_logits += chunk.n_logits
            n_read += n_cached + n_new
            n_pairs += n_new * n_cached + n_new * (n_new + 1) // 2
        if self._windowed and n_read:
            attention_s += self._spread_s(Load(chunks=load.chunks))
        elif n_read:
            for term in self._terms.caches:
                flops = n_pairs * term.pair_flops
                if term.expanded:
                    flops -= sum([term.saved_flops(chunk) for chunk in load.chunks])
                attention_s += self._attention_s(term, n_read, flops)
        rest_s = self._rest_s(n_new_tokens, n_logits, load.n_sequences)
        return Segment(rest_s + attention_s, 0.0, self._swap_s(load) if load.n_swapped_blocks else 0.0)

    def _decode_s(self, n_decodes: int, n_context_tokens: float) -> float:
        """Attention of sequences that get one token each."""
        if not self._windowed:
            return (n_context_tokens + n_decodes) * self._context_s
        return sum(
            (min(n_context_tokens, n_decodes * (term.read_reach or inf)) + n_decodes) * each_s
            for term, each_s in self._contexts_s
        )

    def _spread_s(self, load: Load) -> float:
        """Attention of sequences that get several tokens each."""
        return sum(
            self._attention_s(term, load.kept_tokens(term.read_reach) + load.n_new_tokens, term.flops(load))
            for term in self._terms.caches
        )

    def _rest_s(self, n_new_tokens: int, n_logits: int, n_sequences: int) -> float:
        """Everything but attention: linear layers, states, all-reduces and overheads."""
        n_bytes = self._terms.linear_bytes(n_new_tokens, n_logits) + self._extra_bytes
        fixed_s = self._stop_s + self._sequence_s * n_sequences + self._all_reduce_s * n_new_tokens
        products_s = least_s = 0.0
        for token_flops, logit_flops, flops_per_s, peak in self._products:
            flops = token_flops * n_new_tokens + logit_flops * n_logits
            products_s += flops / flops_per_s
            least_s += flops / peak
        work_s = hypot(n_bytes / self._bytes_per_s, products_s)
        # each part of a step keeps to the group's published rates, so their sum does
        no_faster(work_s, memory_s=n_bytes / self._peak_bytes_per_s, compute_s=least_s)
        return work_s + fixed_s + self._terms.state_bytes * n_sequences / self._bytes_per_s

    def _attention_s(self, term: CacheTerm, n_read: float, n_flops: float) -> float:
        """Attention over one kind of cache that reads so many tokens."""
        n_bytes, dtype = n_read * term.token_bytes, self._attention_dtype
        seconds = max(n_bytes / self._bytes_per_s, n_flops / self._flops_per_s[dtype, False])
        return no_faster(seconds, memory_s=n_bytes / self._peak_bytes_per_s, compute_s=n_flops / self._peaks[dtype])

    def _swap_s(self, load: Load) -> float:
        """Blocks cross the link to the host, each device's share over its own, one direction after the other."""
        if not load.n_swapped_blocks:
            return 0.0
        if self.host_bytes_per_s is None:
            raise BytebillError("This plan swaps blocks, and the clock was given no host_bytes_per_s to time that.")
        n_tokens = load.n_swapped_blocks * self.block_size_tokens
        return n_tokens * self._kv_bytes / self.deployment.n_devices / self.host_bytes_per_s

    def _with(self, constants: Constants) -> "Clock":
        return Clock(
            self.deployment, constants, host_bytes_per_s=self.host_bytes_per_s, block_size_tokens=self.block_size_tokens
        )

    def _check_memory(self) -> None:
        group, needed, held = self.deployment, self.deployment.memory.weight_bytes, self.deployment.memory.memory_bytes
        require(
            needed <= held,
            f"{group.model.name} in {group.precision.name} takes {needed / 1e9:.1f} GB, and {group.n_devices} x "
            f"{group.accelerator.name} hold {held / 1e9:.1f} GB; take more devices or fewer bits.",
        )


def attention_dtype(precision: Precision) -> str:
    """What attention multiplies in: 16 bits, or what the weights are in where they are wider."""
    return precision.compute_dtype if precision.compute_dtype in ("fp32", "fp16") else "bf16"


def kernel_dtype(precision: Precision, card: Accelerator) -> str:
    """What the kernels of a format are called: what they multiply in, or UNPACKED where weights are narrower."""
    units = card.units(precision.compute_dtype)
    return UNPACKED if units == "bf16" and precision.weight_bits < PRECISIONS["bf16"].weight_bits else units


def _ring(n: int) -> float:
    """How often a value crosses a link in a sum over n: around a ring to be added up, and around again."""
    return 2 * (n - 1) / n


def _sums(model: ModelSpec) -> int:
    """Sums over the group in a step: one for each part of a layer, or for both where they are parallel."""
    return model.n_sublayers // (2 if model.parallel else 1)
