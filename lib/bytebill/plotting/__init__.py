"""How does a figure of this book look? One style, one palette with fixed meanings, and the figures' shapes.

Colours mean the same everywhere (style sheet and calculator use the same ones); predictions are lines,
measurements filled marks, simulations small dots, published figures hollow marks. Every function takes and returns
`ax`, and computes nothing: numbers come in as they are to be drawn. Figures are SVG on a transparent ground, byte for
byte the same from the same numbers.
"""

from bytebill.plotting.attention import attention_roof, bending_over
from bytebill.plotting.ceilings import crossover, line_of_bytes, named_points, roof
from bytebill.plotting.clock import predicted_against_measured
from bytebill.plotting.day import day_of_nodes, two_pools
from bytebill.plotting.decline import forest_of_rates
from bytebill.plotting.experts import between_two, over_active
from bytebill.plotting.fleets import day_of_fleets, shares_of_load
from bytebill.plotting.levers import levers_by_case
from bytebill.plotting.memory import users_by_context
from bytebill.plotting.money import break_even_map, moved_on_map, prices_on_map, rules_on_map
from bytebill.plotting.slots import factors_waterfall, slot_timelines
from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, MONEY, WEIGHTS, figure, use_book_style
from bytebill.plotting.waste import kinds_of_slots, waste_and_time

__all__ = [
    "BYTES",
    "FLOPS",
    "IDLE",
    "INK",
    "KV",
    "MONEY",
    "WEIGHTS",
    "attention_roof",
    "bending_over",
    "between_two",
    "break_even_map",
    "crossover",
    "day_of_fleets",
    "day_of_nodes",
    "factors_waterfall",
    "figure",
    "forest_of_rates",
    "kinds_of_slots",
    "levers_by_case",
    "line_of_bytes",
    "moved_on_map",
    "named_points",
    "over_active",
    "predicted_against_measured",
    "prices_on_map",
    "roof",
    "rules_on_map",
    "shares_of_load",
    "slot_timelines",
    "two_pools",
    "use_book_style",
    "users_by_context",
    "waste_and_time",
]
