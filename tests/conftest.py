"""What holds for all tests: Ctrl-C reaches the processes that tests start, however the tests themselves were started."""

import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's background job: its children would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)
