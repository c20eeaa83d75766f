"""The workers of the site that moves: orders come in on standard input, a line each, and answers go out likewise.

This process imports the site, and forks the workers, ``a`` and ``b``; to restart them it forks new ones. Their clocks go
on with what they are told to move them by.
"""

import time


class Moved:
    """How far the clocks of this process have been moved, in seconds."""

    seconds = 0.0


# Replaced before anybody has taken them for their own.
real_time, real_monotonic = time.time, time.monotonic
time.time = lambda: real_time() + Moved.seconds
time.monotonic = lambda: real_monotonic() + Moved.seconds

import importlib  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import traceback  # noqa: E402

import django  # noqa: E402


class Worker:
    """A process of its own, with nothing in its memory but the site."""

    def __init__(self):
        orders, self._to = os.pipe()
        self._from, answers = os.pipe()
        self._process = os.fork()
        if self._process == 0:
            os.close(self._to)
            os.close(self._from)
            status = 1
            try:
                work(os.fdopen(orders), os.fdopen(answers, "w"))
                status = 0
            except BaseException:
                traceback.print_exc()  # os._exit would not
            finally:
                os._exit(status)
        os.close(orders)
        os.close(answers)
        self._orders = os.fdopen(self._to, "w")
        self._answers = os.fdopen(self._from)

    def tell(self, line):
        """The worker's answer to an order; nothing where it has ended."""
        self._orders.write(line)
        self._orders.flush()
        return self._answers.readline()

    def stop(self):
        self._orders.close()
        self._answers.close()
        os.waitpid(self._process, 0)


def work(orders, answers):
    from django.test import Client

    client = Client()
    for line in orders:
        order = json.loads(line)
        answer = ""
        if "move" in order:
            Moved.seconds += order["move"]
        elif "manage" in order:
            answer = manage(order["manage"])
        else:
            answer = request(client, order)
        print(
            json.dumps({"answer": answer, "cookies": {n: morsel.value for n, morsel in client.cookies.items()}}),
            file=answers,
        )
        answers.flush()
        client.cookies.clear()


def request(client, order):
    client.cookies.load(order["cookies"])
    kind = "application/x-www-form-urlencoded"
    try:
        response = client.generic(order["method"], order["path"], order["body"], content_type=kind)
    except Exception as error:
        return type(error).__name__
    return response.content.decode().strip()


def manage(command):
    from django.core.management import call_command

    output = io.StringIO()
    call_command(*command, stdout=output, stderr=output)
    return output.getvalue().strip()


def stop(workers):
    for worker in reversed(workers.values()):  # the later one holds the pipes of the earlier
        worker.stop()


def main():
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
    django.setup()
    for name in ("catalogue.urls", "django.test"):  # what both need is imported once
        importlib.import_module(name)

    workers = {}
    for line in sys.stdin:
        name = json.loads(line).get("worker")
        if name is None:
            stop(workers)
            workers = {new: Worker() for new in "ab"}
            print("{}", flush=True)
        else:
            # Where it has ended, an empty line: nobody is to wait for more.
            print(workers[name].tell(line).rstrip("\n"), flush=True)
    stop(workers)


main()
