"""A thing by slixmpp: node "room" with a thermometer and a heating.

usage: thing.py JID PASSWORD HOST PORT CA_FILE

Prints "ready" once it is online.
"""
import logging
import sys

import slixmpp
from slixmpp.plugins.xep_0323.device import Device as Sensor
from slixmpp.plugins.xep_0325.device import Device as Actuator

logging.disable(logging.CRITICAL)

STATE = {"heating": "false"}


class Room(Sensor):
    def refresh(self, fields):
        self._add_field_momentary_data("temperature", "21.50", flags={"automaticReadout": "true"})
        self._add_field_momentary_data("heating", STATE["heating"], flags={"automaticReadout": "true"})


class Heating(Actuator):
    def _set_field_value(self, name, value):
        super()._set_field_value(name, value)
        STATE[name] = value


class Thing(slixmpp.ClientXMPP):
    def __init__(self, jid, password, ca_file):
        super().__init__(jid, password)
        self.ca_certs = ca_file
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0323", {"threaded": False})
        self.register_plugin("xep_0325", {"threaded": False})
        sensor = Room("room")
        sensor._add_field("temperature", "numeric", unit="C")
        sensor._add_field("heating", "boolean")
        sensor.refresh([])
        self["xep_0323"].register_node(nodeId="room", device=sensor, commTimeout=5)
        actuator = Heating("room")
        actuator._add_control_field("heating", "boolean", "false")
        self["xep_0325"].register_node(nodeId="room", device=actuator, commTimeout=5)
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("failed_auth", lambda _: sys.exit("authentication failed"))

    async def start(self, _):
        await self.get_roster()
        self.send_presence()
        print("ready", flush=True)


def main():
    jid, password, host, port, ca_file = sys.argv[1:]
    thing = Thing(jid, password, ca_file)
    thing.connect((host, int(port)), force_starttls=True)
    thing.process()


main()
