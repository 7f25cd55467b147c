"""The raw operations."""

from text import parse, show, show_found, show_pairs


class Raw:
    def __init__(self, client, prefix):
        self.client = client
        self.prefix = prefix

    def key(self, word):
        return self.prefix + parse(word)

    async def put(self, key, value):
        await self.client.put(self.key(key), parse(value))
        return "ok"

    async def get(self, key):
        return show(await self.client.get(self.key(key)))

    async def delete(self, key):
        await self.client.delete(self.key(key))
        return "ok"

    async def batch_put(self, *words):
        await self.client.batch_put({self.key(k): parse(v) for k, v in zip(words[::2], words[1::2])})
        return "ok"

    async def batch_get(self, *words):
        pairs = await self.client.batch_get([self.key(word) for word in words])
        return show_found(self.prefix, words, pairs)

    async def batch_delete(self, *words):
        await self.client.batch_delete([self.key(word) for word in words])
        return "ok"

    async def scan(self, start, end, limit):
        return show_pairs(self.prefix, await self.client.scan(self.key(start), self.key(end), int(limit)))

    async def delete_range(self, start, end):
        await self.client.delete_range(self.key(start), self.key(end))
        return "ok"

    def operations(self):
        names = ["put", "get", "delete", "batch_put", "batch_get", "batch_delete", "scan", "delete_range"]
        return {f"raw_{name}": getattr(self, name) for name in names}
