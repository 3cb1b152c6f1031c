"""A camera that speaks RTSP: moving test pictures, 160 x 120 at 10 per second, for user `guard` with password `s3cret`.

Run by the system's Python, which has GStreamer's bindings. Prints its port, then serves until it is stopped.
"""

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - versions are chosen before

Gst.init(None)
server = GstRtspServer.RTSPServer(service="0", address="127.0.0.1")

auth = GstRtspServer.RTSPAuth()
token = GstRtspServer.RTSPToken()
token.set_string("media.factory.role", "guard")
auth.add_basic(GstRtspServer.RTSPAuth.make_basic("guard", "s3cret"), token)
server.set_auth(auth)

factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=160,height=120,framerate=10/1 "
    "! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
)
factory.add_role_from_structure(
    Gst.Structure.new_from_string("guard, media.factory.access=true, media.factory.construct=true")
)
server.get_mount_points().add_factory("/gate", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
