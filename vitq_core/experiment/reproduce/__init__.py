"""The papers' tables, row by row: what runs each row, what the papers print, and what is measured here."""

from .filling import FULL, Entry, TableCell, cells_of, entries
from .measuring import Asked, Subject
from .subjects import IDS, column_of, load_subject
from .tables import TABLES, Row, Table

__all__ = [
    "FULL",
    "IDS",
    "TABLES",
    "Asked",
    "Entry",
    "Row",
    "Subject",
    "Table",
    "TableCell",
    "cells_of",
    "column_of",
    "entries",
    "load_subject",
]
