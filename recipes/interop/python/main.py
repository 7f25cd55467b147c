"""Runs the operations on standard input with tikv-client, and prints the result of each.

main.py PD PREFIX < operations
"""

import asyncio
import os
import sys

from raw import Raw
from tikv_client.asynchronous import RawClient, TransactionClient
from txn import Transactions

# Bound of an operation in seconds: a client that gets no answer retries forever.
LIMIT = 60


def describe(error):
    """Names the errors that every client has in the same words."""
    # The client has one class of exceptions, and the server's error as its text.
    return "write conflict" if "WriteConflict" in str(error) else f"{type(error).__name__} {error}"


async def run(operations, words):
    if not words or words[0] not in operations:
        return "error: unknown operation"
    try:
        return await asyncio.wait_for(operations[words[0]](*words[1:]), LIMIT)
    except Exception as error:
        return f"error: {describe(error)}"


async def main(pd, prefix):
    raw = await RawClient.connect([pd])
    txn = await TransactionClient.connect([pd])
    operations = {
        **Raw(raw, f"{prefix}/r/".encode()).operations(),
        **Transactions(txn, f"{prefix}/t/".encode()).operations(),
    }
    for line in sys.stdin:
        line = line.rstrip("\n")
        print(f"{line} => {await run(operations, line.split(' '))}")
    sys.stdout.flush()
    # The client's threads abort an interpreter that ends.
    os._exit(0)


asyncio.run(main(*sys.argv[1:]))
