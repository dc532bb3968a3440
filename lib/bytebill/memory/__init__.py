"""Does it fit, and what goes where? Each device's memory under a serving program (`footprint`), as a reader sees it
(`view`); and what makes room for more users (`choice`).
"""

from bytebill.memory.choice import next_group_copies, on_next_group, shrink_over_buy, with_cache_of
from bytebill.memory.footprint import (
    CUDA_KEEPS,
    DeviceMemory,
    Footprint,
    as_served,
    device_weight_bytes,
    footprint_of,
    step_peak_bytes,
)
