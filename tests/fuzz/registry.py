"""Every way by which bytes or text from outside enter: with a fuzz target, or with the reason why it has none.

`test_registry.py` finds what is in neither by the primitives that read and parse. A new parser gets an entry in the
module of its kind, `*_parsers.py`: valid examples, a function that takes one input, and the errors that it declares.
"""

from __future__ import annotations

import block_parsers
import cli_parsers
import device_parsers
import feed_parsers
import file_parsers
import fleet_parsers
import http_parsers
import kubernetes_parsers
import link_parsers
import list_parsers
import local_parsers
import map_parsers
import merge_parsers
import output_parsers
import record_parsers
import redfish_parsers
import salvage_parsers
import scheduler_parsers
import signal_parsers
import weather_parsers
from fuzzing import Parser

PARSERS: tuple[Parser, ...] = (
    *link_parsers.PARSERS,
    *file_parsers.PARSERS,
    *fleet_parsers.PARSERS,
    *device_parsers.PARSERS,
    *http_parsers.PARSERS,
    *feed_parsers.PARSERS,
    *redfish_parsers.PARSERS,
    *kubernetes_parsers.PARSERS,
    *map_parsers.PARSERS,
    *output_parsers.PARSERS,
    *record_parsers.PARSERS,
    *merge_parsers.PARSERS,
    *salvage_parsers.PARSERS,
    *scheduler_parsers.PARSERS,
    *signal_parsers.PARSERS,
    *list_parsers.PARSERS,
    *block_parsers.PARSERS,
    *local_parsers.PARSERS,
    *cli_parsers.PARSERS,
    *weather_parsers.PARSERS,
)

_OUR_GATEWAY = (
    "answers of the gateway that this console has started or agreed on a link version with, as Live reads them"
)

