"""A Modbus slave made of Debian's python3-pymodbus, for peer_test.go.

Arguments: rtu TTY BAUD | tcp PORT. It prints "ready" and serves unit 7 until
its standard input is closed.
"""
import asyncio
import sys

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.device import ModbusDeviceIdentification
from pymodbus.server import StartAsyncSerialServer, StartAsyncTcpServer
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer


def context():
    def words(first):
        return ModbusSequentialDataBlock(0, [(first + i) & 0xFFFF for i in range(200)])

    bits = ModbusSequentialDataBlock(0, [i % 3 == 0 for i in range(200)])
    coils = ModbusSequentialDataBlock(0, [False] * 200)
    unit = ModbusSlaveContext(di=bits, co=coils, hr=words(1000), ir=words(64000), zero_mode=True)
    return ModbusServerContext(slaves={7: unit}, single=False)


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
