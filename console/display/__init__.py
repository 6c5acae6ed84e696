"""What console and command line show: one model of the site, and its text.

Purpose     `viewmodel.Model` holds everything that is shown. The other modules turn it into text: `status_text` and
            `islanding_text` sentences, `formats` numbers and times, `audit_rows` lines of the audit, `wrapping` text in
            rows and columns, `ink` how a piece of text looks.
Inputs      messages of the link (`gateway.api.protocol`) and types of `dispatch.model`.
Outputs     frozen values and strings. `console.tui` draws them, `console.cli` prints them.
Units       as in the snapshot: W, Wh, %, s; UTC as POSIX seconds. Text is in kW, kWh, %, local time of the site.
Must not    read a clock, do I/O, or import Textual, rich, click or another sub-package of `console`.
"""
