"""Does the search find what readers ask for? Tried on the built search page in a real browser.

Each query names where one of its first two hits must lie (a claim has two places, its row of the ledger and its verdict
in the chapter), or the first or one of more; a query with several spellings must have one first hit for all of them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

# What is typed: how the address of one of the first two hits begins.
QUERIES: Mapping[str, str] = {
    "C13": "notebooks/ledger.html#C13",
    "claim c1": "notebooks/ledger.html#C01",
    "paged attention": "notebooks/05_paged_kv_cache.html",
    "PagedAttention": "notebooks/05_paged_kv_cache.html",
    "critical batch": "book/notation.html#term-critical-batch",
    "TTFT": "book/notation.html#term-TTFT",
    "utilization": "notebooks/06_utilization.html",
    "speculative decoding": "book/notation.html#term-speculative-decoding",
    "prefix caching": "notebooks/13_prefix_caching.html",
    "quantization": "notebooks/11_quantization.html",
    "23x": "notebooks/ledger.html#C13",
    "claim 13": "notebooks/ledger.html#C13",
    "C13 C14": "notebooks/ledger.html#C14",
    "teach": "book/teaching.html",
    "MoE": "notebooks/16_mixture_of_experts.html",
    "H100 80GB": "notebooks/ledger.html#C04",
    "price mine": "book/price_calculator.html",
    "api_prices": "book/data_tables.html#table-api-prices",
    "deepseek cost-profit margin": "notebooks/10_deepseek_reanalysed.html",
}
AMONG: Mapping[str, int] = {
    "MoE": 1,
    "paged attention": 1,
    "PagedAttention": 1,
    "price mine": 3,
}  # how many hits are looked at where it is not two
SAME_WORDS = (
    *(("utilization", "utilisation"), ("quantization", "quantisation"), ("gray", "grey"), ("c13", "C-13")),
    *(("23x", "23×", "23 times"), ("80GB", "80 GB"), ("C13 C14", "claims 13 and 14")),
)
# Printed by a cell and by no prose: it is found at all, and the page has it.
PRINTED = ("33.8", "1,155", "139")
FIRST = ".bb-found > li > a"


def search_faults(page: Any) -> Iterator[str]:
    """What is wrong with the search on a loaded search page; nothing elsewhere."""
    if not page.url.split("?")[0].endswith("/search.html"):
        return
    for query, wanted in QUERIES.items():
        hits = hit_addresses(page, query)[: AMONG.get(query, 2)]
        if not any(hit.startswith(wanted) for hit in hits):
            yield f"search: '{query}' finds {hits or 'nothing'} first, not {wanted}"
    for spellings in SAME_WORDS:
        if len({tuple(hit_addresses(page, query)[:1]) for query in spellings}) != 1:
            yield f"search: {' and '.join(spellings)} find different things first"
    yield from (f"search: '{query}' finds nothing" for query in PRINTED if not hit_addresses(page, query))


def hit_addresses(page: Any, query: str) -> list[str]:
    """Addresses that the search page shows for a query, the best first."""
    page.evaluate("query => Search.performSearch(query)", query)
    return list(page.eval_on_selector_all(FIRST, "links => links.map(link => link.getAttribute('href'))"))
