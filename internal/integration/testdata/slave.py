"""Modbus RTU slave on a serial port, by pymodbus.

usage: slave.py PORT UNIT

Prints "ready", then a line of JSON for each write it gets:
{"table": "coil"|"holding", "address": 0, "values": [..]}
"""
import asyncio
import json
import logging
import struct
import sys

from pymodbus.datastore import (
    ModbusSequentialDataBlock,
    ModbusServerContext,
    ModbusSlaveContext,
)
from pymodbus.framer.rtu_framer import ModbusRtuFramer
from pymodbus.server import StartAsyncSerialServer

logging.disable(logging.CRITICAL)


class Told(ModbusSequentialDataBlock):
    """A block that tells what is written to it."""

    def __init__(self, table, values):
        super().__init__(0, values)
        self.table = table

    def setValues(self, address, values):
        super().setValues(address, values)
        print(json.dumps({"table": self.table, "address": address, "values": [int(v) for v in values]}), flush=True)


def words(fmt, value):
    """The registers of a value, high word first."""
    data = struct.pack(">" + fmt, value)
    return list(struct.unpack(">%dH" % (len(data) // 2), data))


def registers():
    r = [0] * 100
    r[0] = 2301                             # voltage, 0.1 V
    r[1:3] = words("f", 12.5)               # power, float
    r[3:5] = words("I", 4000000000)         # energy, 32 bits
    r[5] = 0x10000 - 125                    # temperature, 0.1 degrees, signed
    r[10] = 7                               # level, int
    r[11:15] = words("q", 5000000000)       # budget, long
    r[15] = 215                             # setpoint, 0.1 degrees
    r[16] = 1                               # mode, enumeration
    r[17:21] = [0x4142, 0x4331, 0x3233, 0]  # serial number, text
    return r


async def main():
    port, unit = sys.argv[1], int(sys.argv[2])
    slave = ModbusSlaveContext(
        di=ModbusSequentialDataBlock(0, [1] + [0] * 15),
        co=Told("coil", [0] * 16),
        hr=Told("holding", registers()),
        ir=ModbusSequentialDataBlock(0, registers()),
        zero_mode=True,
    )
    context = ModbusServerContext(slaves={unit: slave}, single=False)
    server = await StartAsyncSerialServer(
        context, framer=ModbusRtuFramer, port=port, baudrate=19200, timeout=0.005,
        ignore_missing_slaves=True, defer_start=True,
    )
    await server.start()
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
