"""What does a step move and multiply, and how fast may it be? Loads, their cost, and the bounds of a device."""

from bytebill.roofline.bounds import Bound, TimeBounds, critical_batch, step_time_bounds
from bytebill.roofline.cost import (
    CacheTerm,
    CostTerms,
    StepCost,
    cache_copies,
    cost_terms,
    decode_cost,
    step_cost,
    touched_share,
)
from bytebill.roofline.load import Chunk, Load, attended_pairs
from bytebill.roofline.routing import distinct_experts, distinct_of_shares, tokens_to_touch, zipf_shares
from bytebill.roofline.speculation import tokens_per_pass, useful_share
