"""Deliberate faults: proof that the suite can fail.

Each fault breaks the core, what `DirectExecutor` does with a driver's connections, the asyncio
face, an observer or what other processes do, in one place, in a copy; the suite is run against the
copy, and the first test that fails is the one that caught it. `python -m tests.faults` prints the
table that stands in docs/faults.md, and fails if a fault goes unnoticed; `python -m tests.faults
aio observers` does so for the faults of those files. Those of Dask's workers take a Cassandra each,
or the one that `CONCURRENT_EXEC_CONTACT_POINTS` names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITE = [
    "tests/test_groups.py",
    "tests/test_shapes.py",
    "tests/test_batching.py",
    "tests/test_properties.py",
    "tests/test_inputs.py",
    "tests/test_stopping.py",
    "tests/test_sharing.py",
    "tests/test_retrying.py",
    "tests/test_ordering.py",
    "tests/test_limits.py",
]
DIRECT_SUITE = [
    "tests/direct/test_routes.py",
    "tests/direct/test_pages.py",
    "tests/direct/test_fitting.py",
    "tests/direct/test_handing_over.py",
    "tests/direct/test_alone_and_in_batches.py",
    "tests/direct/test_batches.py",
    "tests/direct/test_streams.py",
]
"""For what is in `drivers/direct`."""
OTHER_SUITES = {
    "drivers/direct/": DIRECT_SUITE,
    "drivers/pages.py": DIRECT_SUITE,
    "drivers/travelling.py": ["tests/test_processes.py"],
    "aio/": ["tests/test_aio.py"],
    "run/watch.py": ["tests/test_observers.py"],
    "observers/": ["tests/test_shipped_observers.py"],
    "executors/dask_pool.py": ["tests/distributed"],
    "executors/lanes.py": ["tests/test_lanes.py"],
    "executors/pools.py": ["tests/test_processes.py"],
    "executors/processes.py": ["tests/test_processes.py"],
    "bulk/": ["tests/bulk/test_workers.py"],
}
"""By how the name of the broken file begins."""

_TRIVIAL = "tests/test_properties.py::test_the_deliberate_faults_still_have_their_places"
"""Fails in every broken copy."""


@dataclass(frozen=True)
class Fault:
    """One way to break the core: in `file`, `right` becomes `wrong`."""

    what: str
    file: str
    right: str
    wrong: str

    @property
    def suite(self) -> list[str]:
        for start, suite in OTHER_SUITES.items():
            if self.file.startswith(start):
                return suite
        return SUITE


FAULTS = [
    Fault(
        "a second answer settles a statement again",
        "run/work.py",
        "            if job.settled:\n                return\n",
        "",
    ),
    Fault(
        "results leave in the order of completion",
        "sink.py",
        "        return [held.pop(index) for index in range(first, last)]",
        "        return [held.pop(next(iter(held))) for index in range(first, last)]",
    ),
    Fault(
        "a list is put together in the order of completion",
        "sink.py",
        "        slots[place] = result\n",
        "        slots[self.delivered - self._first] = result\n",
    ),
    Fault(
        "one more in flight than the limit",
        "run/gate.py",
        "            while turns and self.in_flight < self.limit and",
        "            while turns and self.in_flight <= self.limit and",
    ),
    Fault(
        "a failure keeps its permit",
        "run/work.py",
        "success, value)\n                gate.give_back()\n",
        "success, value)\n                if success:\n                    gate.give_back()\n",
    ),
    Fault(
        "a failure does not stop a fail-fast run",
        "run/run.py",
        "                discarded = self.stop()\n",
        "",
    ),
    Fault(
        "a closed run goes on sending",
        "run/run.py",
        "        if self.stopped or self.closed:\n            return None\n",
        "        if self.stopped:\n            return None\n",
    ),
    Fault(
        "the window is not kept",
        "run/run.py",
        "        return self.window - (",
        "        return 1_000_000 - (",
    ),
    Fault(
        "what the caller has taken makes no room",
        "run/results.py",
        "            run.note_delivered(len(self._batch))\n        if",
        "            pass\n        if",
    ),
    Fault(
        "what the input raises is swallowed",
        "run/run.py",
        "                self.error = error\n            self.consumers",
        "                pass\n            self.consumers",
    ),
    Fault(
        "the consumer is not woken by a result",
        "run/run.py",
        "self.sink.put(job.index, result):\n            self._wake_consumers()\n",
        "self.sink.put(job.index, result):\n            pass\n",
    ),
    Fault(
        "the feeder is not told of room",
        "run/run.py",
        "        else:\n            self.doorbell.put(None)\n",
        "",
    ),
    Fault(
        "the first run in the queue keeps the turn",
        "run/gate.py",
        "                        turns.rotate(-1)\n",
        "                        pass\n",
    ),
    Fault(
        "answers within execute_async recurse",
        "executors/callback.py",
        "            note.noted = True\n            return\n",
        "            pass\n",
    ),
    Fault(
        "a permit that is freed while sending is forgotten",
        "executors/callback.py",
        "            note.noted = True\n            return\n",
        "            return\n",
    ),
    Fault(
        "what execute_async raises is lost",
        "executors/callback.py",
        "            message.fail(exc, sent=sent)\n",
        "",
    ),
    Fault(
        "a worker does not wake the next",
        "executors/threads.py",
        "                self._launch()  # while there is more, one worker wakes the next\n",
        "",
    ),
    Fault(
        "shutdown lets runs pull on",
        "executors/base.py",
        "            told += [run.cut_off() for run in runs]\n",
        "",
    ),
    Fault(
        "shutdown does not cancel",
        "executors/base.py",
        "                discarded = [run.cancel() for run in runs]\n",
        "",
    ),
    Fault(
        "the finaliser waits for the lock",
        "run/results.py",
        "acquire(blocking=not from_finaliser)",
        "acquire()",
    ),
    Fault(
        "an empty batch is taken for the end, though another thread emptied it",
        "run/results.py",
        "            if not self._wait_until(self._refill):\n",
        "            self._wait_until(self._refill)\n"
        "            if not self._batch and (self._run.closed or self._run.over):\n",
    ),
    Fault(
        "a dropped run is let go under the lock",
        "run/gate.py",
        "                    gone.append(turns.popleft())\n",
        "                    turns.popleft()\n",
    ),
    Fault(
        "shutdown does not wait for futures to be resolved",
        "run/gate.py",
        "self.in_flight or self.telling or self",
        "self.in_flight or self",
    ),
    Fault(
        "room that was put off is forgotten",
        "run/run.py",
        "                self._ring()  # which",
        "                pass  # which",
    ),
    Fault(
        "Ctrl-C strikes while a permit changes hands",
        "run/interrupts.py",
        "            signal.signal(signal.SIGINT, _note)\n",
        "            pass\n",
    ),
    Fault(
        "a raised failure and its frame refer to each other",
        "model/result.py",
        "            del self, exc  # or",
        "            pass  # or",
    ),
    Fault(
        "a cancelled submit is sent all the same",
        "run/submissions.py",
        "        if job.attempts or job.future.set_running_or_notify_cancel():\n",
        "        if job.attempts or job.future.set_running_or_notify_cancel() or True:\n",
    ),
    Fault(
        "the context of the caller is not the input's",
        "run/feeder.py",
        "        target=context.run, args=(_feed, run, launch),",
        "        target=_feed, args=(run, launch),",
    ),
    Fault(
        "what waits to be sent again keeps its permit",
        "run/work.py",
        "                gate.rests(self)\n            gate.give_back()\n",
        "                gate.rests(self)\n                return told, discarded\n"
        "            gate.give_back()\n",
    ),
    Fault(
        "what waits to be sent again is lost when the run stops",
        "run/run.py",
        "        self._give_up_retries()\n        discarded = self._ready",
        "        discarded = self._ready",
    ),
    Fault(
        "each attempt has a timestamp of its own",
        "drivers/timestamps.py",
        "            request.timestamp = ours.timestamp",
        "            pass",
    ),
    Fault(
        "the requests of others are given our timestamps",
        "drivers/timestamps.py",
        "ours, self._expected.message = self._expected.message, None",
        "ours = self._expected.message",
    ),
    Fault(
        "shutdown does not wait for what waits to be sent again",
        "run/gate.py",
        " or self.queued() or self.waiting_for_retry())",
        " or self.queued())",
    ),
    Fault(
        "statements of one key run at once",
        "run/run.py",
        "            if lane is not None and lane.busy:\n",
        "            if lane is not None and lane.busy and False:\n",
    ),
    Fault(
        "what the key of a failed statement skips is sent",
        "run/run.py",
        "            lane.failed_at = job.index\n",
        "            pass\n",
    ),
    Fault(
        "a key with many statements goes before the others",
        "run/run.py",
        "elif self._released and (not self._ready or self._released[0][0] < self._ready[0].index):",
        "elif self._released:",
    ),
    Fault(
        "a key that waits for a retry is forgotten by the sweep",
        "run/lane.py",
        "            if lane.busy or lane.failed_at is not None\n",
        "            if lane.failed_at is not None\n",
    ),
    Fault(
        "the rate is not counted",
        "run/gate.py",
        "                        rate.take(now)\n",
        "                        pass\n",
    ),
    Fault(
        "nobody goes on when the rate allows it",
        "run/gate.py",
        "        if pause > 0:\n            self.call_later",
        "        if False:\n            self.call_later",
    ),
    Fault(
        "one error more than is allowed",
        "run/budget.py",
        "            return failed > limit\n",
        "            return failed > limit + 1\n",
    ),
    Fault(
        "a share is judged from the first statement on",
        "run/budget.py",
        "        if finished < FIRST_JUDGED:\n            return False\n",
        "",
    ),
    Fault(
        "what was not started by the deadline is sent",
        "run/run.py",
        "            return DeadlineExceededError(self._settings.deadline)\n",
        "            return None\n",
    ),
    Fault(
        "a deadline lets an iterator be pulled on",
        "run/run.py",
        " or (self.expired and self.source.items is None)",
        "",
    ),
    Fault(
        "the limiter's new limit is not taken",
        "run/gate.py",
        "            self.limit = positive_int(",
        "            positive_int(",
    ),
    Fault(
        "what a policy raises is swallowed",
        "run/work.py",
        "            self.abort(trouble)\n        gate = self.gate\n",
        "            pass\n        gate = self.gate\n",
    ),
    Fault(
        "two writes of one row share a batch",
        "executors/_groups.py",
        "row is None or row in rows or None in rows\n",
        "row is None or None in rows\n",
    ),
    Fault(
        "a range shares a batch with a row of it",
        "executors/_groups.py",
        "row is None or row in rows or None in rows\n",
        "row in rows\n",
    ),
    Fault(
        "a partition has two groups that are open",
        "executors/_groups.py",
        "group.company != company or _touches(rows, item.row)",
        "_touches(rows, item.row)",
    ),
    Fault(
        "what may touch anything overtakes what was before it",
        "executors/_groups.py",
        "        if item.partition is None:\n            self._close_all()\n",
        "        if item.partition is None:\n            pass\n",
    ),
    Fault(
        "a batch has one byte too many",
        "executors/_groups.py",
        "group.bytes + item.bytes > self._most_bytes:",
        "group.bytes + item.bytes > self._most_bytes + 1:",
    ),
    Fault(
        "what goes alone is grouped with others",
        "executors/_groups.py",
        "None in companies or None in partitions",
        "None in partitions",
    ),
    Fault(
        "what is too large is grouped with others",
        "executors/_groups.py",
        " or any(item.bytes > most_bytes for item in items)",
        "",
    ),
    Fault(
        "two companies' writes of a partition are put in any order",
        "executors/_groups.py",
        " > different:\n        return False",
        " > different:\n        pass",
    ),
    Fault(
        "all rows of a partition are taken for different ones",
        "executors/_groups.py",
        "None not in rows and len(set(zip(partitions, rows, strict=True))) == len(items)",
        "None not in rows",
    ),
    Fault(
        "a range is taken for a row",
        "executors/_groups.py",
        "None not in rows and len(",
        "len(",
    ),
    Fault(
        "a batch that is cut out of many has one byte too many",
        "executors/_groups.py",
        "sums[start] + most_bytes)",
        "sums[start] + most_bytes + 1)",
    ),
    Fault(
        "a marker is taken for the column it is named for",
        "drivers/shapes.py",
        "            name: places.index(start)\n",
        "            self._tokens[end - 1].text.strip('?') or name: places.index(start)\n",
    ),
    Fault(
        "a static column is taken for one of its row",
        "drivers/shapes.py",
        "column.is_static and text.names",
        "False and text.names",
    ),
    Fault(
        "a failed batch of others than idempotent ones is sent again",
        "executors/batching.py",
        "again=self._idempotent)",
        "again=True)",
    ),
    Fault(
        "what a failed batch had is sent again with a new timestamp",
        "executors/batching.py",
        "            job.timestamp = timestamp\n",
        "            pass\n",
    ),
    Fault(
        "a stop between two batches is not heeded",
        "executors/batching.py",
        "if not each.job.work.recall(each.job)]",
        "]",
    ),
    Fault(
        "what the driver sends overtakes what was added before it",
        "executors/batching.py",
        "self._send_added(outgoing, added, troubles)\n                self._send_by",
        "self._send_by",
    ),
    Fault(
        "a note for the thread that sends is lost",
        "executors/batching.py",
        "        self._has_more = True\n",
        "        pass\n",
    ),
    Fault(
        "the lingering has no end",
        "executors/_linger.py",
        "            self._over = True\n",
        "            pass\n",
    ),
    Fault(
        "statements linger though nothing is in flight",
        "executors/_linger.py",
        "                and gate.in_flight > 0\n",
        "",
    ),
    Fault(
        "a timeout frees the stream, though the answer may still come",
        "drivers/direct/wire.py",
        "        future._on_timeout()\n",
        "        future._on_timeout()\n"
        "        request.target.connection.orphaned_request_ids.discard(request.stream)\n"
        "        request.target.connection.request_ids.appendleft(request.stream)\n"
        "        request.target.connection.in_flight -= 1\n",
    ),
    Fault(
        "a stream is taken whose late answer may still come",
        "drivers/direct/connections.py",
        "            while stream in waiting or stream in orphaned:\n",
        "            while stream in waiting:\n",
    ),
    Fault(
        "a stream is taken that another statement has",
        "drivers/direct/connections.py",
        "            while stream in waiting or stream in orphaned:\n",
        "            while stream in orphaned:\n",
    ),
    Fault(
        "what the driver goes on with keeps a claim on its stream",
        "drivers/direct/wire.py",
        "        future._req_id = None\n        future._set_result",
        "        future._set_result",
    ),
    Fault(
        "what the driver sends again has a new timestamp",
        "drivers/direct/wire.py",
        "        future.message.timestamp = request.timestamp\n",
        "",
    ),
    Fault(
        "what we send again has a new timestamp",
        "drivers/direct/wire.py",
        "                    job.timestamp = stamp\n",
        "                    pass\n",
    ),
    Fault(
        "the retry policy is not asked",
        "drivers/direct/wire.py",
        "        future._set_result(target.host, target.connection, target.pool, response)\n",
        "        _give_back(target, 1)\n        future._set_final_exception(response)\n",
    ),
    Fault(
        "an answer does not count down what is in flight",
        "drivers/direct/wire.py",
        "            connection.in_flight -= number - 1\n",
        "            pass\n",
    ),
    Fault(
        "further pages are forgotten",
        "drivers/direct/driver.py",
        "        and response.paging_state is None\n",
        "",
    ),
    Fault(
        "the serial consistency is forgotten",
        "drivers/direct/go.py",
        "profile.serial_consistency_level if serial_level is None else serial_level",
        "None",
    ),
    Fault(
        "a listener does not see the requests",
        "drivers/direct/driver.py",
        '            getattr(listener[0], "__func__", None) is FirstTimestamps._on_request\n',
        "            True\n",
    ),
    Fault(
        "with v5 a body is compressed, too",
        "drivers/direct/connections.py",
        "        compressor, codec = None, connection._segment_codec\n",
        "        codec = connection._segment_codec\n",
    ),
    Fault(
        "with v4 a compressed body is not said to be one",
        "drivers/direct/connections.py",
        "request.plan.flags\n        if compressor is not None:\n"
        "            body, flags = compressor(body), flags | COMPRESSED\n",
        "request.plan.flags\n        if compressor is not None:\n"
        "            body, flags = compressor(body), flags\n",
    ),
    Fault(
        "what a broken connection has taken is sent again",
        "drivers/direct/connections.py",
        "        _unregister(connection, requests[pushed:taken])\n"
        "        if not pushed or not isinstance(exc, Exception):\n",
        "        _unregister(connection, requests[:taken])\n        if True:\n",
    ),
    Fault(
        "no timeout is watched for",
        "drivers/direct/wire.py",
        "            self._sweeper.by(requests[0].sent_at + shortest)\n",
        "            pass\n",
    ),
    Fault(
        "what the driver sends has an earlier timestamp than a batch behind it",
        "drivers/direct/outgoing.py",
        "        self._timestamps = iter(())\n        unsent",
        "        unsent",
    ),
    Fault(
        "a batch that is not sent by us gets a later timestamp",
        "drivers/direct/outgoing.py",
        "            message.timestamp = timestamp\n",
        "            return timestamp\n",
    ),
    Fault(
        "the serial consistency of a batch is forgotten",
        "drivers/direct/batches.py",
        "        if terms.serial_consistency_level:\n",
        "        if False:\n",
    ),
    Fault(
        "the server's warnings are forgotten",
        "drivers/direct/results.py",
        "factory, warnings=response.warnings)",
        "factory)",
    ),
    Fault(
        "what is behind the rows of a page is taken for the next one's",
        "drivers/pages.py",
        "return rows if at == end else None",
        "return rows",
    ),
    Fault(
        "a page of other columns is decoded with the rest",
        "drivers/pages.py",
        "if at > end or not body.startswith(head):",
        "if at > end:",
    ),
    Fault(
        "the rows of a page go to the statement before",
        "drivers/direct/results.py",
        "        at += count\n",
        "        at += count - 1\n",
    ),
    Fault(
        "a connection that brought what can't be decoded is kept",
        "drivers/direct/wire.py",
        "connection.defunct(exc)  # as the driver does",
        "pass",
    ),
    Fault(
        "a key beyond the last token is not the first one's",
        "drivers/direct/routes.py",
        "point if point < len(tokens) else 0",
        "min(point, len(tokens) - 1)",
    ),
    Fault(
        "a coroutine that is cancelled leaves its run going",
        "aio/results.py",
        "        except BaseException:  # a CancelledError",
        "        except Exception:  # a CancelledError",
    ),
    Fault(
        "others of the loop have no turn while there are results",
        "aio/results.py",
        "        await sleep(0)\n",
        "",
    ),
    Fault(
        "each thing that happens wakes the loop",
        "aio/wakeups.py",
        "        if not self._token.take():\n            return\n",
        "",
    ),
    Fault(
        "what is to be called while the loop is at it is forgotten",
        "aio/wakeups.py",
        "        self._token.put_back()\n        for _ in range(len(self._calls)):\n"
        "            self._calls.popleft()()\n",
        "        for _ in range(len(self._calls)):\n            self._calls.popleft()()\n"
        "        self._token.put_back()\n",
    ),
    Fault(
        "a closed loop raises to who brings an answer",
        "aio/wakeups.py",
        "            self._calls.clear()\n",
        "            raise\n",
    ),
    Fault(
        "statements are sent on the event loop",
        "aio/executor.py",
        "self._errands.once(executor._launch_safely)",
        "executor._launch_safely",
    ),
    Fault(
        "a future that is cancelled does not take its statement back",
        "aio/executor.py",
        "(lambda done: theirs.cancel() if done.cancelled() else None)",
        "(lambda done: None)",
    ),
    Fault(
        "a future is resolved though it was cancelled",
        "aio/executor.py",
        "    if ours.cancelled():\n        return\n",
        "",
    ),
    Fault(
        "an iterator that may block is pulled on the event loop",
        "aio/executor.py",
        "self._errands.do(partial(start_feeder, run, launch, context))",
        "context.run(_feed, run, launch)",
    ),
    Fault(
        "an errand is done only once",
        "aio/errands.py",
        "            token.put_back()\n",
        "",
    ),
    Fault(
        "an asynchronous input is pulled without end",
        "aio/feeding.py",
        "            while room > 0 and await _pull_one(run, iterator):\n",
        "            while await _pull_one(run, iterator):\n",
    ),
    Fault(
        "the end of an asynchronous input does not end the lingering",
        "aio/feeding.py",
        "            if run.gate.may_take():\n                launch()\n    except",
        "    except",
    ),
    Fault(
        "a run that has ended leaves its input waiting",
        "aio/feeding.py",
        "            self.task.cancel()\n",
        "            pass\n",
    ),
    Fault(
        "a run whose feeding task is cancelled has no end",
        "aio/feeding.py",
        "        if run.may_bring_more:  # else",
        "        if False:  # else",
    ),
    Fault(
        "observers are told the latest first",
        "run/watch.py",
        "= self._queue.popleft()\n",
        "= self._queue.pop()\n",
    ),
    Fault(
        "an observer that raises is told on",
        "run/watch.py",
        "                seat.observer = None\n",
        "",
    ),
    Fault(
        "the context of the caller is not the observers'",
        "run/watch.py",
        "self._context.run(getattr(observer, event), details)",
        "getattr(observer, event)(details)",
    ),
    Fault(
        "who settles does not wait for slow observers",
        "run/watch.py",
        "            behind = wait and",
        "            behind = False and",
    ),
    Fault(
        "shutdown does not wait until all is told",
        "run/watch.py",
        "        return bool(self._queue) or self._telling.locked()\n",
        "        return False\n",
    ),
    Fault(
        "the end of a run that was closed is not told",
        "run/watch.py",
        "        self._closed.append(run)\n",
        "        pass\n",
    ),
    Fault(
        "what was cancelled before its turn is told",
        "run/watch.py",
        "        if self.run is None and not job.attempts:\n",
        "        if False:\n",
    ),
    Fault(
        "what a stall held up is not counted",
        "observers/histogram.py",
        "record_corrected_value(micros, max(1, round(interval * 1e6)))",
        "record_value(micros)",
    ),
    Fault(
        "records are not limited",
        "observers/logs.py",
        "        if not self._rate.take(time.monotonic()):\n",
        "        if False:\n",
    ),
    Fault(
        "what is answered counts as in flight",
        "observers/prometheus.py",
        "            self._in_flight.dec()\n",
        "",
    ),
    Fault(
        "a text that may have values in it is given to traces",
        "observers/otel.py",
        " or not (self._query_text or _prepared(statement) is not None):",
        ":",
    ),
    Fault(
        "a run's span has an event for each failure, however many",
        "observers/otel.py",
        "        if run is None or self._events[run] >= MOST_EVENTS:\n",
        "        if run is None:\n",
    ),
    Fault(
        "the span of an attempt that failed stays open",
        "observers/otel.py",
        "                self._fail(span, kind)\n            span.end()\n",
        "                self._fail(span, kind)\n",
    ),
    Fault(
        "a bar does not show what has failed",
        "observers/progress.py",
        "            self._failed[run] += 1\n",
        "",
    ),
    Fault(
        "Dask runs the tasks of a worker that has gone again, by another",
        "executors/dask_pool.py",
        "                _do_here,\n                self._identity,\n"
        "                do,\n                *given,\n"
        '                key=f"concurrent_exec-{uuid4().hex}",\n'
        "                workers=[self.address],\n",
        "                lambda do, *given: (True, do(*given)),\n"
        "                do,\n                *given,\n"
        '                key=f"concurrent_exec-{uuid4().hex}",\n',
    ),
    Fault(
        "a process that is started anew at an address does the tasks of the one before",
        "executors/dask_pool.py",
        "    if get_worker().id != identity:\n",
        "    if False:\n",
    ),
    Fault(
        "nobody looks which workers of Dask have gone",
        "executors/dask_pool.py",
        "            if pool.address not in there:\n",
        "            if False:\n",
    ),
    Fault(
        "workers of Dask that lack this package are taken",
        "executors/dask_pool.py",
        "        if lacking:\n",
        "        if False:\n",
    ),
    Fault(
        "only the first worker of Dask that is free is asked",
        "executors/dask_pool.py",
        "        for address in addresses:\n            try:\n",
        "        for address in addresses[:1]:\n            try:\n",
    ),
    Fault(
        "a worker of Dask is taken twice",
        "executors/dask_pool.py",
        "if address not in taken]",
        "if True]",
    ),
    Fault(
        "a process that dies breaks the pool of them all",
        "executors/lanes.py",
        "outer.set_exception(ProcessGoneError(str(exc) or type(exc).__name__))",
        "outer.set_exception(exc)",
    ),
    Fault(
        "all tasks go to the first process",
        "executors/lanes.py",
        "            self._busy[lane] += 1\n",
        "",
    ),
    Fault(
        "worker processes outlive a parent that is killed",
        "executors/pools.py",
        'name="end of parent", daemon=True).start()',
        'name="end of parent", daemon=True)',
    ),
    Fault(
        "a worker process that has not begun yet hears of Ctrl-C",
        "executors/pools.py",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})",
        "signal.pthread_sigmask(signal.SIG_BLOCK, ())",
    ),
    Fault(
        "a statement that is sent again has a new timestamp",
        "executors/processes.py",
        "            if job.timestamp is None:\n",
        "            if True:\n",
    ),
    Fault(
        "statements of a lost process count as unsent",
        "executors/processes.py",
        "    for job in jobs:\n        job.fail(error)\n",
        "    for job in jobs:\n        job.fail(error, sent=False)\n",
    ),
    Fault(
        "what keeps others from travelling fails them all",
        "executors/processes.py",
        "            else:\n                self._send_each(jobs)\n            return\n",
        "            else:\n                for job in jobs:\n"
        "                    job.fail(why_not(job), sent=False)\n            return\n",
    ),
    Fault(
        "a pool that has broken is kept",
        "executors/processes.py",
        "            self._pool = None\n        broken",
        "            pass\n        broken",
    ),
    Fault(
        "a result that can't be unpickled takes its whole chunk with it",
        "drivers/travelling.py",
        "            self.has_others = str(",
        "            self.has_others = False and str(",
    ),
    Fault(
        "what a lost process had is sent again though that is not safe",
        "bulk/spreading.py",
        "        if not self._task.idempotent:\n",
        "        if False:\n",
    ),
    Fault(
        "what is lost while the run ends with an error is not told",
        "bulk/spreading.py",
        "        if self._is_ending:\n            return",
        "        if self._trouble is not None:\n            return None\n"
        "        if self._stopped:\n            return",
    ),
    Fault(
        "portions settle in any order",
        "bulk/spreading.py",
        "            if self._in_order and before",
        "            if False and before",
    ),
    Fault(
        "what a process has left is forgotten",
        "bulk/spreading.py",
        "                self._add_rest(given, end, is_last=given.is_last and settlement.ended)\n",
        "                pass\n",
    ),
    Fault(
        "a process does not know what has failed elsewhere",
        "bulk/spreading.py",
        "before=self._ledger.before",
        "before=(0, 0)",
    ),
    Fault(
        "a portion whose processes die goes on to the next for ever",
        "bulk/spreading.py",
        "        given.deaths += 1\n",
        "",
    ),
    Fault(
        "a portion that is given again has other timestamps",
        "bulk/spreading.py",
        "        if not given.portion.timestamp:  # one that is given again keeps what it had\n",
        "        if True:\n",
    ),
    Fault(
        "a process does not know what it has settled itself",
        "bulk/worker.py",
        "map(max, portion.before, self._mine)",
        "portion.before",
    ),
    Fault(
        "a process sends what of its portion is settled",
        "bulk/portion_ledger.py",
        "beyond=tuple(portion.beyond)",
        "beyond=()",
    ),
    Fault(
        "a process that takes a shard over goes on where another was",
        "bulk/worker.py",
        "        if following != portion.first:  # another process has read it so far\n",
        "        if following < 0:\n",
    ),
    Fault(
        "a record has the timestamp of when it is sent",
        "bulk/worker.py",
        "                self.session.cluster.timestamp_generator = self._timestamps\n",
        "                pass\n",
    ),
]


def broken_copy(fault: Fault, folder: Path) -> None:
    """Put a copy of the project with `fault` into `folder`."""
    # Some tests have the server of perf, and an executor of the examples.
    for name in ("concurrent_exec", "examples", "perf", "tests"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "setup.cfg", folder)
    file = folder / "concurrent_exec" / fault.file
    text = file.read_text()
    assert text.count(fault.right) == 1, f"{fault.what}: the place is not there, once"
    file.write_text(text.replace(fault.right, fault.wrong))


def caught_by(fault: Fault) -> str | None:
    """Return the test that notices `fault`, or None."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broken_copy(fault, folder)
        run = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-v",
                "--timeout=40",
                f"--deselect={_TRIVIAL}",
                *fault.suite,
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
    if run.returncode == 0:
        return None
    tests = re.findall(r"^(tests/\S+::\S+)(?: (PASSED|FAILED))?", run.stdout, re.MULTILINE)
    assert tests, run.stdout + run.stderr
    failed = [test for test, verdict in tests if verdict == "FAILED"]
    return failed[0] if failed else f"{tests[-1][0]} (hangs; the watchdog ends it)"


def unplaced() -> list[str]:
    """Return the faults whose place in the code is gone."""
    return [
        fault.what
        for fault in FAULTS
        if (ROOT / "concurrent_exec" / fault.file).read_text().count(fault.right) != 1
    ]


def main() -> int:
    """Print the table of faults, of all or those of the files named; return how many got by."""
    print("| fault | where | caught by |\n| --- | --- | --- |")
    unnoticed = 0
    for fault in FAULTS:
        if not fault.file.startswith(tuple(sys.argv[1:]) or ""):
            continue
        test = caught_by(fault)
        unnoticed += test is None
        print(f"| {fault.what} | {fault.file} | {test or '**nothing**'} |", flush=True)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main())
