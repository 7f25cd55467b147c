"""The operations of transactions and snapshots."""

from text import parse, show, show_found, show_pairs


class Transactions:
    def __init__(self, client, prefix):
        self.client = client
        self.prefix = prefix
        self.open = {}

    def key(self, word):
        return self.prefix + parse(word)

    async def begin(self, name, kind):
        if kind not in ("optimistic", "pessimistic"):
            raise ValueError(f"unknown kind of transaction {kind}")
        self.open[name] = await self.client.begin(pessimistic=kind == "pessimistic")
        return "ok"

    async def snapshot(self, name):
        timestamp = await self.client.current_timestamp()
        self.open[name] = self.client.snapshot(timestamp, pessimistic=False)
        return "ok"

    async def get(self, name, key):
        return show(await self.open[name].get(self.key(key)))

    async def get_for_update(self, name, key):
        return show(await self.open[name].get_for_update(self.key(key)))

    async def batch_get(self, name, *words):
        pairs = await self.open[name].batch_get([self.key(word) for word in words])
        return show_found(self.prefix, words, pairs)

    async def scan(self, name, start, end, limit):
        pairs = await self.open[name].scan(self.key(start), self.key(end), int(limit))
        return show_pairs(self.prefix, pairs)

    async def set(self, name, key, value):
        await self.open[name].put(self.key(key), parse(value))
        return "ok"

    async def delete(self, name, key):
        await self.open[name].delete(self.key(key))
        return "ok"

    async def lock(self, name, *words):
        await self.open[name].lock_keys([self.key(word) for word in words])
        return "ok"

    async def commit(self, name):
        await self.open[name].commit()
        return "ok"

    async def rollback(self, name):
        await self.open[name].rollback()
        return "ok"

    def operations(self):
        names = ["begin", "snapshot", "get", "get_for_update", "batch_get", "scan", "set", "delete", "lock", "commit"]
        return {name: getattr(self, name) for name in names + ["rollback"]}
