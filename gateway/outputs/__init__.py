"""Tells others what the gateway knows: Prometheus, an MQTT broker, people by webhook and mail. All off by default.

Inputs: what the last tick has published. Outputs: a page of metrics, MQTT messages, notifications; W, Wh, %, s in the
names of figures, other units where a receiver expects them. Nothing here commands anything, no tick waits for any of
it, and whatever is outside may be gone, hang or misbehave. It must not import the control loop, nor a service.
"""
