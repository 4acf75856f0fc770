"""What the files of user programs say: functions, USDT probes, where arguments are; and who runs them.

Read by a few dozen lines of our own, as a machine that is traced has no library for it; debug information
takes one (pyelftools, an extra).
"""
