"""The console on a terminal: what `skerry SITE.toml` and `skerry demo` open. The only package that imports Textual.

Purpose     `app` composes the screen and reads keys. `gateway_feed` attaches to the gateway and turns its messages into
            the frozen `console.display.viewmodel.Model`, which `model_store` holds; widgets draw it and nothing else.
            `order_controller` fills `order_form`, asks what is allowed, and sends commands.
Inputs      a function that connects to a gateway (`gateway.api.client`); keys. `commands` lists every command once.
Outputs     cells of the terminal: a widget paints a `canvas`, `diff_widget` sends the cells that changed. Requests.
Units       as in the snapshot: W, Wh, %, s; UTC as POSIX seconds. Ages count on the console's own monotonic clock.
Must not    do I/O in a widget; wait for the gateway while drawing; import `console.cli`, `console.launcher`,
            `console.replay` or `console.sizing`. Its modules do not import `app`, which imports the views by name.

Screen      status_bars (the lines every view keeps) and one view:
            1 overview (energy_flows, trends, overview_panels) · 2 compute · 3 plan_view (plan_charts, plan_panels) ·
            4 island (island_values) · 5 alarm_list · 6 event_log · ? help_page
Over it     prompt (palette, filter) · order_form (form_fields: what is typed and sent; order_details: what is shown)
"""
