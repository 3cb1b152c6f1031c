"""A camera that speaks RTSP and shows what it is told: a plain colour, of any size, at any rate.

Run by the system's Python, which has GStreamer's bindings: `scripted_server.py PORT` (0: any free one). Prints its
port; then obeys lines such as `blue 64 48 10` on its standard input, colour, width, height and frames per second,
until that ends.
"""

import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - versions are chosen before

COLOURS = {"blue": (255, 0, 0), "green": (0, 255, 0), "red": (0, 0, 255)}

Gst.init(None)


class Camera(GstRtspServer.RTSPMediaFactory):
    """Pushes pictures into each stream that is asked for."""

    def __init__(self):
        super().__init__()
        self.colour, self.width, self.height, self.rate = "blue", 64, 48, 10.0
        # A pipeline for each client: a shared one that is just being given up may keep the next from playing.
        self.set_shared(False)
        # Without a size in the caps, so that it may change midway, as it does when a camera is set up anew.
        self.set_launch(
            "( appsrc name=pictures is-live=true do-timestamp=true format=time ! videoconvert "
            "! video/x-raw,format=I420 ! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
        )
        self.sources = []
        self.connect("media-configure", self.opened)
        self.tick()

    def opened(self, _factory, media):
        source = media.get_element().get_child_by_name("pictures")
        self.sources.append(source)
        media.connect("unprepared", lambda _media: self.sources.remove(source))

    def tick(self):
        blue, green, red = COLOURS[self.colour]
        data = bytes((blue, green, red)) * (self.width * self.height)
        caps = Gst.Caps.from_string(
            f"video/x-raw,format=BGR,width={self.width},height={self.height},framerate=0/1,"
            "pixel-aspect-ratio=1/1,interlace-mode=progressive"
        )
        for source in list(self.sources):
            source.set_property("caps", caps)
            source.emit("push-buffer", Gst.Buffer.new_wrapped(data))
        GLib.timeout_add(max(int(1000 / self.rate), 1), self.tick)
        return False

    def obey(self, _channel, _condition):
        # Unbuffered: a line that waited in a buffer would wake nobody. Each line says it all, so the last one counts.
        lines = os.read(0, 65536).decode().splitlines()
        if not lines:
            sys.exit()
        self.colour, width, height, rate = lines[-1].split()
        self.width, self.height, self.rate = int(width), int(height), float(rate)
        return True


server = GstRtspServer.RTSPServer(service=sys.argv[1], address="127.0.0.1")
camera = Camera()
server.get_mount_points().add_factory("/gate", camera)
server.attach(None)
GLib.io_add_watch(0, GLib.IO_IN | GLib.IO_HUP, camera.obey)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
