"""What does a step move and multiply, and how fast may it be? Loads, their cost, and the bounds of a device."""

from bytebill.roofline.cost import (
    Bound,
    StepCost,
    TimeBounds,
    critical_batch,
    decode_cost,
    step_cost,
    step_time_bounds,
    weight_read_params,
)
from bytebill.roofline.load import Chunk, Step, attended_pairs
from bytebill.roofline.routing import distinct_experts, distinct_of_shares, tokens_to_touch, zipf_shares
