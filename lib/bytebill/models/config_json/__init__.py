"""What does a config.json describe? Any Hugging Face decoder as a shape (`specs`), layer by layer (`plan`), and the
widths it is stored in (`quantization`).
"""

from bytebill.models.config_json.specs import read_config
