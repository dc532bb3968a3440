"""How is a chapter run without touching what is committed? Find, execute, tidy, replace (`run`); watch (`watch`)."""

from bytebill.chapters.run import Book, Ending, in_order, named, number, parameters_for, refresh, run, stage, this_book
from bytebill.chapters.tidy import expected_s, notes_log, stored
