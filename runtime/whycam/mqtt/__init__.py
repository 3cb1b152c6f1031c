"""MQTT: topics, payloads, and the client that tells subscribers and takes their requests.

Importing this package needs neither OpenCV nor ONNX Runtime: subscribers use it too.
"""

from whycam.mqtt.message import Message

__all__ = ["Message"]
