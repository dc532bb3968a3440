"""How does every claim stand? The rule that judges (`rule`), what a reader sees (`view`), all of them (`ledger`)."""

from bytebill.claims.rule import CLAIMS, HOW, MIME, Check, Claim, Verdict, check, claim, judge, pin, pin_that, pins
from bytebill.claims.view import SIGNS
from bytebill.units import show
