"""What did a machine measure, and may it be believed? One schema, one reader of all shapes, checks, and machines side
by side.
"""

from bytebill.records.compare import as_tables, side_by_side
from bytebill.records.machines import Machine, find_machine, machines_on_record
from bytebill.records.origin import provenance
from bytebill.records.plausible import checked, doubts
from bytebill.records.reading import Record, StepOnRecord, read_record
from bytebill.records.schema import SCHEMA_NAME, write_record
