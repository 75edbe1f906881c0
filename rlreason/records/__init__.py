"""What a run leaves behind: its folder, its documents and its column tables. The only room a report reads.

Stages append, the report reads; nothing here knows what a stage is or what its figures mean.
"""

from rlreason.records.documents import Ledger, ManifestRecord, PlanRecord, read_ledger, read_manifest, read_plan
from rlreason.records.incidents import IncidentLog, IncidentRecord, read_incidents, summarised
from rlreason.records.run_folder import RunFolder, read_json, write_json, write_text
from rlreason.records.tables import drop_parts_from, read_table, scan_table, write_part

__all__ = [
    "IncidentLog",
    "IncidentRecord",
    "Ledger",
    "ManifestRecord",
    "PlanRecord",
    "RunFolder",
    "drop_parts_from",
    "read_incidents",
    "read_json",
    "read_ledger",
    "read_manifest",
    "read_plan",
    "read_table",
    "scan_table",
    "summarised",
    "write_json",
    "write_part",
    "write_text",
]
