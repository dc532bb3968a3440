"""How long would it take on hardware that the reader does not own? Clocks, and servers that run on them."""

from bytebill.sim.clock import Clock, Segment
from bytebill.sim.closed_loop import ClosedLoop
from bytebill.sim.cluster import Cluster, ClusterServed, Pool
from bytebill.sim.constants import IDEAL, Constants
from bytebill.sim.pressure import flood, largest_batch
from bytebill.sim.server import Simulated, serve_on, simulate
from bytebill.sim.steady import SteadyState
from bytebill.sim.transfer import Transfer
