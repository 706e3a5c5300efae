"""Two slixmpp clients on a hub: prints one line of JSON with what they saw.

Arguments: port, CA file. Accounts: anna and ben, passwords as names.
"""
import asyncio
import json
import logging
import os
import sys

import slixmpp

PORT, CA = int(sys.argv[1]), sys.argv[2]
DOMAIN = "site.example"
seen = {}


class Client(slixmpp.ClientXMPP):
    def __init__(self, name):
        super().__init__(f"{name}@{DOMAIN}/slix", name)
        self.ca_certs = CA
        self.auto_authorize = True
        self.auto_subscribe = True
        for plugin in ("xep_0030", "xep_0092", "xep_0198", "xep_0199", "xep_0202", "xep_0203"):
            self.register_plugin(plugin)
        self.started = asyncio.Event()
        self.messages = asyncio.Queue()
        self.presences = asyncio.Queue()
        self.resumed = asyncio.Event()
        self.enabled = asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("sm_enabled", lambda _: self.enabled.set())
        self.add_event_handler("session_resumed", lambda _: self.resumed.set())
        self.add_event_handler("message", self.messages.put_nowait)
        self.add_event_handler("presence_available", self.presences.put_nowait)
        self.add_event_handler("failed_auth", lambda _: note("failed_auth", str(self.boundjid)))

    def start(self):
        self.connect(address=("127.0.0.1", PORT))


def note(key, value):
    seen[key] = value


async def soon(awaitable, what):
    try:
        return await asyncio.wait_for(awaitable, 10)
    except asyncio.TimeoutError:
        raise SystemExit(f"time-out: {what}; so far {json.dumps(seen)}")


async def presence_of(client, bare):
    while True:
        p = await soon(client.presences.get(), f"presence of {bare}")
        if p["from"].bare == bare:
            return p


async def main():
    anna, ben = Client("anna"), Client("ben")
    for c in (anna, ben):
        c.start()
        await soon(c.started.wait(), "session of " + str(c.boundjid))
        roster = await soon(c.get_roster(), "roster")
        note("roster_" + c.boundjid.user, roster["type"])
        await soon(c.enabled.wait(), "stream management")
        c.send_presence()
    note("mechanism", type(anna["feature_mechanisms"].mech).__name__ + " " + anna["feature_mechanisms"].mech.name)
    note("tls", anna.transport.get_extra_info("ssl_object").version())
    note("jid", str(anna.boundjid))

    anna.send_presence(pto=f"ben@{DOMAIN}", ptype="subscribe")
    note("presence", str((await presence_of(anna, f"ben@{DOMAIN}"))["from"]))
    note("presence_back", str((await presence_of(ben, f"anna@{DOMAIN}"))["from"]))
    for _ in range(100):
        if anna.client_roster[f"ben@{DOMAIN}"]["subscription"] == "both":
            break
        await asyncio.sleep(0.05)
    note("subscription", anna.client_roster[f"ben@{DOMAIN}"]["subscription"])

    info = await soon(anna["xep_0030"].get_info(jid=DOMAIN), "disco#info")
    note("identity", sorted(i[0] + "/" + i[1] for i in info["disco_info"]["identities"]))
    version = await soon(anna["xep_0092"].get_version(DOMAIN), "version")
    note("version", version["software_version"]["version"])
    await soon(anna["xep_0199"].ping(DOMAIN), "ping of the hub")
    await soon(anna["xep_0199"].ping(ben.boundjid), "ping of ben")
    note("ping", True)

    anna.send_message(mto=ben.boundjid, mbody="direct ä", mtype="chat")
    m = await soon(ben.messages.get(), "message")
    note("message", m["body"])
    note("message_from", str(m["from"]))

    # The connection breaks; slixmpp comes back and resumes.
    resumed = anna.resumed
    anna.transport.abort()
    await asyncio.sleep(0.2)
    ben.send_message(mto=anna.boundjid, mbody="while away", mtype="chat")
    if not anna.is_connected():
        anna.start()
    await soon(resumed.wait(), "resumption")
    m = await soon(anna.messages.get(), "message after the resumption")
    note("resumed", m["body"])
    await soon(anna["xep_0199"].ping(ben.boundjid), "ping after the resumption")

    # A clean end (with a last acknowledgement), a message meanwhile, and a new session.
    anna["xep_0198"].send_ack()
    await soon(anna.disconnect(wait=2), "end")
    ben.send_message(mto=f"anna@{DOMAIN}", mbody="offline", mtype="chat")
    await soon(ben["xep_0199"].ping(DOMAIN), "ping")
    again = Client("anna")
    again.start()
    await soon(again.started.wait(), "second session")
    await soon(again.get_roster(), "roster")
    again.send_presence()
    m = await soon(again.messages.get(), "offline message")
    note("offline", m["body"])
    note("delay_from", str(m["delay"]["from"]))
    await soon(again.disconnect(wait=2), "end")
    await soon(ben.disconnect(wait=2), "end")

    wrong = slixmpp.ClientXMPP(f"cora@{DOMAIN}", "wrong")
    wrong.ca_certs = CA
    failed = asyncio.Event()
    wrong.add_event_handler("failed_all_auth", lambda _: failed.set())
    wrong.connect(address=("127.0.0.1", PORT))
    await soon(failed.wait(), "refused login")
    note("wrong_password", "refused")


if os.environ.get("SLIX_DEBUG"):
    logging.basicConfig(level=logging.DEBUG)
else:
    logging.disable(logging.CRITICAL)
asyncio.get_event_loop().run_until_complete(main())
print(json.dumps(seen))
