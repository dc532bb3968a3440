"""What does a config.json describe? Any Hugging Face decoder as a shape (`specs`), layer by layer (`plan`), the
widths it is stored in (`quantization`), and both from a file (`files`).
"""

from bytebill.models.config_json.files import is_config, load_config, pasted_config, read_json
from bytebill.models.config_json.quantization import stored_precision
from bytebill.models.config_json.specs import read_config
