# Copyright (c) 2026, clawops
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stands in for a model provider, as none can be reached: OpenAI's chat completions, streamed, on loopback of a host.

A message "RUN <command in Base64>" is answered by a call of the tool ``exec`` with that command; what the tool gave back
is then answered word for word. A session has one desired. Runs on the host itself, with nothing but Python: ``python3 provider.py PORT``.
"""

from __future__ import annotations

import base64
import http.server
import json
import re
import sys
from typing import Any, ClassVar


def text_of(content: Any) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content or ""


def answer(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's next message."""
    # OpenClaw adds to what the user said, and messages of its own after it and after the tool's.
    given = [text_of(each["content"]) for each in messages if each["role"] == "tool"]
    if given:
        return {"content": f"TOOL SAID {given[-1]}"}
    desired = re.search(r"\bRUN ([A-Za-z0-9+/=]+)", " ".join(text_of(each["content"]) for each in messages))
    if not desired:
        return {"content": "nothing to run"}
    arguments = json.dumps({"command": base64.b64decode(desired[1]).decode()})
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "exec", "arguments": arguments}}
    return {"tool_calls": [call]}


class Handler(http.server.BaseHTTPRequestHandler):
    """POST /v1/chat/completions; GET /keys tells the keys that it was asked with, the latest last."""

    keys: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(self.keys).encode())

    def do_POST(self) -> None:
        self.keys.append(self.headers.get("Authorization", ""))
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = answer(request["messages"])
        ending = "tool_calls" if "tool_calls" in message else "stop"
        head = {"id": "chatcmpl-stand-in", "object": "chat.completion.chunk", "created": 0, "model": request["model"]}
        chunks = [
            {**head, "choices": [{"index": 0, "delta": {"role": "assistant", **message}, "finish_reason": None}]},
            {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": ending}]},
            {**head, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
        ]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
