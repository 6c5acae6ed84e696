"""The `skerry` command: one module per group of commands.

Inputs: the command line; answers of the gateway over its socket, or the record on disk.
Outputs: text, or JSON with `--json`; an exit code of `gateway.exit_codes`.
Units and signs: as people write them: kW, %, durations and times with units and zone.
Must not import: Textual; numpy, highspy, pymodbus and sqlite_utils at the top of a module, because every command must
    start fast.

`main` lists the commands, each imported when it is called; `data_source` chooses gateway or record.
"""
