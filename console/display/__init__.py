"""What the console and the command line both show: one model of the site, and its text.

`viewmodel.Model` holds everything that is shown. The other modules turn it into text: `status_text` and
`islanding_text` into sentences, `formats` numbers and times, `audit_rows` rows of the audit into lines; `wrapping` fits
text into rows and columns, `ink` says how a piece of text looks.

Inputs: messages of the link (`gateway.api.protocol`), types of `dispatch.model`.
Outputs: frozen values and strings. `console.tui` draws them, `console.cli` prints them.
Units and signs: as in the snapshot: W, Wh, %, s; UTC in POSIX seconds. Text in kW, kWh, %, and the site's local time.
Must not import: Textual, rich, click, or another package of `console`. It does no I/O and reads no clock.
"""
