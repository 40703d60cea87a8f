"""Files to arrays and back: tables read, typed, coded and summarised; nothing is learned here."""

from pointwise.data.coding import TableCoding, code_table
from pointwise.data.files import TableFile, read_table, write_table
from pointwise.data.summary import summarize, suspicious_columns
from pointwise.data.table import Column, Table, as_table

__all__ = [
    "Column",
    "Table",
    "TableCoding",
    "TableFile",
    "as_table",
    "code_table",
    "read_table",
    "summarize",
    "suspicious_columns",
    "write_table",
]
