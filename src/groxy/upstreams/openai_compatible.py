"""Any server that speaks OpenAI's chat completions: llama.cpp, vLLM, LiteLLM, another Groxy.

The account says where it is. Nothing of a request is changed: what such a server takes is known
to its operator only.
"""

from groxy.upstreams._base import Upstream


class OpenaiCompatible(Upstream):
    """A server known by its address alone."""

    name = "openai_compatible"
    title = "OpenAI-compatible server"
    needs_key = False


UPSTREAM = OpenaiCompatible()
