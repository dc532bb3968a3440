"""The numbers of the prose pages and what computes them; `test_prose.py` holds the pages to it.

PINS: page -> a fragment of a sentence, its number in brackets -> the value, in the unit of the sentence.
GIVEN: numbers that nothing computes: definitions, settings, quotations, experiences of installing.
GIVEN_IN: the same for chapters, which pin their numbers themselves (`test_notebooks.py`).
"""

from __future__ import annotations

import re

from bytebill.claims import CLAIMS
from bytebill.economics.cost import HOURS_PER_MONTH
from bytebill.hardware import accelerator
from bytebill.models import kv_stored_bytes_per_token, model, precision, weight_bytes
from bytebill.plotting.diagrams import last_step
from bytebill.roofline import critical_batch
from bytebill.site.look import pictures
from bytebill.statement.fields import FORM_FIELDS
from bytebill.statement.fill import AUTO_ATTAINMENT
from bytebill.trials.panels import REFERENCE
from bytebill.units import GB, MB, TB, TFLOP, GiB

UNIT = (
    r"(?:[GMT]i?B(?:/s)?|bytes?|bits?|ms|s|minutes?|hours?|tokens?(?:/s)?"
    r"|[GT]?FLOPS?(?:/s|/byte)?|%|billion|trillion)"
)
WITH_UNIT = re.compile(rf"(?<![\w.,^-])(\d[\d,.]*)(?:\\? *(?:\\text\{{)?{UNIT}(?!\w)|%|-bit)")
MONEY = re.compile(r"\\\$(\d[\d,.]*\d|\d)")

H100, A100 = accelerator("h100-sxm"), accelerator("a100-sxm-80")
BF16, INT4 = precision("bf16"), precision("int4")
LLAMA_70B, MIXTRAL, DEEPSEEK = model("llama-3-70b"), model("mixtral-8x7b"), model("deepseek-v3")

N_PARAMS = 70e9  # the 70B of the claims, a round number
N_BYTES = 2 * N_PARAMS
READ_S = N_BYTES / H100.bandwidth_bytes_per_s
COMPUTE_S = 2 * N_PARAMS / H100.peak("bf16")
USD_PER_HOUR = 2.50  # the illustrative rent of claim C19
SPARSE_FLOPS_PER_S = 2 * H100.peak("bf16")
CACHE_BYTES = 8192 * kv_stored_bytes_per_token(model("llama-2-13b"), precision=BF16)


def _left_of_two_devices_bytes(labelled_bytes: float) -> float:
    """What two devices of this size leave beside a 16-bit Llama-3-70B, a tenth of them kept in reserve."""
    return 2 * 0.9 * labelled_bytes - weight_bytes(LLAMA_70B, precision=BF16)


