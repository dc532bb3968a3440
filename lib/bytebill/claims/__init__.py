"""How does every claim stand? What it says (`register`), the rule that judges it (`rule`), what a reader sees (`view`),
all of them (`ledger`); and what holds the words beside them to the numbers (`prose`)."""

from bytebill.claims.opening import opening
from bytebill.claims.prose import pin, pin_that, pins
from bytebill.claims.register import CLAIMS, HOW, Claim
from bytebill.claims.rule import MIME, Verdict, beside, found, judge, reach
from bytebill.claims.view import SIGNS
from bytebill.units import show
