"""What will a deployment cost? A case, its statement, and the levers that would lower the bill."""

from bytebill.statement.case import HELD_SHARE, Case, Statement, statement
from bytebill.statement.levers import ranked, standard_levers