PINS: dict[str, dict[str, float]] = {
    "own_units.md": {"A month has [730] hours": HOURS_PER_MONTH},
    "price_calculator.md": {
        "the form begins with [60]%": float(FORM_FIELDS["fill"].default),
        "and [99]% of the answers within the limits": 100 * AUTO_ATTAINMENT,
    },
    "README.md": {
        "does [989] trillion operations": H100.peak("bf16") / TFLOP,
        "only about [24] tokens a second": 1 / READ_S,
        "reading [140] GB of weights": N_BYTES / GB,
        "at [3.35] TB/s the read": H100.bandwidth_bytes_per_s / TB,
        "takes [41.8] ms": READ_S * 1e3,
        "takes [56] claims": len(CLAIMS),
    },
    "index.md": {
        "leave their arithmetic idle [99.7]% of the time": 100 * (1 - COMPUTE_S / READ_S),
        "We put [56] claims": len(CLAIMS),
        "is [140] GB of weights": N_BYTES / GB,
        "memory at [3.35] TB/s": H100.bandwidth_bytes_per_s / TB,
        "so the read alone takes [41.8] ms": READ_S * 1e3,
        "a second has room for [23.9] of them": 1 / READ_S,
        "would take [0.14] ms": COMPUTE_S * 1e3,
        "For the other [99.7]% of the time": 100 * (1 - COMPUTE_S / READ_S),
        r"written this way cost \$[29]": USD_PER_HOUR / 3600 * READ_S * 1e6,
        "One H100 cannot in fact hold [140] GB": N_BYTES / GB,
        "The register has [56] claims": len(CLAIMS),
        "claims in [20] chapters": len({claim.chapter for claim in CLAIMS.values()}),
    },
    "how_to_read.md": {
        "The difference is [7]%": 100 * (GiB / GB - 1),
        "cache of [6,710,886,400] bytes": CACHE_BYTES,
        "bytes is [6.71] GB": CACHE_BYTES / GB,
        "and also [6.25] GiB": CACHE_BYTES / GiB,
        "devices labelled [80] GB": H100.memory_bytes / GB,
        "if the label means GB, [2.9] GB": _left_of_two_devices_bytes(80 * GB) / GB,
        "if it means GiB, [13.5] GB": _left_of_two_devices_bytes(80 * GiB) / GB,
        "An H100 does [989] TFLOP/s": H100.peak("bf16") / TFLOP,
        "the [1,979] printed larger": SPARSE_FLOPS_PER_S / TFLOP,
        "moves from [295] FLOP/byte": H100.ridge_point(),
        "FLOP/byte to [591]": SPARSE_FLOPS_PER_S / H100.bandwidth_bytes_per_s,
        "At most [23.9] tokens/s": 1 / READ_S,
        "another [538] MB of disk": 4 * model("smollm2-135m").n_params / MB,
    },
    "pictures.md": {
        "prompts of [1,155] tokens": REFERENCE.n_input_tokens,
        "answers of [211].": REFERENCE.n_output_tokens,
        "layers 1, 2, 3 to [80], columns": pictures.CASE.model.n_layers,
        "writes [327,680] bytes a token": pictures.TOKEN_BYTES,
        "at [8,192] tokens of context": pictures.CONTEXT_LEN,
        "each step reads [2.68] GB": pictures.CONTEXT_LEN * pictures.TOKEN_BYTES / GB,
        "prefill of [1,155] tokens in": REFERENCE.n_input_tokens,
        "tokens in [40] ms, is": pictures.PREFILL_S * 1e3,
        "Prefill takes [40] ms": pictures.PREFILL_S * 1e3,
        "ms for [1,155] tokens, and": REFERENCE.n_input_tokens,
        "of the answer [10] ms": pictures.STEP_S * 1e3,
        "decode is [98]% of the time": 100 * pictures.DECODE_SHARE,
        "the same [12] requests": len(pictures.LENGTHS),
        "in [16] steps": last_step(pictures.REFILLED),
        "instead of [24]:": last_step(pictures.IN_BATCHES),
        "fall from [43]%": 100 * pictures.idle_share(pictures.IN_BATCHES),
        "to [14]%": 100 * pictures.idle_share(pictures.REFILLED),
        "One token lights [8] of them": pictures.experts_expected(1),
        "8 tokens [57], and": pictures.experts_expected(8),
        "and 64 tokens [222].": pictures.experts_expected(64),
        "meets 8 experts of [256]": pictures.MIXTURE.moe.n_experts,
        "nearly all: [57] with 8 tokens": pictures.experts_expected(8),
        "tokens, [222] with 64": pictures.experts_expected(64),
        "moves once, [378] MB": REFERENCE.n_input_tokens * pictures.TOKEN_BYTES / MB,
        "MB for [1,155] tokens:": REFERENCE.n_input_tokens,
        "as [0.3]% of what": 100 * REFERENCE.n_input_tokens * pictures.TOKEN_BYTES / pictures.STEP_BYTES,
    },
    "notation.md": {
        "groups of 128 takes [4.25] bits": INT4.bits_per_weight,
        "has an intensity of [1]:": 2 / BF16.bytes_per_weight,
        "ridge point`: [295] tokens on an H100": critical_batch(H100, precision=BF16),
        "on an H100, [153] on an A100": critical_batch(A100, precision=BF16),
        "an A100 with [80] GB": A100.memory_bytes / GB,
        "has [64] query heads": LLAMA_70B.n_heads,
        "query heads and [8] KV heads": LLAMA_70B.n_kv_heads,
        "every sequence: [819,200] in": CACHE_BYTES / 8192,
        "[327,680] in Llama-3-70B": kv_stored_bytes_per_token(LLAMA_70B, precision=BF16),
        "[70,272] bytes": kv_stored_bytes_per_token(DEEPSEEK, precision=BF16),
        "token over [61] layers": DEEPSEEK.n_layers,
        "under vLLM, [64] users": REFERENCE.users,
        "users, [1,155] tokens in": REFERENCE.n_input_tokens,
        "and [211] out": REFERENCE.n_output_tokens,
        "holds [46.7] billion": MIXTRAL.n_params / 1e9,
        "uses [12.9] billion": MIXTRAL.n_active_params / 1e9,
        "70B needs [140] GB": N_BYTES / GB,
        "Llama-3-70B takes [41] GB": weight_bytes(LLAMA_70B, precision=INT4) / GB,
        '"[1,979] TFLOPS"': SPARSE_FLOPS_PER_S / TFLOP,
        '"[80] GB"': H100.memory_bytes / GB,
    },
}

