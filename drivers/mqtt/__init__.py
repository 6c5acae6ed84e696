"""Publishes to and subscribes at an MQTT broker, version 5 of the protocol, by a small client of its own.

Inputs: the address of a broker, topics, payloads as bytes. Outputs: messages as (topic, payload). Every packet, queue
and wait is bounded; nothing here blocks. aiomqtt is not used: it connects in a thread of the event loop's executor,
and paho-mqtt under it takes packets of up to 256 MB from whoever is the broker.
It must not import the site file, nor decide anything.
"""
