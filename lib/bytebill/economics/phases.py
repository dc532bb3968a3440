"""What do a day's totals say of prefill and decode? Pools, rates and costs that a disclosure implies.

    prefill nodes = input tokens / (window * input rate of a node)      output tokens and their rate: decode nodes
    fresh rate    = input rate * (input - cached) / input               what a prefill node computes
    gap           = rate of a prefill node / rate of a decode node
    cost of phase = its nodes * hours * rent                            input + output = the bill of both pools
    markup        = income / cost - 1     gross margin = 1 - cost / income = markup / (1 + markup)
    streams       = output rate of all / output rate of one user        Little's law: rate * time each token takes

Rates are averages over the window, of nodes that serve one phase only [tokens/s]; `cached` tokens are part of the
input and take no time of a GPU. Money in USD. Where the two pools do not add up to the nodes that were held, a rate
is no average of the window, or some nodes served neither phase: compare `PhaseTotals.nodes` with the published
number. Ignores reading the cache from disk, mixed nodes, and that long prompts cost more a token than short ones.
Used by chapters 06 and 10.
"""

from dataclasses import dataclass, replace

from bytebill.economics.cost import (
    SECONDS_PER_DAY,
    SECONDS_PER_HOUR,
    Mix,
    PhaseCosts,
    check_positive,
    usd_per_million_tokens,
)
from bytebill.errors import require


@dataclass(frozen=True, kw_only=True)
class PhaseTotals:
    """The tokens of a window, and what one node of each phase serves per second on average.

    >>> mix = Mix(n_input_tokens=6e6, n_cached_tokens=3e6, n_output_tokens=1e6)
    >>> hour = PhaseTotals(mix=mix, input_tokens_per_s=500, output_tokens_per_s=100, window_s=3600)
    >>> round(hour.prefill_nodes, 3), round(hour.decode_nodes, 3)    # 6e6 / 3600 / 500, 1e6 / 3600 / 100
    (3.333, 2.778)
    >>> hour.gap, hour.fresh_gap                                     # 500 / 100, and 250 computed
    (5.0, 2.5)
    """

    mix: Mix
    input_tokens_per_s: float  # of a prefill node, cached tokens included
    output_tokens_per_s: float  # of a decode node
    window_s: float = SECONDS_PER_DAY

    def __post_init__(self) -> None:
        check_positive(
            {
                "A prefill node's rate [tokens per second]": self.input_tokens_per_s,
                "A decode node's rate [tokens per second]": self.output_tokens_per_s,
                "A window [seconds]": self.window_s,
            }
        )
        require(
            min(self.mix.n_fresh_tokens, self.mix.n_output_tokens) > 0,
            "Two phases need fresh input and output; this traffic lacks one of them.",
        )

    @property
    def prefill_nodes(self) -> float:
        """Nodes that this input keeps, all window long."""
        return self.mix.n_input_tokens / self.window_s / self.input_tokens_per_s

    @property
    def decode_nodes(self) -> float:
        """Nodes that this output keeps."""
        return self.mix.n_output_tokens / self.window_s / self.output_tokens_per_s

    @property
    def nodes(self) -> float:
        """Both pools, to be held against the nodes that the disclosure counts."""
        return self.prefill_nodes + self.decode_nodes

    @property
    def fresh_tokens_per_s(self) -> float:
        """Input tokens a second that a prefill node computes: those that no cache had."""
        return self.input_tokens_per_s * (1 - self.mix.hit_rate)

    @property
    def gap(self) -> float:
        """Rate of a prefill node over that of a decode node, cached tokens counted as served."""
        return self.input_tokens_per_s / self.output_tokens_per_s

    @property
    def fresh_gap(self) -> float:
        """Rate of a prefill node over that of a decode node, tokens found in a cache left out."""
        return self.fresh_tokens_per_s / self.output_tokens_per_s

    @property
    def prefill_nodes_without_cache(self) -> float:
        """Nodes that would compute all of the input, at the rate of today's fresh tokens."""
        return self.mix.n_input_tokens / self.window_s / self.fresh_tokens_per_s

    def nodes_at(self, *, fresh_tokens_per_s: float, output_tokens_per_s: float) -> float:
        """Nodes that would do the window's work at other rates, a profile's say; hits take none of their time.

        >>> mix = Mix(n_input_tokens=7.2e6, n_cached_tokens=3.6e6, n_output_tokens=3.6e6)
        >>> hour = PhaseTotals(mix=mix, input_tokens_per_s=1000, output_tokens_per_s=100, window_s=3600)
        >>> hour.nodes, hour.nodes_at(fresh_tokens_per_s=1000, output_tokens_per_s=125)    # 2 + 10, 1 + 8
        (12.0, 9.0)
        """
        at = replace(self, mix=replace(self.mix, n_input_tokens=self.mix.n_fresh_tokens, n_cached_tokens=0))
        return replace(at, input_tokens_per_s=fresh_tokens_per_s, output_tokens_per_s=output_tokens_per_s).nodes

    def usd_by_phase(self, *, usd_per_node_hour: float) -> tuple[float, float]:
        """Cost of the input and of the output over the window; together the bill of both pools.

        >>> mix = Mix(n_input_tokens=7.2e6, n_cached_tokens=3.6e6, n_output_tokens=3.6e6)
        >>> hour = PhaseTotals(mix=mix, input_tokens_per_s=1000, output_tokens_per_s=100, window_s=3600)
        >>> hour.usd_by_phase(usd_per_node_hour=16)    # 2 nodes and 10 nodes
        (32.0, 160.0)
        """
        check_positive({"A rent [USD per hour]": usd_per_node_hour})
        usd_per_node = usd_per_node_hour * self.window_s / SECONDS_PER_HOUR
        return self.prefill_nodes * usd_per_node, self.decode_nodes * usd_per_node

    def costs(self, *, usd_per_node_hour: float) -> PhaseCosts:
        """What a million fresh, cached and output tokens cost; `bill_usd` of the mix gives the bill back.

        >>> mix = Mix(n_input_tokens=7.2e6, n_cached_tokens=3.6e6, n_output_tokens=3.6e6)
        >>> hour = PhaseTotals(mix=mix, input_tokens_per_s=1000, output_tokens_per_s=100, window_s=3600)
        >>> round(hour.costs(usd_per_node_hour=16).bill_usd(mix), 9)
        192.0
        """
        fresh, output = (
            usd_per_million_tokens(usd_per_hour=usd_per_node_hour, tokens_per_s=rate)
            for rate in (self.fresh_tokens_per_s, self.output_tokens_per_s)
        )
        return PhaseCosts(usd_per_m_input=fresh, usd_per_m_cached=0.0, usd_per_m_output=output)


