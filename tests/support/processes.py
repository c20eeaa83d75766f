"""A check in a forked child."""

import os
import signal


def in_child(check):
    """Run ``check`` in a forked child; whether it returned, within ten seconds."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        code = 1
        try:
            check()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 0
