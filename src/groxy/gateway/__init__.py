"""The pipeline: one request, one direction.

 1. `api` reads who asks and the body; the path names the dialect.
 2. The dialect decodes the request, as deep as needed.
 3. `policy` said who the caller is; the request's tab is opened: its model is allowed, its limits
    have room, and the most that it can cost is held.
 4. `routing` plans: ordered candidates (account, model sent).
 5. Candidate by candidate, an attempt: the upstream's quirks are applied and the request is sent.
    A failure before the first event has left for the client leads to the next candidate, when it
    is not the caller's own; after it, the stream ends with an error event.
 6. The dialect turns the reply into the client's bytes and tallies it.
 7. `ledger` costs every attempt and enters the request and its charge in the books, exactly once,
    whatever happened: success, error, deadline, a client that left. What is left of the hold goes
    back.
 8. Only then the last bytes leave: of a whole reply all of them, of a stream its end.

`pipeline` has these steps; `tab` is step 3, with `estimate` and `budget`, and `settling` step 7;
`rounds` is step 5, with `rotation`; `attempts` does it for text, with
`hedging`, and `turns` for media; `attempt` is step 5 and 6 for one candidate; `vigil` watches the
clock and the client meanwhile. No wire JSON and no SQL in here.
"""

from groxy.gateway.means import Call, Limits
from groxy.gateway.pipeline import Gateway
from groxy.gateway.vigil import Client

__all__ = ["Call", "Client", "Gateway", "Limits"]
