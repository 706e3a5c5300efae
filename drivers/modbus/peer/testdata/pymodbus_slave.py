"""A Modbus slave made of Debian's python3-pymodbus, for tests.

Arguments: rtu TTY BAUD | tcp PORT. On a pseudo terminal it
cannot have parity, and need not. The setting comes on standard input, as for
peer.c. It prints "ready" and serves until its standard input is closed.
"""
import asyncio
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.device import ModbusDeviceIdentification
from pymodbus.server import StartAsyncSerialServer, StartAsyncTcpServer
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer


def context():
    unit, size, lines = 1, 200, []
    for line in sys.stdin:
        words = line.split()
        if words[0] == "serve":
            break
        if words[0] == "unit":
            unit = int(words[1])
        elif words[0] == "size":
            size = int(words[1])
        else:
            lines.append((words[0], [int(w, 0) for w in words[1:]]))
    tables = {t: [0] * size for t in "cdih"}
    for table, (at, *values) in lines:
        tables[table][at:at + len(values)] = values
    block = {t: ModbusSequentialDataBlock(0, v) for t, v in tables.items()}
    store = ModbusSlaveContext(di=block["d"], co=block["c"], hr=block["h"], ir=block["i"], zero_mode=True)
    return ModbusServerContext(slaves={unit: store}, single=False)


async def main():
    identity = ModbusDeviceIdentification()
    identity.VendorName = "Pymodbus"
    identity.ProductCode = "PM"
    identity.MajorMinorRevision = "3.0"
    loop = asyncio.get_running_loop()
    if sys.argv[1] == "rtu":
        serve = StartAsyncSerialServer(context=context(), identity=identity, framer=ModbusRtuFramer,
                                       port=sys.argv[2], baudrate=int(sys.argv[3]), parity="N",
                                       bytesize=8, stopbits=1, ignore_missing_slaves=True)
    else:
        serve = StartAsyncTcpServer(context=context(), identity=identity, framer=ModbusSocketFramer,
                                    address=("127.0.0.1", int(sys.argv[2])))
    task = loop.create_task(serve)
    await asyncio.sleep(0.3)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    task.cancel()


try:
    asyncio.run(main())
except asyncio.CancelledError:
    pass
