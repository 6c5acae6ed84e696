"""Writes a record to one directory that needs nothing else: for a spreadsheet, Datasette, a notebook or an auditor.

Inputs: the files of a state directory, read in short transactions, so that a running gateway is not disturbed.
Outputs: `export.db` with one table for each kind of record, each table as CSV and, if wanted, as Parquet, `audit.db`
with the chain, and a signed manifest. `storage.verify` checks it with nothing else.
Units and signs: watts at the AC terminals, UTC; every column of a signal names its unit, the data dictionary the rest.
Must not import: pyarrow, but in `parquet`, when Parquet is asked for.
"""
