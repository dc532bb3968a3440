"""How is a chapter run without touching what is committed? Find, execute, tidy, replace (`run`); watch (`watch`)."""

from bytebill.chapters.run import (
    DEVICES,
    PROFILES,
    Book,
    Ending,
    expected_s,
    find,
    here,
    in_order,
    number,
    parameters_for,
    refresh,
    run,
    stage,
)
