"""Who comes, when, and with how much text? Requests by length and arrival, drawn, published or read from a file."""

from bytebill.serving.workload.arrivals import Bursty, Evenly, Poisson, Warped, rng
from bytebill.serving.workload.files import TraceFile
from bytebill.serving.workload.lengths import Fixed, LogNormal, QuantileTable, TruncatedExponential, Uniform
from bytebill.serving.workload.published import lengths_of, like_trace, published, sharegpt_like, synthetic
from bytebill.serving.workload.requests import SharedPrefix, Workload, anyscale
