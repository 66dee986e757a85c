"""Channels in Tornado: a set of subscribers each, an event stream or a WebSocket of each address, and a POST to it."""

import asyncio
import collections
import sys

import tornado.iostream
import tornado.routing
import tornado.web
import tornado.websocket

streams = collections.defaultdict(set)
sockets = collections.defaultdict(set)


class Socket(tornado.websocket.WebSocketHandler):
    def open(self, name):
        self.name = name
        sockets[name].add(self)

    def on_close(self):
        sockets[self.name].discard(self)


class Channel(tornado.web.RequestHandler):
    number = 0

    async def get(self, name):
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        await self.flush()
        self.gone = asyncio.Event()
        streams[name].add(self)
        await self.gone.wait()
        streams[name].discard(self)

    def on_connection_close(self):
        self.gone.set()

    def send(self, text):
        try:
            self.write(text)
            self.flush()
        except tornado.iostream.StreamClosedError:
            self.gone.set()

    def post(self, name):
        Channel.number += 1
        text = self.request.body.decode()
        event = f"id: {Channel.number}\ndata: {text}\n\n"
        for stream in streams[name]:
            stream.send(event)
        for socket in sockets[name]:
            socket.write_message(text)
        self.set_status(201)


class Upgrades(tornado.routing.PathMatches):
    def match(self, request):
        asked = request.headers.get("Upgrade", "").lower() == "websocket"
        return super().match(request) if asked else None


async def main():
    path = r"/channels/(\w+)"
    socket = tornado.routing.Rule(Upgrades(path), Socket)
    application = tornado.web.Application([socket, (path, Channel)])
    application.listen(int(sys.argv[2]), sys.argv[1], backlog=1024)
    await asyncio.Event().wait()


asyncio.run(main())
