"""What is looked up for many statements at a time: how each is sent, and where to."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT
from cassandra.query import FETCH_SIZE_UNSET, BoundStatement, PreparedStatement

from concurrent_exec.drivers.direct.answers import OnAnswers
from concurrent_exec.drivers.direct.batches import BatchPlan, BatchTerms
from concurrent_exec.drivers.direct.binding import Bound, Columns, is_known
from concurrent_exec.drivers.direct.driver import Driver, Profile, Routes
from concurrent_exec.drivers.direct.plan import Framed, Plan, Same, Terms
from concurrent_exec.run import Job

if TYPE_CHECKING:
    from concurrent_exec.drivers.direct.request import Request

_MOST_PLANS = 512
_MOST_ROUTES = 64


class Planner:
    """Keeps the plans of a session's statements, and its policies' routes, from go to go."""

    def __init__(self, session: Any, driver: Driver) -> None:
        self.session = session
        self.driver = driver
        self._plans: dict[Terms, Plan | None] = {}
        self._batch_plans: dict[BatchTerms, BatchPlan] = {}
        self._routes: dict[tuple[Any, str | None, str | None, bool], Routes] = {}

    def plan(self, terms: Terms) -> Plan | None:
        """Return how to send under `terms`, or None where that is the driver's to do."""
        try:
            return self._plans[terms]
        except KeyError:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()  # in one step, as other threads send too
            plan = self._plans[terms] = self._make_plan(terms)
            return plan

    def _make_plan(self, terms: Terms) -> Plan | None:
        prepared = terms.prepared
        if prepared.column_encryption_policy is not None:
            return None
        if not all(is_known(column.type) for column in prepared.column_metadata or ()):
            return None
        if not self.driver.knows_policy(terms.policy):
            return None
        return Plan(terms)

    def batch_plan(self, terms: BatchTerms) -> BatchPlan:
        """Return how to send batches under `terms`; the same one each time."""
        plan = self._batch_plans.get(terms)
        if plan is None:
            if len(self._batch_plans) >= _MOST_PLANS:
                self._batch_plans.clear()
            plan = self._batch_plans.setdefault(terms, BatchPlan(terms))
        return plan

    def routes(self, terms: Terms) -> Routes:
        """Return what knows which host comes first, up to date at this moment."""
        by = terms.policy, terms.keyspace, terms.table, self.driver.keeps_order(terms)
        routes = self._routes.get(by)
        if routes is None:
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            routes = self._routes[by] = self.driver.routes(terms)
        routes.refresh()
        return routes


class Target:
    """A connection, and what is to be sent over it in one go."""

    __slots__ = ("connection", "host", "on_answers", "pool", "requests")

    def __init__(self, host: Any, pool: Any, connection: Any, on_answers: OnAnswers) -> None:
        self.host = host
        self.pool = pool
        self.connection = connection
        self.on_answers = on_answers
        self.requests: list[Request] = []


