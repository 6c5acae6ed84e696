"""The console on a terminal, opened by `skerry SITE.toml` and `skerry demo`. The only package that imports Textual.

`app` composes the screen and reads keys. `gateway_feed` attaches to the gateway and turns its messages into the frozen
`console.display.viewmodel.Model`, which `model_store` holds; widgets draw the model and nothing else.
`order_controller` fills `order_form`, asks what is allowed, and sends commands.

Inputs: a function that connects to a gateway (`gateway.api.client`), and keys; `commands` lists every command once.
Outputs: requests to the gateway; cells of the terminal: a widget paints a `canvas`, `diff_widget` sends what changed.
Units and signs: as in the snapshot: W, Wh, %, s; UTC as POSIX seconds. Ages count on the console's monotonic clock.
Must not import: `console.cli`, `console.launcher`, `console.replay`, `console.sizing`. No module imports `app`, which
    imports the views by name. No widget does I/O, and nothing that draws waits for the gateway.

On screen: `status_bars`, the lines that every view keeps, and one view: 1 `overview` (`energy_flows`, `trends`,
`overview_panels`), 2 `compute`, 3 `plan_view` (`plan_charts`, `plan_panels`), 4 `island` (`island_values`),
5 `alarm_list`, 6 `event_log`, ? `help_page`. Over it `prompt` (palette, filter) or `order_form` (`form_fields`: what is
typed and sent; `order_details`: what is shown).
"""
