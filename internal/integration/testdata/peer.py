"""XMPP client by slixmpp, driven by lines of JSON on standard input.

usage: peer.py JID PASSWORD HOST PORT CA_FILE

{"op": "read", "to": JID, "nodes": [..], "fields": [..], "flags": {..}}
{"op": "set", "to": JID, "nodes": [..], "fields": [[name, type, value], ..]}
{"op": "command", ...}       the same by message, which nobody answers
{"op": "disco", "to": JID}
{"op": "message", "namespace": NS}   the next message with such a payload
{"op": "present", "on": BOOL}        says that the client is available, or not
{"op": "receipts", "ack": BOOL}   gives receipts from now on (XEP-0184), or keeps them until the next call
{"op": "events"}             the numbered messages that came since the last call
{"op": "raw", "xml": "<iq ../>"}   sent as it is; the next stanza is returned

Each gets one line of JSON as its answer.
"""
import asyncio
import json
import logging
import sys

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream import ET
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath, StanzaPath

logging.disable(logging.CRITICAL)


def say(**what):
    print(json.dumps(what), flush=True)


class Sessions(dict):
    """Read-outs of the plugin. It takes every message with sensor data for an
    answer to one, and fails at those of a subscription."""

    def __missing__(self, seqnr):
        return {"from": "", "to": "", "seqnr": seqnr, "callback": lambda *args, **named: None}

    def __delitem__(self, seqnr):
        self.pop(seqnr, None)