class Go:
    """Statements that are sent together: what they share is looked up once."""

    def __init__(self, planner: Planner, on_answers: OnAnswers) -> None:
        self._planner = planner
        self._on_answers = on_answers
        self._driver = planner.driver
        self._profiles: dict[Any, Profile | None] = {}
        self._statement: Any = None
        self._sending: Any = None
        self._plan: Plan | None = None
        self._ways: dict[Any, tuple[Routes, dict[int, Target]]] = {}
        """Of each plan what knows its hosts, and, by the ids of hosts, where all for one goes; of
        a batch, by its own plan and by that of its first statement."""
        self._targets: dict[Any, Target] = {}
        self._fitting: set[tuple[Framed, Any]] = set()

    def plan(self, job: Job) -> Plan | None:
        """Return how `job` is sent, or None where that is the driver's to do."""
        if job.statement is self._statement and job.sending is self._sending:
            return self._plan
        terms = self._terms(job)
        self._plan = None if terms is None else self._planner.plan(terms)
        self._statement, self._sending = job.statement, job.sending
        return self._plan

    def plan_or_none(self, job: Job) -> Plan | None:
        """Return the same, also None where it can't be told: the driver says what is wrong."""
        try:
            return self.plan(job)
        except Exception:
            return None

    def bind_in_columns(self, plan: Plan, jobs: Sequence[Job]) -> Columns | None:
        """Return the values of jobs of `alike`, which have this plan; None where they are to be
        bound by `bind_each`. Never raises."""
        if type(jobs[0].statement) is not PreparedStatement:
            return None
        return plan.binder.in_columns([job.parameters for job in jobs])

    def bind_each(self, plan: Plan, jobs: Sequence[Job]) -> Sequence[Bound | None]:
        """Return the values of each of these jobs, which have no columns.

        None stands for what is the driver's to send: it says what is wrong. Never raises.
        """
        if type(jobs[0].statement) is PreparedStatement:
            return plan.binder.bind_each([job.parameters for job in jobs])
        return plan.binder.bound_all([job.statement for job in jobs])

    def encode(
        self, plan: Plan, jobs: Sequence[Job], timestamps: Sequence[int | None]
    ) -> tuple[Sequence[bytes | None], Sequence[bytes | None]]:
        """Return the bodies of jobs of `alike`, which have this plan, and their routing keys.

        The body of what is the driver's to send is None.
        """
        columns = self.bind_in_columns(plan, jobs)
        if columns is not None:
            return plan.bodies(columns, timestamps), columns.keys
        bounds = self.bind_each(plan, jobs)
        bodies = [
            None if bound is None else plan.body(bound[0], timestamp)
            for bound, timestamp in zip(bounds, timestamps, strict=True)
        ]
        return bodies, [None if bound is None else bound[1] for bound in bounds]

    def batch_plan(self, terms: BatchTerms) -> BatchPlan:
        """Return how batches are sent under `terms`; the same one each time."""
        return self._planner.batch_plan(terms)

    def target(self, plan: Plan, routing_key: bytes | None) -> Target | None:
        """Return where a statement goes, or None where it is the driver's to send."""
        return self._target(self._ways.get(plan) or self._way(plan, plan), plan, plan, routing_key)

    def targets_of(
        self, plan: Plan, routing_keys: Sequence[bytes | None]
    ) -> Sequence[Target | None]:
        """Return what `target` returns of each of these, also None where it raises."""
        try:
            routes, by_host = self._ways.get(plan) or self._way(plan, plan)
            hosts = routes.hosts(plan.terms, routing_keys)
            return [
                by_host.get(id(host)) or self._find_target(by_host, plan, plan, host, key)
                for host, key in zip(hosts, routing_keys, strict=True)
            ]
        except Exception:
            return [self._target_or_none(plan, key) for key in routing_keys]

    def _target_or_none(self, plan: Plan, routing_key: bytes | None) -> Target | None:
        try:
            return self.target(plan, routing_key)
        except Exception:  # the driver raises it again, and says what is wrong
            return None

    def target_of_batch(
        self, plan: BatchPlan, first: Plan, routing_key: bytes | None
    ) -> Target | None:
        """Return where a batch goes whose first statement has this plan and key, or None."""
        way = self._ways.get((plan, first)) or self._way((plan, first), first)
        return self._target(way, plan, first, routing_key)

    def replicas(self, plan: Plan) -> Callable[[bytes], Hashable]:
        """Return a function that tells the nodes that have a partition from others, by its key."""
        return (self._ways.get(plan) or self._way(plan, plan))[0].replicas

    def _way(self, by: Any, plan: Plan) -> tuple[Routes, dict[int, Target]]:
        way = self._ways[by] = self._planner.routes(plan.terms), {}
        return way

    def _target(
        self,
        way: tuple[Routes, dict[int, Target]],
        framed: Framed,
        plan: Plan,
        routing_key: bytes | None,
    ) -> Target | None:
        routes, by_host = way
        host = routes.host(plan.terms, routing_key)
        known = by_host.get(id(host))
        return known or self._find_target(by_host, framed, plan, host, routing_key)

    def _find_target(
        self,
        by_host: dict[int, Target],
        framed: Framed,
        plan: Plan,
        host: Any,
        routing_key: bytes | None,
    ) -> Target | None:
        pool = self._planner.session._pools.get(host)
        if pool is None or pool.is_shutdown:
            return None
        connection = self._driver.connection(pool, plan.terms, routing_key)
        if connection is None:
            return None
        target = self._targets.get(connection)
        if target is None:
            target = self._targets[connection] = Target(host, pool, connection, self._on_answers)
        if (framed, connection) not in self._fitting:
            if not framed.fits(connection, self._driver):
                return None
            self._fitting.add((framed, connection))
        if self._driver.has_one_connection(pool):
            by_host[id(host)] = target  # which keeps the host, and so its id
        return target

    def targets(self) -> list[Target]:
        """Return those that have something to send."""
        return [target for target in self._targets.values() if target.requests]

    def _terms(self, job: Job) -> Terms | None:
        """What a statement is sent under, or None where that is the driver's to do.

        It reads what the driver's `_create_response_future` reads.
        """
        statement, options = job.statement, job.sending.options
        if type(statement) is PreparedStatement:
            prepared = statement
        elif type(statement) is BoundStatement:
            prepared = statement.prepared_statement
        else:
            return None
        if statement.custom_payload or options.get("custom_payload") or options.get("trace"):
            return None
        profile = self._profile(options.get("execution_profile", EXEC_PROFILE_DEFAULT))
        if profile is None or (statement.is_idempotent and not profile.never_speculates):
            return None
        session = self._planner.session
        level, serial_level = statement.consistency_level, statement.serial_consistency_level
        fetch_size = statement.fetch_size
        columns = prepared.column_metadata
        result_metadata, result_metadata_id = self._driver.result_metadata(prepared)
        return Terms(
            prepared=prepared,
            query_id=prepared.query_id,
            result_metadata=Same(result_metadata),
            result_metadata_id=result_metadata_id,
            consistency_level=profile.consistency_level if level is None else level,
            serial_consistency_level=(
                profile.serial_consistency_level if serial_level is None else serial_level
            ),
            fetch_size=session.default_fetch_size if fetch_size is FETCH_SIZE_UNSET else fetch_size,
            timestamped=bool(session.use_client_timestamp),
            keyspace=(columns[0].keyspace_name if columns else None) or session.keyspace,
            table=columns[0].table_name if columns else None,
            timeout=options.get("timeout", profile.request_timeout),
            row_factory=profile.row_factory,
            policy=profile.load_balancing_policy,
            protocol_version=session._protocol_version,
            beta=bool(session.cluster.allow_beta_protocol_version),
        )

    def _profile(self, name: Any) -> Profile | None:
        if name not in self._profiles:
            self._profiles[name] = self._driver.profile(name)
        return self._profiles[name]


def alike(jobs: Iterable[Job]) -> Iterator[list[Job]]:
    """Yield jobs on end of one statement, which are sent under the same options."""
    same: list[Job] = []
    statement: Any = None
    sending: Any = None
    for job in jobs:
        if same and not (job.statement is statement and job.sending is sending):
            yield same
            same = []
        if not same:
            statement, sending = job.statement, job.sending
        same.append(job)
    if same:
        yield same
