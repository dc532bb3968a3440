"""How does a figure of this book look? One style, one palette with fixed meanings, and the figures' shapes.

Colours mean the same everywhere (style sheet and calculator use the same ones); predictions are lines,
measurements filled marks, simulations small dots, published figures hollow marks. Every function takes and returns
`ax`, and computes nothing: numbers come in as they are to be drawn. Figures are SVG on a transparent ground, byte for
byte the same from the same numbers.
"""

from bytebill.plotting.caching import bill_by_share, hits_by_size, ttft_by_found
from bytebill.plotting.ceilings import attention_roof, crossover, roof
from bytebill.plotting.first import main_figure
from bytebill.plotting.fleets import day_of_nodes, shares_of_load, two_pools, wait_by_hour
from bytebill.plotting.frontier import three_way, throughput_and_goodput
from bytebill.plotting.interference import by_budget, gaps_over_run, step_by_prompt, wins_and_losses
from bytebill.plotting.ladder import costs_by_rung, error_by_tokens, gains_over_share
from bytebill.plotting.memory import (
    cache_by_context,
    kinds_of_slots,
    memory_bars,
    shrink_or_buy,
    waste_and_time,
    where_memory_goes,
)
from bytebill.plotting.money import (
    break_even_map,
    forest_of_rates,
    hosts_on_map,
    invoice_steps,
    rules_on_map,
    spent_by_month,
    ticks_on_map,
    tornado_bars,
)
from bytebill.plotting.phases import ratio_curves, ratio_strips, token_time_by_tokens
from bytebill.plotting.quantization import gain_by_tokens, loss_by_bits
from bytebill.plotting.routing import calls_saved, cascade_curve, cut_by_price_gap
from bytebill.plotting.slots import factors_waterfall, latency_by_rate, slot_timelines
from bytebill.plotting.speculation import gain_by_users, staircase, tokens_by_drafts
from bytebill.plotting.steps import (
    bending_over,
    between_two,
    line_of_bytes,
    over_active,
    residuals,
    step_parts,
    token_time,
    turning_contexts,
    where_a_step_goes,
)
from bytebill.plotting.style import BYTES, FLOPS, IDLE, INK, KV, MONEY, WEIGHTS, figure, use_book_style
from bytebill.plotting.timelines import request_timeline