def markup(*, income_usd: float, cost_usd: float) -> float:
    """Profit over cost; without an upper end.

    >>> markup(income_usd=300, cost_usd=100)
    2.0
    """
    check_positive({"An income [USD]": income_usd, "A cost [USD]": cost_usd})
    return income_usd / cost_usd - 1


def gross_margin(*, income_usd: float, cost_usd: float) -> float:
    """Profit over income; below 1 whatever the prices, and also the discount at which profit is gone.

    >>> gross_margin(income_usd=400, cost_usd=100)
    0.75
    """
    check_positive({"An income [USD]": income_usd, "A cost [USD]": cost_usd})
    return 1 - cost_usd / income_usd


def margin_of_markup(markup: float) -> float:
    """The gross margin that a markup is.

    >>> margin_of_markup(1.0), margin_of_markup(3.0)
    (0.5, 0.75)
    """
    require(markup > -1, f"A markup is above -1, where nothing at all is earned, not {markup}.")
    return markup / (1 + markup)


def streams(*, tokens_per_s: float, tokens_per_s_per_user: float) -> float:
    """Answers being written at once, by Little's law: a user who reads r tokens a second keeps each for 1/r.

    >>> streams(tokens_per_s=2000, tokens_per_s_per_user=20)
    100.0
    """
    check_positive(
        {"An output rate [tokens per second]": tokens_per_s, "A user's rate [tokens per second]": tokens_per_s_per_user}
    )
    return tokens_per_s / tokens_per_s_per_user


def lengths_if_all_alike(*, ratio: float, mean_context_len: float) -> tuple[float, float]:
    """Prompt and answer if every request were the same: I + O/2 = mean context, I / O = ratio [tokens].

    >>> lengths_if_all_alike(ratio=3.0, mean_context_len=3500)    # 3000 + 1000 / 2
    (3000.0, 1000.0)
    """
    check_positive({"A ratio [input tokens for one of output]": ratio, "A mean context [tokens]": mean_context_len})
    n_output_tokens = mean_context_len / (ratio + 0.5)
    return ratio * n_output_tokens, n_output_tokens
