"""What a call costs, counted in bytecode instructions: the same on a busy machine as on an idle one."""

import contextlib
import sys
import threading

TOOL = 3
"""A number for sys.monitoring that neither debuggers nor coverage nor profilers take."""


def instructions(call):
    """How many bytecode instructions ``call()`` executes in a thread of its own, the second time that it is called."""
    counts = []

    def measure():
        call()  # what is done once is not counted
        with _monitored() if sys.version_info >= (3, 12) else _traced() as count:
            call()
        counts.append(count[0])

    thread = threading.Thread(target=measure, daemon=True)
    thread.start()
    thread.join(10)
    assert counts, "the call raised, or did not end"
    assert counts[0] > 0, "nothing was counted"
    return counts[0]


@contextlib.contextmanager
def _monitored():
    """Yields a list with the number of instructions that this thread executes inside."""
    count, thread = [0], threading.get_ident()

    def add(code, offset):
        count[0] += threading.get_ident() == thread

    event = sys.monitoring.events.INSTRUCTION
    sys.monitoring.use_tool_id(TOOL, __name__)
    sys.monitoring.register_callback(TOOL, event, add)
    try:
        sys.monitoring.set_events(TOOL, event)
        yield count
    finally:
        sys.monitoring.set_events(TOOL, 0)
        sys.monitoring.register_callback(TOOL, event, None)
        sys.monitoring.free_tool_id(TOOL)


@contextlib.contextmanager
def _traced():
    """The same on Python 3.11."""
    count, before = [0], sys.gettrace()

    def trace(frame, event, arg):
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        count[0] += event == "opcode"
        return trace

    sys.settrace(trace)
    try:
        yield count
    finally:
        sys.settrace(before)
