"""Does it fit, and what goes where? Each device's memory under a serving program (`footprint`), as a reader sees it
(`view`).
"""

from bytebill.memory.footprint import (
    CUDA_KEEPS,
    DeviceMemory,
    Footprint,
    as_served,
    device_weight_bytes,
    footprint_of,
    step_peak_bytes,
)