EXCEPTIONS = {
    "console.cli.alarms:_episodes": _OUR_GATEWAY,
    "console.cli.alarms:_lines": _OUR_GATEWAY,
    "console.cli.alarms:_show_history": _OUR_GATEWAY,
    "console.cli.alarms:alarms": _OUR_GATEWAY,
    "dispatch.alarms.definitions:_definition": "the catalogue of alarms, which is packaged with it",
    "dispatch.alarms.definitions:_file": "the catalogue of alarms, which is packaged with it",
    "dispatch.alarms.definitions:read": "the catalogue of alarms, which is packaged with it",
    "console.cli.recorded_site:named_site": "hands a path on to gateway.site.loader:load",
    "console.cli.json_output:json_text": "decodes what it has encoded itself",
    "console.cli.link:_from_gateway": "hands bytes on unread",
    "console.cli.link:_to_gateway": "hands bytes on unread",
    "console.launcher:_appearance": "hands the environment on, of which a few variables are compared",
    "console.tui.driver:ConsoleDriver.__init__": "compares TERM with how some names begin",
    "console.tui.terminal_app:TerminalApp.action_next_theme": "hands the environment on, of which a path is made",
    "console.tui.terminal_app:TerminalApp.copy_line": "hands the environment on, to see which terminal this is",
    "console.tui.terminal_kind:copying": "decodes what it has encoded itself",
    "console.launcher:_write_demo_site": "reads the demo's own site file, which is packaged with it",
    "console.language_option:_can_show": "looks only which terminal TERM names",
    "console.language_option:choose_language": "compares a locale's name with those of the translations",
    "console.display.language_files:_table": "the translations, which are packaged with it",
    "console.display.language_files:codes": "the translations, which are packaged with it",
    "console.display.language_files:general": "the translations, which are packaged with it",
    "console.display.language_files:read": "the translations, which are packaged with it",
    "console.cli.main:run": "looks only whether SKERRY_DEBUG is set",
    "console.cli.replay_inputs:prices_of": "opens a file to see whether it may; drivers.tariffs.csv_file:read reads it",
    "console.cli.device_registers:_last": _OUR_GATEWAY,
    "console.cli.device_registers:_read_once": _OUR_GATEWAY,
    "console.cli.device_write:write_device": _OUR_GATEWAY,
    "console.cli.orders:_words_of": _OUR_GATEWAY,
    "console.cli.prove:_checked": _OUR_GATEWAY,
    "console.cli.jobs:_show_live": _OUR_GATEWAY,
    "console.cli.queue:_asked": _OUR_GATEWAY,
    "console.cli.prove:_list": _OUR_GATEWAY,
    "console.cli.prove:_peak": _OUR_GATEWAY,
    "console.cli.prove:_watched": _OUR_GATEWAY,
    "console.cli.reservations:_why": _OUR_GATEWAY,
    "console.cli.data_source:Live.month_end": _OUR_GATEWAY,
    "console.cli.flex:lines": _OUR_GATEWAY,
    "console.cli.grid_events:_audit_row": "decodes what it has encoded itself",
    "console.cli.grid_events:_offer": _OUR_GATEWAY,
    "console.cli.grid_events:_remarks": _OUR_GATEWAY,
    "console.cli.grid_events:abort": _OUR_GATEWAY,
    "console.cli.grid_events:start": _OUR_GATEWAY,
    "console.cli.grid_events:status": _OUR_GATEWAY,
    "console.cli.signals:list_": _OUR_GATEWAY,
    "console.cli.signals:_say_taken": _OUR_GATEWAY,
    "console.cli.signals:send": "hands a bounded text on to the gateway, which reads it",
    "gateway.signal_directory:beginning_of": "hands bounded bytes on to drivers.signals.cloud_event:read_signal",
    "console.tui.answers:asked": _OUR_GATEWAY,
    "gateway.api.queries:Queries._events": "a short list of texts, bounded by its type; who reads the record is tried",
    "drivers.schedulers.command:said": "a bounded text; who reads it is tried with any",
    "drivers.schedulers.command:Command._begin": "hands this process's environment on",
    "drivers.schedulers.command:_Output.errors": "text of a bounded length, shown in one line and not parsed",
    "drivers.modbus.channels:_Serial._readable": "passes bytes to drivers.modbus.frames",
    "drivers.modbus.frames:crc": "any bytes have a checksum; the frames it is of are tried in each framing",
    "drivers.modbus.tls:_readable": "looks at a file's mode; OpenSSL reads it",
    "drivers.nodes.nvml_calls:uuid_of": "text of the NVIDIA driver's, compared and shown",
    "drivers.sunspec.model:encode": "takes apart what it has packed itself",
    "drivers.sunspec.model:model": "files of the package pysunspec2",
    "drivers.tariffs.price_sheets:load": "reads the price sheets that are packaged with it",
    "drivers.twin.exporters:TwinExporters._serve": "hands a head of bounded length on to its own _answer",
    "drivers.twin.map_registers:Number._pattern": "takes apart what it has packed itself",
    "drivers.twin.map_registers:Number.put": "takes apart what it has packed itself",
    "drivers.twin.map_registers:Number.value": "words of the twin's own image, as many as the number has",
    "drivers.twin.map_registers:Text.words": "takes apart what it has packed itself",
    "drivers.twin.process:_control": "hands a line of bounded length on to drivers.twin.commands:answer",
    "storage.backup:before_migration": "copies pages and reads none of them",
    "console.demo_fleet:written": "the demo's site file and trace, as they come with the package",
    "fleet.limit:_base64url": "decodes what it has encoded itself",
    "fleet.limit:public_key": "decodes what it has encoded itself",
    "fleet.limit:signing_key": "32 bytes of a key, or refused",
    "fleet.sites:default_path": "a path to look at; fleet.sites:parse reads what is there",
    "fleet.sites:read": "hands bounded bytes on to fleet.sites:parse",
    "fleet.transport:SshProcess.last_line": "text of a bounded length, shown in one line and not parsed",
    "fleet.store:HubFile.__init__": "opens a database that it has made itself, or refuses it",
    "fleet.store:open_hub": "opens a hub's own file to read what this project has written",
    "fleet.uplink:Uplink._ask": "answers of its own site's gateway; fleet.hub_intake:arrived checks what comes of them",
    "fleet.transport:_by_ssh": "hands this process's environment on",
    "gateway.api.command_log:recordable": "decodes what it has encoded itself",
    "gateway.api.island_commands:IslandCommands.start_scheduled": "an answer of the same object",
    "gateway.api.peer:credentials": "a struct of the kernel's",
    "gateway.api.previous_version:_former": "messages of this process",
    "gateway.api.previous_version:_former_answer": "messages of this process",
    "gateway.api.reservation_commands:ReservationCommands._grant": "makes a reservation of what it has granted itself",
    "gateway.bootstrap:_boot_id": "text of the kernel's, compared and not parsed",
    "gateway.node_frames:config_in": "what the gateway has read of its own site file",
    "gateway.node_frames:order_in": "what the gateway itself asks of the process that reads nodes",
    "gateway.log_output:LogOutput.__init__": "looks only whether the journal reads standard error",
    "gateway.commissioning.device_access:published_snapshot": _OUR_GATEWAY,
    "gateway.commissioning.device_access:published_nodes": _OUR_GATEWAY,
    "drivers.node_lists.dns:_by_tcp": "cuts a message out by its length; drivers.node_lists.dns_message takes it apart",
    "gateway.commissioning.doctor:_alarms": _OUR_GATEWAY,
    "gateway.commissioning.doctor:_by_gateway": _OUR_GATEWAY,
    "gateway.instance_lock:dead": "text of the kernel's, of which one letter is compared",
    "gateway.service:_Service._on_stdin": "looks only whether stdin has ended",
    "gateway.service:_Service._twin": "hands a file's content on to gateway.twin_process:read_announcement",
    "gateway.standalone_twin:_serve": "looks only whether stdin has ended",
    "gateway.twin_process:TwinChild.announced": "hands a line on to gateway.twin_process:read_announcement",
    "drivers.kernel_clock:rtc_utc_s": "a number of the kernel's; a text that is none counts as no clock",
    "storage.site_restore:_without_wal": "opens a database that it has made itself",
    "storage.copying:Copier._named_here": "numbers of a dictionary of the main record's, of the length asked for",
    "storage.signing_key:_credential": "hands the path of a credential on to storage.signing_key:_read",
    "storage.trees:_shapes": "the schema of an empty file that this version makes",
    "storage.retention:_delete_signals": "numbers of the record's signals; where they cannot be read, all names stay",
}
