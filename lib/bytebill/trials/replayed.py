"""What is known of the requests of a published test? Its rows of `data/replayed_workloads.csv`."""

from bytebill import data
from bytebill.errors import require_known


def quantities(workload: str) -> dict[str, float]:
    """How many requests a run sends, and how long they are [tokens], as far as it is known.

    >>> quantities("llama3.1-8b")["requests"], quantities("arxiv-sarathi")
    (13368.0, {'request_longest': 16384.0})
    """
    tests = data.grouped("replayed_workloads", "workload")
    require_known("workload that is replayed", workload, tests)
    return {row["quantity"]: row["value"] for row in tests[workload]}
