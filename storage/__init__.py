"""What remembers: telemetry, events, decisions. ("storage" is data; the battery is "battery".)"""