GIVEN = (
    "70 billion parameters",
    "one million tokens",
    r"at \$2.50 an hour",
    "16-bit",
    "32-bit",
    "in 16 bits",
    "16 or 32 bits",
    # the rule of the verdicts
    "at least 90% of the panel",
    "50 to 90% of the panel",
    # quoted in the table of traps
    "2,500 tokens/s",
    "batch is 64",
    "64 sequences, or 64 tokens",
    "utilization 90%",
    r"\$0.40 per million tokens",
    # experiences of installing and running
    "2 minutes with pip",
    "2 GB; several GB more",
    "about two minutes and 2 GB",
    "0.7 GB",
    "about one minute",
    "under 60 s",
    "under 50 MB",
    "98 MB",
    # which kernels there are
    "weights of 4 bits by torch",
    # what a record measured, and what the one before it did
    "matrices of 117 MB, more than a level-2 cache (before: 23 MB)",
)

GIVEN_IN: dict[str, tuple[str, ...]] = {
    "01_decode_moves_the_model": ("20 minutes", "135 million weights", "instead of 32", "8,192 tokens", "350 W"),
    "03_the_batching_crossover": (
        "A batch of 64 loads",
        "grows 64 times",
        "about 240 on a TPU v5e",
        "20 minutes",
        "from 1 sequence to 64",
        "64 times?",
        "16,384 × 8,192 in bf16",
        "up to 295",
    ),
    "04_continuous_batching": (
        "published factor of 23",
        "25 minutes",
        "or 23 times?",
        "pull request 7000",
        "pull request 19970",
        "Nothing here is 23",
        "A100 with 40 GB",
        "vLLM of 2023",
        "30–40%",
        "70–80%",
    ),
    "05_paged_kv_cache": (
        "paid 20 to 26% for its tables",
        "vLLM's of 2024",
        "(its Fig. 13;",
        "2.7 to 8 times",
        "(chapter 13)",
    ),
    "09_interference": ("vLLM of 2024", "In May 2025", "pull request 17885"),
    "14_speculative_decoding": ("end at 4,096", "70B in 2024", "published as 1.77", "under a minute"),
    "twenty_numbers": ("5 minutes", "2,500 tokens a second are the article's"),
    "definitions": ("8 minutes", "are 0 s apart", "a 95% interval"),
    "two_clocks": ("as it was in 2023", "vLLM of 2023", "vLLM of 2024", "torch 2.11"),
    "12_routing": (
        "85% cheaper on",  # these are pinned where they are computed
        "43% on MMLU and 35% on",
        "at 95% of GPT-4's score",
        "also keeps 95%",
        "has 90% of GPT-4's",
        "25 minutes",
        "Gemini 2.0 Flash",
        "Opus 5.5",
        "Haiku 4.5",
        "GPT-5.5",
        "15 November 2026",
        "November 2025",
        "November 2026",
        "a study of 21 methods",
        "switches 79% less",
        "cuts its bill by 79%",
        "\\$39 a million queries",
    ),
    "15_the_bandwidth_ladder": (
        "deployments 1.07 to 1.93 times",  # these are pinned where they are computed
        "1.50 in the median",
        "more than 9%",
        "only 4 of 50",
        "to 1.8 times the tokens",
        "gets 1.37 times, and 1.14",
        "is 1.64 times as fast",
        "on an RTX 4090",
        "September 2026 (the L4's only of 2026)",
        "20 minutes",
        "2.0, 1.7 or 1.4, and 1.5, 1.2 or 1.0?",
        "with a 70B in 8 bits read 17%",
        "the factor of 1.25",
        "Expect 2.4,",
        "August and September 2026",
    ),
    "06_utilization": (
        "cost \\$0.40 at 70% utilization and \\$2.78 at 10%",  # these are pinned where they are computed
        "filled to 85% of its tokens",
        "to 25% by bursts",
        "nodes gave 68% of what",
        "25 minutes",
        "(1) 10%, (2) 40%, (3) 80%",
    ),
    "10_deepseek_reanalysed": (
        "2.2 times as fast",  # these are pinned where they are computed
        "226.75 nodes on average for \\$87,072",
        "earned \\$562,100",
        "545% of the cost and 84.5% of the income",
        "95.5 nodes of prefill and 131.4 of decode, not 4 to 18",
        "decode node is 2.18",
        "saved 56% of prefill and 35% of the fleet",
        "the fleet was 68% full",
        "25 minutes",
        "27 February 2025",
        "1 March 2025",
        "a factor 1.25",
    ),
    "19_falling_prices": (
        "about 24 times cheaper a year, 16 to 37; the same weights at their cheapest host 2.3 times",  # pinned below
        "says: 24 times a year",
        "price fell 2.3 times a year at most",
        "of 66 that were listed in December 2025",
        "between 500 and 900? Between 100 and 5,000?",
        "years of 365 days",
        "March 2025",
        "November 2026",
        "October 2025",
        "December 2025",
        "Llama 3.3 70B",
        "asked \\$0.20 for it in June 2025",  # nscale in LiteLLM 1.72.6
        "November 2021",
        "April 2024",
        "June 2025",
        "from about \\$7",  # conditions of AWS in gpu_rents.csv
    ),
    "07_self_host_or_api": (
        "that is 7% of a GPU's time",  # these are pinned where they are computed
        "at \\$3.99, which RunPod asks",
        "that is 7% to never over 23 offers for open weights, 63% in the median, and 9% for",
        "at \\$2.65 the median is 66%, and at \\$3.99 a full",
        "Half of 2,500 tokens a second is 108 million tokens a day, not",
        "20 minutes",
        "two texts of 2024",
        "from October 2025 to June 2026",
        "on the lists of 2025",
        "Our GPUs run at 80%",
    ),
    "13_prefix_caching": (
        "find 56% of what agents said before, 5.4% of what chats did",  # these are pinned where they are computed
        "and 9% of the documents",
        "3,007 recorded sessions cost 16%",
        "though 37% of that",
        "25 minutes",
        "in 2025",
        "128 bits",
        "at most 992 are found",
        "992 of 1,000 tokens",
        "(1) 125 times",
        "7% off the wait at 1,024 tokens and 67% at 150,000",
        "80% within ten minutes",
        "33 turns, from 12,000 tokens up by 2,242 each, 5.2 s apart",
        "15,000 tokens in all with 500",
        "Gemini 2.5 Pro",
        "chapter 14",
        "78 of 100",
    ),
    "11_quantization": (
        "64 chats 1.31 times",  # these are pinned where they are computed
        "A 70B in 4 bits is not 35 GB but 40.6",
        "four A100s of 40 GB",
        "two of 80 GB",
        "70B gain 1.31 times and one user 1.49",
        "25 minutes",
        "groups of 128",
        "16 bits for the step and 16 for the offset",
        "at 16 bits",
        "35, 38 or 41 GB",
        "one A100 with 40 GB",
        "in 32, 16, 8 and 4 bits",
        "20, 55 or 200",
        "weight of 2 bytes against one of 0.53",
        "a prompt of 16,000 tokens",
        "at 128k, 91% found becoming 13%",
        "from 7,010 tokens",
        "14.9% more output",
        "its 576 inputs",
        "Expect 1.3 times",
        "1.5 alone",
        "25% would be",
        "Of 40 GB it is",
        "Of 80 GB it is",
        "of 80 GB to one",
        "A prompt of 16,000 tokens",
        "multiplied in 16 the",
        "Write 140 GB",
        "write 35 GB",
    ),
    "18_the_three_way_frontier": (
        "is 3.1 times the best",  # these are pinned where they are computed
        "of 96 settings",
        "40 are beaten",
        "is 3.06 times",
        "(2.23 for",
        "64 have gaps 1.69 times",
        "the 95% interval of",
        "serve 5.28 requests",
        "twice that for 100 s",
        "at \\$3.37 a million",
        "give 1.4 times",
        "and 7% of",
        "25 minutes",
    ),
    "20_price_your_own": (
        "costs \\$2.58 to \\$22.97 a million",  # these are pinned where they are computed
        "and \\$92 for a small service",
        "take 48 H100s and \\$122,290 a month",
        "bring that to \\$46,428",
        "the price 17 to 48 times",
        "latency 8.9 times, the rent of one device 4.6, the shape of the day 5, the tokens that are counted 6.5",
        "of November, \\$3.99, all is 14% dearer",
        "1.83 on TensorRT-LLM, 0.85 for the H200",
        "serves 5.28 requests",
        "It saves \\$40,763 a month, 33%",
        "would be 2.5 times as high",
        "25 minutes",  # and these are given
        "99% of the answers",
        "hold at 0.7",
        "by November 2026",
        "the rent by 1.3",
    ),
    "what_fits": (
        "12 minutes",
        "At 131,072 tokens",
        "between 0.9 and 68 GB",
        "peak of 9 GiB",
        "15 GiB",
    ),  # pinned below
}
