"""What will a deployment cost? A case, its bill, one page of it, and the levers that would lower it."""

from bytebill.statement.bill import Statement, statement
from bytebill.statement.case import HELD_SHARE, Case, Rental
from bytebill.statement.levers import ranked, standard_levers
from bytebill.statement.offers import offers
from bytebill.statement.page import as_json, markdown, tornado
