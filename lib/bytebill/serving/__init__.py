"""What is served, in which order, in which memory? Requests, schedulers, pools, the loop, and the numbers of a run."""

from bytebill.serving.continuous import ChunkedScheduler, ContinuousScheduler
from bytebill.serving.loop import Executor, Server
from bytebill.serving.memory.allocator import Allocator
from bytebill.serving.memory.contiguous import ContiguousMax, ContiguousOracle, ContiguousPow2
from bytebill.serving.memory.paged import Paged
from bytebill.serving.memory.prefix import PrefixSharing
from bytebill.serving.memory.waste import mean_usage
from bytebill.serving.metrics import Metrics, mean, quantile
from bytebill.serving.plan import Plan, PrefillChunk
from bytebill.serving.policy import CONTINUOUS, Policy
from bytebill.serving.request import Request
from bytebill.serving.router import ROUTERS, RequestRouter
from bytebill.serving.schedule import Schedule
from bytebill.serving.scheduler import Scheduler
from bytebill.serving.slo import MaxRate, Slo, max_rate_at_slo
from bytebill.serving.static import StaticScheduler
from bytebill.serving.workload import (
    Bursty,
    Evenly,
    Fixed,
    LogNormal,
    Poisson,
    QuantileTable,
    SharedPrefix,
    TraceFile,
    TruncatedExponential,
    Uniform,
    Warped,
    Workload,
    anyscale,
    published,
    rng,
    sharegpt_like,
    synthetic,
)
from bytebill.serving.workload.source import Source
