"""How much may be in flight, and how often something may leave: numbers, no enforcement."""

from concurrent_exec.pacing.adaptive import AdaptiveConcurrency
from concurrent_exec.pacing.queue_delay import QueueDelay
from concurrent_exec.pacing.rate import Rate

__all__ = ["AdaptiveConcurrency", "QueueDelay", "Rate"]
