"""An RTSP server on loopback, run by the system's Python, which has GStreamer, with a port or 0.

``/mjpeg`` and ``/h264``, 320x240 at 15 frames a second: a ball on black, over TCP only, and
``/udp`` over UDP only. Prints its port when it is ready.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

# Without I420 rtpjpegpay refuses, and the DESCRIBE that waits for it blocks all other clients.
SOURCE = (
    "videotestsrc is-live=true pattern=ball background-color=0xff404040 ! "
    "video/x-raw,format=I420,width=320,height=240,framerate=15/1 ! "
)
JPEG = "jpegenc ! rtpjpegpay name=pay0 pt=26"
H264 = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96"
TCP, UDP = GstRtsp.RTSPLowerTrans.TCP, GstRtsp.RTSPLowerTrans.UDP

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
for path, tail, over in (("/mjpeg", JPEG, TCP), ("/h264", H264, TCP), ("/udp", JPEG, UDP)):
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {SOURCE}{tail} )")
    factory.set_shared(True)
    factory.set_protocols(over)
    server.get_mount_points().add_factory(path, factory)
if not server.attach(None):
    sys.exit(f"port {sys.argv[1]} is taken")
sys.stdout.write(f"{server.get_bound_port()}\n")
sys.stdout.flush()
GLib.MainLoop().run()
