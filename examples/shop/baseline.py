"""The shop without the mesh: what the same programs and the same load do when nothing stands between them."""
import http.client
import json
import socket

import procs
import report
from shop import Shop, free_loopback


def listening(address, port):
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


def answers(entry):
    """Does the whole shop answer through its entry?"""
    host, port = entry.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        for path in ("/price", "/history", "/mail"):
            connection.request("GET", path, headers={"x-id": "ready"})
            response = connection.getresponse()
            if response.status != 200 or json.loads(response.read()).get("id") != "ready":
                return False
        return True
    except (OSError, ValueError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def run(folder, seconds, rate, note, progress, show):
    """Runs the shop without a mesh for `seconds`; returns the load's records. Meanwhile `progress` is called with lines
    of text, and `show` with the records so far."""
    address = free_loopback()
    shop = Shop(folder, address, period=seconds, duty=0.5)
    programs = procs.Processes(folder)
    out = folder / "load.jsonl"
    try:
        for program in shop.programs:
            programs.start(program.name, program.command, program.env)
        for program in shop.programs:
            progress(f"without the mesh: waiting for {program.name}")
            procs.wait_until(f"{program.name} listens on {address}:{program.port}; its log is {folder}/{program.name}.log",
                             lambda p=program: listening(address, p.port), 15)
        procs.wait_until(f"the shop answers on {shop.entry}", lambda: answers(shop.entry), 15)
        shop.slow_start.touch()
        load = programs.start("load", shop.load(out, note, rate, seconds))
        records = report.Records(out)

        def finished():
            if records.read():
                show(records.all)
            return not load.running()

        procs.wait_until("the load has ended", finished, seconds + 20, every=0.5)
        return records.read()
    finally:
        programs.stop()