class Peer(slixmpp.ClientXMPP):
    def __init__(self, jid, password, ca_file):
        super().__init__(jid, password)
        self.ca_certs = ca_file
        self.waiting = {}
        self.messages = asyncio.Queue()
        self.register_handler(Callback("messages", StanzaPath("message"), self.messages.put_nowait))
        for plugin in ("xep_0030", "xep_0050", "xep_0199", "xep_0323", "xep_0325"):
            self.register_plugin(plugin)
        self["xep_0323"].sessions = Sessions(self["xep_0323"].sessions)
        self.numbered_list, self.kept = [], []
        self.register_handler(Callback("events", MatchXPath("{jabber:client}message/{urn:postern:seq:1}seq"), self.numbered))
        self.register_handler(Callback("errors of iqs", StanzaPath("iq@type=error"), self.iq_error))
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("failed_auth", lambda _: self.fail("authentication failed"))
        self.add_event_handler("connection_failed", lambda e: self.fail("connection failed: %s" % e))
        self.add_event_handler("presence_available", self.seen)

    def fail(self, text):
        say(fatal=text)
        sys.exit(1)

    def seen(self, presence):
        if presence["from"].bare != self.boundjid.bare:
            say(online=str(presence["from"]))

    async def start(self, _):
        self.task = asyncio.current_task()  # nobody else holds it, and what is not held may be collected
        self.send_presence()
        await self.get_roster()
        say(ready=str(self.boundjid))
        reader = asyncio.StreamReader()
        await self.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            order = json.loads(line)
            try:
                answer = await asyncio.wait_for(getattr(self, "do_" + order.pop("op"))(**order), 10)
            except asyncio.TimeoutError:
                answer = {"timeout": True}
            except IqError as err:
                answer = {"error": err.condition, "text": err.text}
            except IqTimeout:
                answer = {"timeout": True}
            except Exception as err:  # a fault of the order or of slixmpp: say it
                answer = {"fault": repr(err)}
            say(**answer)
        self.disconnect()

    def iq_error(self, iq):
        future = self.waiting.pop(str(iq["id"]), None)
        if future and not future.done():
            future.set_result({"error": iq["error"]["condition"], "text": iq["error"]["text"]})

    async def do_read(self, to, nodes=None, fields=None, flags=None):
        future = self.loop.create_future()
        answer = {"accepted": False, "fields": [], "failures": [], "done": False}

        def callback(from_jid, result, nodeId=None, timestamp=None, fields=None, error_msg=None):
            if result in ("accepted", "queued"):
                answer["accepted"] = True
            elif result == "fields":
                for f in fields:
                    answer["fields"].append(dict(f, node=nodeId, timestamp=timestamp))
            elif result == "failure":
                answer["failures"].append({"node": nodeId, "text": error_msg})
                future.done() or future.set_result(answer)
            elif result == "rejected":
                answer["rejected"] = error_msg
                future.done() or future.set_result(answer)
            elif result == "done":
                answer["done"] = True
                future.done() or future.set_result(answer)

        self["xep_0323"].request_data(str(self.boundjid), to, callback, nodeIds=nodes, fields=fields,
                                      flags=flags or {"momentary": "true"})
        return await future

    async def do_set(self, to, fields, nodes=None):
        future = self.loop.create_future()

        def callback(from_jid, result, nodeIds=None, fields=None, error_msg=None):
            future.done() or future.set_result({"result": result, "text": error_msg, "nodes": nodeIds, "fields": fields})

        plugin = self["xep_0325"]
        # The plugin's ids are small numbers; the error handler finds the order by it.
        plugin.set_request(str(self.boundjid), to, callback, [tuple(f) for f in fields], nodeIds=nodes)
        self.waiting[str(plugin.last_seqnr)] = future
        return await future

    async def do_command(self, to, fields, nodes=None):
        self["xep_0325"].set_command(str(self.boundjid), to, [tuple(f) for f in fields], nodeIds=nodes)
        return {"sent": True}

    async def do_disco(self, to):
        info = await self["xep_0030"].get_info(jid=to, cached=False)
        return {"features": sorted(info["disco_info"]["features"]), "identities": [list(i)[:2] for i in info["disco_info"]["identities"]]}

    async def do_commands(self, to):
        items = await self["xep_0050"].get_commands(to)
        return {"commands": [list(i)[1:] for i in items["disco_items"]["items"]]}

    async def do_adhoc(self, to, node, values=None):
        """Runs a command of at most one form through slixmpp's own plugin."""
        iq = await self["xep_0050"].send_command(to, node)
        command = iq["command"]
        answer = {"status": command["status"], "actions": sorted(command["actions"])}
        if command["status"] == "executing":
            form = command["form"]
            answer["fields"] = {f["var"]: {"type": f["type"], "required": f["required"],
                                           "options": [o["value"] for o in f["options"]]} for f in form}
            reply = self["xep_0004"].make_form(ftype="submit")
            for var, value in (values or {}).items():
                reply.add_field(var=var, value=value, ftype=form.get_fields()[var]["type"])
            iq = await self["xep_0050"].send_command(to, node, action="complete", sessionid=command["sessionid"], payload=reply)
            command = iq["command"]
            answer["status"] = command["status"]
        answer["notes"] = [list(n) for n in command["notes"]]
        if command["form"]["type"] == "result":
            answer["items"] = [dict(i) for i in command["form"]["items"]]
        return answer
    def numbered(self, msg):
        if "xep_0184" in self.plugin and not self["xep_0184"].auto_ack:
            self.kept.append(msg)
        seq = msg.xml.find("{urn:postern:seq:1}seq")
        gap = msg.xml.find("{urn:postern:seq:1}gap")
        data = "{urn:xmpp:iot:sensordata}"
        fields = []
        for node in msg.xml.iterfind(data + "fields/" + data + "node"):
            for stamp in node.iterfind(data + "timestamp"):
                for f in stamp:
                    fields.append({"node": node.get("nodeId"), "time": stamp.get("value"), "name": f.get("name"),
                                   "value": f.get("value"), "past": f.get("historicalOther") == "true"})
        command = msg.xml.find("{urn:postern:command:1}command")
        self.numbered_list.append({"n": int(seq.get("n")), "boot": seq.get("boot"), "gap": gap.get("why") if gap is not None else "",
                            "lost": dict(gap.attrib) if gap is not None else {},
                            "receipt": msg.xml.find("{urn:xmpp:receipts}request") is not None, "fields": fields,
                            "command": command.get("outcome") if command is not None else ""})

    async def do_present(self, on):
        self.send_presence() if on else self.send_presence(ptype="unavailable")
        return {"present": on}

    async def do_receipts(self, ack=True):
        self.register_plugin("xep_0184")
        plugin = self["xep_0184"]
        plugin.auto_ack = ack
        while ack and self.kept:
            plugin.ack(self.kept.pop(0))
        return {"receipts": True}

    async def do_events(self):
        got, self.numbered_list = self.numbered_list, []
        return {"events": got}

    async def do_raw(self, xml):
        future = self.loop.create_future()

        def got(stanza):
            future.done() or future.set_result({"xml": ET.tostring(stanza.xml, encoding="unicode")})

        ident = ET.fromstring(xml).get("id", "")
        name = "raw " + ident
        self.register_handler(Callback(name, StanzaPath("iq@id=" + ident), got, once=True))
        self.send_raw(xml)
        return await future

    async def do_message(self, namespace):
        """Takes the next message with a payload of the namespace, also one that came before."""
        while True:
            stanza = await self.messages.get()
            if any(e.tag.startswith("{%s}" % namespace) for e in stanza.xml):
                return {"xml": ET.tostring(stanza.xml, encoding="unicode")}


def main():
    jid, password, host, port, ca_file = sys.argv[1:]
    peer = Peer(jid, password, ca_file)
    peer.connect((host, int(port)), force_starttls=True)
    peer.process()


main()
