"""Files to arrays and back: tables read, typed, coded and summarised; nothing is learned here."""

from pointwise.data.coding import TableCoding, code_table
from pointwise.data.files import TableFile, read_table, write_table
from pointwise.data.idx import read_idx, write_idx
from pointwise.data.image_groups import group_images
from pointwise.data.image_parts import ImageParts, find_parts
from pointwise.data.images import ImageSet, read_images
from pointwise.data.masks import MaskedImages, read_masked_images
from pointwise.data.summary import summarize, suspicious_columns
from pointwise.data.table import Column, Table, as_table

__all__ = [
    "Column",
    "ImageParts",
    "ImageSet",
    "MaskedImages",
    "Table",
    "TableCoding",
    "TableFile",
    "as_table",
    "code_table",
    "find_parts",
    "group_images",
    "read_idx",
    "read_images",
    "read_masked_images",
    "read_table",
    "summarize",
    "suspicious_columns",
    "write_idx",
    "write_table",
]
