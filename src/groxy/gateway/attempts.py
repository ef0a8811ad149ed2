"""All attempts at text for one request: candidate by candidate, until one serves.

In: the decoded request and what is wanted of routing. Out: the reply's last bytes, or the failure
that tells its caller most. Another account tries as long as nothing has left for the client
(`rounds`); one that takes unusually long to begin is hedged. Whatever happened is in the trail,
and known to routing.
"""

import asyncio
from collections.abc import Coroutine
from typing import cast

from groxy.core.errors import GroxyError
from groxy.core.tokens import input_tokens
from groxy.core.usage import Usage
from groxy.dialects._base import Asked, CallersEnd, Frame
from groxy.gateway.attempt import AttemptRun, PassOn, Question
from groxy.gateway.lanes import Lanes
from groxy.gateway.means import Call, Means
from groxy.gateway.race import Race
from groxy.gateway.rounds import Rounds, begin_attempt, note_failure
from groxy.gateway.tab import Tab
from groxy.gateway.vigil import Vigil
from groxy.ledger.costs import attempt_cost
from groxy.ledger.trail import Trail
from groxy.routing.router import Candidate, Wanted

_CHARS_PER_TOKEN = 4
_USUAL_OUTPUT_TOKENS = 2000
"""Expected of a request that names no bound, when the cost of a hedge is estimated."""


class Attempts:
    """Serves one request."""

    def __init__(
        self,
        means: Means,
        call: Call,
        trail: Trail,
        vigil: Vigil,
        pass_on: PassOn,
        tab: Tab,
    ) -> None:
        self._tab = tab
        self._means = means
        self._call = call
        self._trail = trail
        self._vigil = vigil
        self._pass_on = pass_on
        self._tokens = len(call.body) // _CHARS_PER_TOKEN
        self.run: AttemptRun | None = None
        """The newest attempt; of hedged ones that which serves."""
        self.has_begun = False
        """True once an event has left for the client: from then on no other account may try."""

    async def serve(self, asked: Asked, wanted: Wanted) -> bytes:
        """Ask candidates until one serves; return the reply's last bytes."""
        question = Question(
            dialect=self._call.dialect,
            asked=asked,
            lanes=self._lanes(asked),
            conversation=wanted.conversation,
            counter=self._means.counter,
            tariff=self._tab.tariff,
            charge_of=self._tab.charge_of,
            budget=self._tab.budget,
            heard=self._vigil.heard,
        )
        if self._means.hedger.is_on:
            self._means.hedger.note_request()
        rounds = Rounds(self._means, self._trail, self._vigil)
        served, last_bytes = await rounds.serve(
            wanted,
            lambda candidate, others: self._ask(question, candidate, others),
            is_final=lambda: self.has_begun,
        )
        self._note_served(wanted, served)
        return last_bytes

    async def _ask(
        self, question: Question, candidate: Candidate, others: list[Candidate]
    ) -> tuple[Candidate, bytes]:
        """Ask one candidate, and a second one if the first takes too long to begin."""
        hedger = self._means.hedger
        if hedger.is_on and others:
            cost_ticks = self._expected_cost(question.asked, candidate)
            delay_s = hedger.delay_s(candidate.model_sent, cost_ticks)
            if delay_s is not None:
                race = Race(self, lambda one: self.begin(question, one), others)
                return await race.run(candidate, delay_s)
        run = self.begin(question, candidate)
        run.watched = self._vigil.attempt
        return candidate, await self.finish(run, self.pass_on)

    async def pass_on(self, piece: bytes) -> None:
        """Pass on a piece of the stream that serves."""
        self.has_begun = True
        await self._pass_on(piece)

    # ------------------------------------------------------------------------------ one attempt

    def begin(self, question: Question, candidate: Candidate) -> AttemptRun:
        """Begin an attempt; raise `NoRoomError` when the account has become too busy for it."""
        attempt = begin_attempt(self._means, self._trail, candidate, self._tokens)
        run = self.run = AttemptRun(question, candidate, attempt)
        return run

    async def finish(self, run: AttemptRun, pass_on: PassOn) -> bytes:
        """Run an attempt that has begun, and note how it went."""
        account, directory = run.candidate.account, self._means.directory
        model = run.candidate.model_sent
        try:
            last_bytes = await (run.stream(pass_on) if self._trail.is_stream else run.whole())
        except GroxyError as error:
            note_failure(self._means, self._trail, run.candidate, error)
            raise
        except asyncio.CancelledError:
            if run.ended_by is not None:
                directory.note_failure(account, run.ended_by, model)
            raise
        finally:
            directory.end(account, _total(run.attempt.usage) - self._tokens)
            self._count(run)
        directory.note_success(account, model)
        return last_bytes

    def _count(self, run: AttemptRun) -> None:
        account, attempt = run.candidate.account, run.attempt
        tally = account.tally
        self._means.directory.touched.add(account)
        tally.tokens += _total(attempt.usage)
        tally.cost_ticks += attempt.cost_ticks

    def _note_served(self, wanted: Wanted, candidate: Candidate) -> None:
        attempt = self._trail.last
        if attempt is None:
            return
        first_event_s = attempt.first_event - attempt.began
        self._means.router.note_served(
            wanted,
            candidate,
            first_event_s=first_event_s,
            output_tokens=attempt.usage.output_tokens,
            duration_s=attempt.ended - attempt.began,
        )
        if self._means.hedger.is_on:
            self._means.hedger.note_begun(candidate.model_sent, first_event_s)

    # ------------------------------------------------------------------------------------- parts

    def _expected_cost(self, asked: Asked, candidate: Candidate) -> int | None:
        """Return what asking a candidate may cost, in ticks; None when that is not known."""
        model = candidate.target.model
        priced = self._tab.tariff.of(model.id) if model else None
        price = priced.price if priced else None
        bound = self._call.dialect.bound_of(asked)
        output = _USUAL_OUTPUT_TOKENS if bound.max_tokens is None else bound.max_tokens
        usage = Usage(input_tokens=self._tokens, output_tokens=output * bound.choices)
        return None if price is None else attempt_cost(usage, price, is_cached=False)[0]

    def _lanes(self, asked: Asked) -> Lanes:
        means, call = self._means, self._call
        owner = call.caller.key_id

        def count_input() -> int:
            # Only dialects that others carry tell tokens before the upstream does.
            return input_tokens(cast("CallersEnd", call.dialect).canonical(asked), means.counter)

        return Lanes(
            call.dialect,
            asked,
            Frame(
                reply_id=call.request_id.removeprefix("req_"),
                created=self._trail.at_ms // 1000,
                count_input=count_input,
                counting=means.limits.counting,
            ),
            ends=means.ends,
            fetch=means.fetch,
            thoughts=lambda call_ids: means.memory.thoughts(call_ids, owner),
        )

    # -------------------------------------------------------------------------------- for a race

    def serves(self, run: AttemptRun) -> None:
        """Note that of several attempts this one serves."""
        self.run = run
        self._trail.serving = run.attempt
        self._trail.upstream_dialect = run.candidate.dialect

    async def watch(self, work: Coroutine[None, None, None]) -> None:
        """Wait for work of several attempts; ends with the error of a deadline or a lost client."""
        await self._vigil.attempt(work)

    def may_hedge(self) -> bool:
        """Return whether one more request may be hedged now."""
        return self._means.hedger.take()


def _total(usage: Usage) -> int:
    return usage.input_tokens + usage.output_tokens
