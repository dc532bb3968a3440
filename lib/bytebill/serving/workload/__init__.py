"""Who comes, when, and with how much text? Requests by length and arrival, drawn, published or read from a file."""

from bytebill.serving.workload.requests import anyscale, rng, workload
